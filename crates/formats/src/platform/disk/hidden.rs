//! Names of the files that are ours alone and that nobody else reads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The hidden name `.NAME.suffix` beside `path`: one that nobody else uses.
pub fn hidden(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// Suffix of what is not yet, or no longer, to be read.
pub const PARTIAL: &str = "srft-partial";

/// The file that is locked; it stays.
pub const LOCK: &str = ".lock";
