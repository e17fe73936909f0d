//! Names of srft's own hidden files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The hidden name `.NAME.suffix` beside `path`, which no other program uses.
pub fn hidden(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// Suffix of files and folders being written or deleted; readers ignore them.
pub const PARTIAL: &str = "srft-partial";

/// The file that locks a folder; it is never removed.
pub const LOCK: &str = ".lock";
