//! Files in memory, for a browser tab: the calls of `files.rs` over a map that lives as long as the
//! tab's worker. Nothing is ever half written here, so nothing is there to mend, sync or lock.

use super::Bytes;
use crate::error::{Result, io};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

thread_local! {
    static FILES: RefCell<BTreeMap<PathBuf, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

fn files<T>(action: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>) -> T) -> T {
    FILES.with_borrow_mut(action)
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let found = files(|all| all.get(path).cloned());
    found.ok_or_else(|| io(path, ErrorKind::NotFound.into()))
}

/// The bytes of a file.
pub fn map(path: &Path) -> Result<Bytes> {
    read(path).map(Bytes::from)
}

/// Whether a file or folder is there; a folder is where a file lies below it.
pub fn exists(path: &Path) -> bool {
    files(|all| all.keys().any(|file| file.starts_with(path)))
}

/// Whether a folder is there.
pub fn is_folder(path: &Path) -> bool {
    exists(path) && !files(|all| all.contains_key(path))
}

/// Folders come with their files.
pub fn create_folder(_path: &Path) -> Result<()> {
    Ok(())
}

/// The names in a folder, sorted.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let below = |file: &PathBuf| {
        let name = file.strip_prefix(path).ok()?.components().next()?;
        Some(name.as_os_str().to_string_lossy().into_owned())
    };
    let names: BTreeSet<String> = files(|all| all.keys().filter_map(below).collect());
    Ok(names.into_iter().collect())
}

/// Writes a file.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    files(|all| all.insert(path.into(), bytes.into()));
    Ok(())
}

/// Writes a folder of files in the place of an older one.
pub fn write_folder_atomic(path: &Path, contents: &[(impl AsRef<str>, Vec<u8>)]) -> Result<()> {
    remove_folder_atomic(path)?;
    contents.iter().try_for_each(|(name, bytes)| write_atomic(&path.join(name.as_ref()), bytes))
}

/// Removes a folder.
pub fn remove_folder_atomic(path: &Path) -> Result<()> {
    files(|all| all.retain(|file, _| !file.starts_with(path)));
    Ok(())
}

/// Appends one line to a file, creating it if needed.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    files(|all| {
        let file = all.entry(path.into()).or_default();
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
    });
    Ok(())
}

/// Nothing to do here.
pub fn sync_file(_path: &Path) -> Result<()> {
    Ok(())
}

/// Nothing to do here.
pub fn mend_folder(_path: &Path) -> Result<()> {
    Ok(())
}

/// Nothing to do here.
pub fn mend_folders_in(_parent: &Path) -> Result<()> {
    Ok(())
}

/// A worker has its files to itself.
#[derive(Debug)]
pub struct FolderLock;

/// Nothing to do here.
pub fn lock_folder(_path: &Path) -> Result<FolderLock> {
    Ok(FolderLock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_files_on_disk() {
        let [run, best] = ["run", "run/best"].map(Path::new);
        assert!(!exists(run) && names_in(run).unwrap().is_empty());
        write_folder_atomic(best, &[("a", vec![1]), ("b", vec![2])]).unwrap();
        write_folder_atomic(best, &[("b", vec![3])]).unwrap();
        append_line(Path::new("run/lines"), "one").unwrap();
        append_line(Path::new("run/lines"), "two").unwrap();
        write_atomic(Path::new("runner"), &[4]).unwrap();
        assert_eq!(names_in(run).unwrap(), ["best", "lines"], "`runner` is no file of `run`");
        assert_eq!(names_in(best).unwrap(), ["b"], "the older folder is gone");
        assert_eq!(read(Path::new("run/best/b")).unwrap(), [3]);
        assert_eq!(read(Path::new("run/lines")).unwrap(), b"one\ntwo\n");
        assert!(is_folder(run) && !is_folder(Path::new("runner")));
        assert!(read(Path::new("run/best/a")).unwrap_err().to_string().starts_with("run/best/a"));
        remove_folder_atomic(run).unwrap();
        assert!(!exists(run) && exists(Path::new("runner")));
    }
}
