//! Reading, and writing so that a crash at any moment leaves either the old or the new file.

use crate::error::{Error, Result, io};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| io(path, e))
}

/// The text of a file, which must be UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].split(|&b| b == b'\n').count();
        Error::input("the file is not UTF-8 text")
            .at(format!("{}:{line}", path.display()))
            .next("save it as UTF-8")
    })
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) {
    // A rename is durable once its folder is; systems that cannot sync a folder need no such call.
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        let _ = folder.sync_all();
    }
}

/// Writes a file under a temporary name, syncs it, and renames it into place.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = temporary(path);
    write_synced(&partial, bytes).map_err(|e| {
        let _ = fs::remove_file(&partial);
        io(path, e)
    })?;
    fs::rename(&partial, path).map_err(|e| io(path, e))?;
    sync_parent(path);
    Ok(())
}

/// Writes a folder of files so that it appears whole or not at all; replaces an older one.
pub fn write_folder_atomic(path: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let partial = temporary(path);
    let fail = |e| {
        let _ = fs::remove_dir_all(&partial);
        io(path, e)
    };
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(fail)?;
    for (name, bytes) in files {
        write_synced(&partial.join(name), bytes).map_err(fail)?;
    }
    sync_parent(&partial.join("."));
    if path.exists() {
        let old = path.with_extension("old");
        let _ = fs::remove_dir_all(&old);
        fs::rename(path, &old).map_err(|e| io(path, e))?;
        fs::rename(&partial, path).map_err(|e| io(path, e))?;
        let _ = fs::remove_dir_all(&old);
    } else {
        fs::rename(&partial, path).map_err(|e| io(path, e))?;
    }
    sync_parent(path);
    Ok(())
}

/// Appends one line to a file, creating it if needed.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).map_err(|e| io(path, e))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(|e| io(path, e))
}
