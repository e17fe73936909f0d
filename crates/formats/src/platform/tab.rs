//! Files in memory, for a browser tab: the functions of `disk` over a map that lives as long as the
//! tab's worker. Nothing is ever half written here, so there is nothing to mend, sync or lock.

use super::Bytes;
use crate::error::{Result, io};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

thread_local! {
    static FILES: RefCell<BTreeMap<PathBuf, Arc<Vec<u8>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A file's bytes, seen without a copy; the file may be removed meanwhile.
struct Seen(Arc<Vec<u8>>);

impl AsRef<[u8]> for Seen {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn files<T>(action: impl FnOnce(&mut BTreeMap<PathBuf, Arc<Vec<u8>>>) -> T) -> T {
    FILES.with_borrow_mut(action)
}

/// A tab has one folder.
pub fn absolute(path: &Path) -> PathBuf {
    path.into()
}

fn found(path: &Path) -> Result<Arc<Vec<u8>>> {
    files(|all| all.get(path).cloned()).ok_or_else(|| io(path, ErrorKind::NotFound.into()))
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    found(path).map(|bytes| bytes.to_vec())
}

/// The bytes of a file, which are not copied.
pub fn map(path: &Path) -> Result<Bytes> {
    found(path).map(|bytes| Bytes::of(Seen(bytes)))
}

/// Whether a file or folder is there; a folder exists while it holds a file.
pub fn exists(path: &Path) -> bool {
    files(|all| all.keys().any(|file| file.starts_with(path)))
}

/// Whether a folder is there.
pub fn is_folder(path: &Path) -> bool {
    exists(path) && !files(|all| all.contains_key(path))
}

/// Nothing to do: a folder exists once it holds a file.
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
    put(path, bytes.into())
}

/// Makes these bytes a file, without a copy.
pub fn put(path: &Path, bytes: Vec<u8>) -> Result<()> {
    files(|all| all.insert(path.into(), Arc::new(bytes)));
    Ok(())
}

/// A folder that is being written; it replaces an older one.
pub struct FolderWriter {
    path: PathBuf,
    files: Vec<FileWriter>,
}

/// A file of a [`FolderWriter`].
pub struct FileWriter {
    name: String,
    bytes: Vec<u8>,
}

impl FolderWriter {
    /// Begins the folder `path`.
    pub fn begin(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), files: Vec::new() })
    }

    /// Begins a folder that the user named, which a tab does not have.
    pub fn export(path: &Path, _kind: &'static str, _overwrite: bool) -> Result<Self> {
        Self::begin(path)
    }

    /// Begins a file; each name only once.
    pub fn file(&mut self, name: &str) -> Result<&mut FileWriter> {
        self.files.push(FileWriter { name: name.into(), bytes: Vec::new() });
        Ok(self.files.last_mut().expect("just pushed"))
    }

    /// CRC-32 of what was written to each file so far.
    pub fn checksums(&self) -> BTreeMap<String, u32> {
        self.files.iter().map(|f| (f.name.clone(), crc32fast::hash(&f.bytes))).collect()
    }

    /// Puts the folder in place.
    pub fn finish(self) -> Result<()> {
        remove_folder_atomic(&self.path)?;
        for FileWriter { name, mut bytes } in self.files {
            bytes.shrink_to_fit(); // it grew in steps
            put(&self.path.join(name), bytes)?;
        }
        Ok(())
    }
}

impl FileWriter {
    /// Appends to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// Removes a folder.
pub fn remove_folder_atomic(path: &Path) -> Result<()> {
    files(|all| all.retain(|file, _| !file.starts_with(path)));
    Ok(())
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<()> {
    files(|all| all.remove(path));
    Ok(())
}

/// Appends to a file, creating it if needed.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    files(|all| Arc::make_mut(all.entry(path.into()).or_default()).extend_from_slice(bytes));
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

/// Nothing to do here.
pub fn mend_older(_path: &Path) -> Result<()> {
    Ok(())
}

/// Stands for a lock: a worker has its files to itself.
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
        let mut writer = FolderWriter::begin(best).unwrap();
        writer.file("a").unwrap().write(&[1]).unwrap();
        writer.file("b").unwrap().write(&[2]).unwrap();
        writer.finish().unwrap();
        let mut writer = FolderWriter::begin(best).unwrap();
        writer.file("b").unwrap().write(b"t").unwrap();
        writer.files[0].write(b"wo").unwrap();
        assert_eq!(writer.checksums(), [("b".to_string(), 0x11ca_8a66)].into());
        assert_eq!(names_in(best).unwrap(), ["a", "b"], "until the new one is whole");
        writer.finish().unwrap();
        append(Path::new("run/lines"), b"one\n").unwrap();
        append(Path::new("run/lines"), b"two\n").unwrap();
        let seen = map(Path::new("run/lines")).unwrap();
        append(Path::new("run/lines"), b"three\n").unwrap();
        assert_eq!(&*seen, b"one\ntwo\n", "as it was");
        assert_eq!(map(Path::new("run/lines")).unwrap().len(), 14);
        write_atomic(Path::new("runner"), &[4]).unwrap();
        assert_eq!(names_in(run).unwrap(), ["best", "lines"], "`runner` is no file of `run`");
        assert_eq!(names_in(best).unwrap(), ["b"], "the older folder is gone");
        assert_eq!(read(Path::new("run/best/b")).unwrap(), b"two");
        assert_eq!(read(Path::new("run/lines")).unwrap(), b"one\ntwo\nthree\n");
        assert!(is_folder(run) && !is_folder(Path::new("runner")));
        assert!(read(Path::new("run/best/a")).unwrap_err().to_string().starts_with("run/best/a"));
        remove_folder_atomic(run).unwrap();
        assert!(!exists(run) && exists(Path::new("runner")));
    }
}
