//! Reading, and writing so that a crash at any moment leaves either the old or the new file.

use super::Bytes;
use crate::error::{Error, Result, io};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| io(path, e))
}

/// The bytes of a file, without reading them all now.
pub fn map(path: &Path) -> Result<Bytes> {
    File::open(path).and_then(|file| Bytes::map(&file)).map_err(|e| io(path, e))
}

/// Whether a file or folder is there.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Makes a folder and those above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| io(path, e))
}

/// The names in a folder, sorted.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(path).map_err(|e| io(path, e))?.flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Whether a folder is there.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// `path` with `.suffix` after its whole name.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// Suffix of what is not yet, or no longer, to be read.
const PARTIAL: &str = "partial";
/// Suffix of what is being replaced.
const OLD: &str = "old";

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes what was written to a file so far outlive a power cut.
pub fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| io(path, e))
}

/// A rename is durable once its folder is; systems that cannot sync a folder need no such call.
fn sync_folder(path: &Path) {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

fn sync_parent(path: &Path) {
    path.parent().into_iter().for_each(sync_folder);
}

/// Writes a file under a temporary name, syncs it, and renames it into place.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = sibling(path, PARTIAL);
    let written = write_synced(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&partial);
        io(path, e)
    })?;
    sync_parent(path);
    Ok(())
}

/// Writes a folder of files so that it appears whole or not at all; replaces an older one, which
/// [`mend_folder`] brings back after a crash between the two renames.
pub fn write_folder_atomic(path: &Path, files: &[(impl AsRef<str>, Vec<u8>)]) -> Result<()> {
    mend_folder(path)?;
    let (partial, old) = (sibling(path, PARTIAL), sibling(path, OLD));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&partial)?;
        for (name, bytes) in files {
            write_synced(&partial.join(name.as_ref()), bytes)?;
        }
        sync_folder(&partial);
        if path.exists() {
            fs::rename(path, &old)?;
        }
        fs::rename(&partial, path)
    };
    write().map_err(|e| {
        // The older one, if any, goes back to its place; the error is the first one's.
        let _ = mend_folder(path);
        io(path, e)
    })?;
    sync_parent(path);
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

/// Ends what a crash left half done at `path`: brings back a folder that was being replaced and
/// removes what was being written or removed.
pub fn mend_folder(path: &Path) -> Result<()> {
    let old = sibling(path, OLD);
    if old.exists() && !path.exists() {
        fs::rename(&old, path).map_err(|e| io(path, e))?;
    }
    for leftover in [old, sibling(path, PARTIAL)].iter().filter(|p| p.exists()) {
        fs::remove_dir_all(leftover).map_err(|e| io(leftover, e))?;
    }
    Ok(())
}

/// Mends every folder in `parent`.
pub fn mend_folders_in(parent: &Path) -> Result<()> {
    for path in names_in(parent)?.iter().map(|name| parent.join(name)) {
        if path.extension().is_some_and(|e| e == OLD || e == PARTIAL) {
            mend_folder(&path.with_extension(""))?;
        }
    }
    Ok(())
}

/// Removes a folder so that a crash never leaves a part of it under its name.
pub fn remove_folder_atomic(path: &Path) -> Result<()> {
    let partial = sibling(path, PARTIAL);
    let removed = fs::rename(path, &partial).and_then(|()| fs::remove_dir_all(&partial));
    removed.map_err(|e| io(path, e))
}

/// Appends one line to a file, creating it if needed.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).map_err(|e| io(path, e))?;
    file.write_all(format!("{line}\n").as_bytes()).map_err(|e| io(path, e))
}

/// Keeps other processes out of a folder until it is dropped or this process ends, however it
/// ends.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "held, not read")] File);

const LOCK: &str = ".lock";

/// Locks a folder.
pub fn lock_folder(path: &Path) -> Result<FolderLock> {
    let file = File::create(path.join(LOCK)).map_err(|e| io(path, e))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::input("another process is training in this folder")
                .at(path.display())
                .next("wait for it or stop it, or give another folder"))
        }
        // Some network file systems have no locks; going without is better than not going.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(FolderLock(file)),
    }
}

/// Whether a process holds a folder; where that cannot be told, no.
pub fn is_held(path: &Path) -> bool {
    let lock = File::open(path.join(LOCK)).map(|file| file.try_lock_shared());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn version(text: &str) -> [(&str, Vec<u8>); 1] {
        [("file", text.into())]
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let best = home.path().join("v1.2");
        write_folder_atomic(&best, &version("one")).unwrap();
        write_folder_atomic(&best, &version("two")).unwrap();
        assert_eq!(read(&best.join("file")).unwrap(), b"two");
        assert_eq!(read_all(home.path()), ["v1.2"]);
    }

    /// The states that a crash can leave, one after each rename.
    #[test]
    fn a_crash_while_replacing_loses_neither_version() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let make = |name: &str, text: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), text).unwrap();
        };
        for (left, kept) in [
            (vec![("best", "one"), ("best.partial", "t")], "one"),
            (vec![("best.old", "one"), ("best.partial", "two")], "one"),
            (vec![("best.old", "one"), ("best", "two")], "two"),
            (vec![("best", "two")], "two"),
        ] {
            left.iter().for_each(|(name, text)| make(name, text));
            mend_folders_in(home.path()).unwrap();
            assert_eq!(read_all(home.path()), ["best"], "{left:?}");
            assert_eq!(read(&at("best/file")).unwrap(), kept.as_bytes(), "{left:?}");
            remove_folder_atomic(&at("best")).unwrap();
            assert!(read_all(home.path()).is_empty());
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_version() {
        let home = tempfile::tempdir().unwrap();
        let best = home.path().join("best");
        write_folder_atomic(&best, &version("one")).unwrap();
        let impossible = [("file", vec![1]), ("no/such/folder", vec![2])];
        assert!(write_folder_atomic(&best, &impossible).is_err());
        assert_eq!(read(&best.join("file")).unwrap(), b"one");
        assert_eq!(read_all(home.path()), ["best"]);
    }

    #[test]
    fn a_folder_is_one_process_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        assert!(!is_held(home.path()));
        let held = lock_folder(home.path()).unwrap();
        assert!(is_held(home.path()));
        let message = lock_folder(home.path()).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
        drop(held);
        assert!(!is_held(home.path()));
        lock_folder(home.path()).unwrap();
    }
}
