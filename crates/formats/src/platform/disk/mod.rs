//! Reading, and writing in such a way that a crash at any moment leaves either the old or the new file.

mod hidden;
mod out;

pub use out::{OutFile, OutWriter, require_folder};

use super::Bytes;
use crate::error::{Error, Result, io};
use crc32fast::Hasher;
use hidden::{LOCK, PARTIAL, hidden};
use out::Target;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The weights of the built-in model, compiled into the program.
pub fn tiny_weights() -> Vec<u8> {
    srft_assets::TINY_WEIGHTS.to_vec()
}

/// In a tab, the browser's name for its adapter; natively none, since wgpu knows it.
pub async fn adapter_name(_preference: &str) -> Option<String> {
    None
}

/// In a tab, whether the browser's device has subgroups; natively wgpu knows it.
pub fn has_subgroups() -> bool {
    false
}

/// The absolute path, which stays valid when the program changes its working folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| io(path, e))
}

/// Maps a file: pages are read when first touched, and may be dropped again.
pub fn map(path: &Path) -> Result<Bytes> {
    #[expect(
        unsafe_code,
        reason = "a map is only as constant as its file; srft replaces files by renaming, which leaves                   mapped ones alone, and whoever cuts a model short while it is read would break any                   reader"
    )]
    let map = |file: File| unsafe { memmap2::Mmap::map(&file) };
    File::open(path).and_then(map).map(Bytes::of).map_err(|e| io(path, e))
}

/// Whether a file or folder is there.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Creates a folder and its parents.
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

/// Suffix of the older folder while it is being replaced, beside [`PARTIAL`].
const OLD: &str = "srft-old";

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Syncs a file to disk, so that it survives a power cut. Windows wants it open for writing.
pub fn sync_file(path: &Path) -> Result<()> {
    let file = OpenOptions::new().append(true).open(path);
    file.and_then(|f| f.sync_all()).map_err(|e| io(path, e))
}

/// A rename is durable once its folder is synced; systems that cannot sync a folder do not need it.
fn sync_folder(path: &Path) {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if let Ok(folder) = File::open(path) {
        let _ = folder.sync_all();
    }
}

fn sync_parent(path: &Path) {
    path.parent().into_iter().for_each(sync_folder);
}

/// Makes these bytes a file.
pub fn put(path: &Path, bytes: Vec<u8>) -> Result<()> {
    write_atomic(path, &bytes)
}

/// Writes a file under a temporary name, syncs it, and renames it into place. If `path` is a link, the
/// file that it leads to is replaced. Something that is not a regular file, such as a terminal, is
/// written directly.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let written = match fs::metadata(&place) {
        Ok(there) if !there.is_file() && !there.is_dir() => fs::write(&place, bytes),
        _ => {
            let partial = hidden(&place, PARTIAL);
            let written = write_synced(&partial, bytes).and_then(|()| fs::rename(&partial, &place));
            written.inspect_err(|_| drop(fs::remove_file(&partial)))
        }
    };
    written.map_err(|e| io(path, e))?;
    sync_parent(&place);
    Ok(())
}

/// A folder that is being written and appears whole or not at all. If it is dropped before
/// [`FolderWriter::finish`], nothing changes.
pub struct FolderWriter {
    path: PathBuf,
    stage: PathBuf,
    files: Vec<FileWriter>,
    target: Option<Target>, // where the user named the folder
}

/// A file of a [`FolderWriter`]; everything goes straight to the disk.
pub struct FileWriter {
    name: String,
    path: PathBuf, // once the folder is in its place
    file: File,
    bytes: u64,
    checksum: Hasher,
}

impl FolderWriter {
    /// Begins the folder `path`, one that a run keeps for itself. It replaces an older one, which
    /// [`mend_folder`] restores after a crash between the two renames.
    pub fn begin(path: &Path) -> Result<Self> {
        mend_folder(path)?;
        Self::staged(path.into(), hidden(path, PARTIAL), None)
    }

    /// Begins a folder that the user named, for a command's results of that kind: see
    /// `platform/out.rs`.
    pub fn export(path: &Path, kind: &'static str, overwrite: bool) -> Result<Self> {
        let target = Target::of(path, kind, overwrite)?;
        let stage = target.stage();
        if stage.exists() {
            fs::remove_dir_all(&stage).map_err(|e| io(&stage, e))?;
        }
        Self::staged(target.path.clone(), stage, Some(target))
    }

    fn staged(path: PathBuf, stage: PathBuf, target: Option<Target>) -> Result<Self> {
        create_folder(&stage)?;
        Ok(Self { path, stage, files: Vec::new(), target })
    }

    /// Begins a file; each name only once.
    pub fn file(&mut self, name: &str) -> Result<&mut FileWriter> {
        let file = FileWriter::create(&self.stage.join(name), &self.path.join(name))?;
        self.files.push(FileWriter { name: name.into(), ..file });
        Ok(self.files.last_mut().expect("just pushed"))
    }

    /// CRC-32 of what was written to each file so far.
    pub fn checksums(&self) -> BTreeMap<String, u32> {
        self.files.iter().map(|f| (f.name.clone(), f.checksum.clone().finalize())).collect()
    }

    /// Syncs the files and renames the folder into place.
    pub fn finish(mut self) -> Result<()> {
        let mut files = BTreeMap::new();
        for FileWriter { name, path, file, bytes, checksum } in self.files.drain(..) {
            file.sync_all().map_err(|e| io(&path, e))?;
            files.insert(name, (bytes, checksum.finalize()));
        }
        if let Some(target) = &self.target {
            target.put(&self.stage, &files)?;
            sync_folder(&self.path);
        } else {
            sync_folder(&self.stage);
            let replace = || {
                if self.path.exists() {
                    fs::rename(&self.path, hidden(&self.path, OLD))?;
                }
                fs::rename(&self.stage, &self.path)
            };
            replace().map_err(|e| io(&self.path, e))?;
        }
        sync_parent(&self.path);
        Ok(())
    }
}

impl Drop for FolderWriter {
    /// Removes the older folder if the new one is in place; else removes the new one.
    fn drop(&mut self) {
        self.files.clear(); // some systems remove no file that is open
        let _ = match &self.target {
            Some(_) => fs::remove_dir_all(&self.stage).map_err(|e| io(&self.stage, e)),
            None => mend_folder(&self.path),
        };
    }
}

impl FileWriter {
    /// Creates the file at `stage`; errors name `path`, where it will be.
    fn create(stage: &Path, path: &Path) -> Result<Self> {
        let file = File::create(stage).map_err(|e| io(path, e))?;
        let (name, checksum) = (String::new(), Hasher::new());
        Ok(Self { name, path: path.into(), file, bytes: 0, checksum })
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| io(&self.path, e))
    }

    /// Appends to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| io(&self.path, e))
    }
}

/// Finishes what a crash left half done at `path`: restores a folder that was being replaced, and
/// removes what was being written or deleted. Files of the older folder that the new one lacks are
/// kept: someone else put them there.
pub fn mend_folder(path: &Path) -> Result<()> {
    let old = hidden(path, OLD);
    if old.exists() && !path.exists() {
        fs::rename(&old, path).map_err(|e| io(path, e))?;
    }
    for entry in fs::read_dir(&old).into_iter().flatten().flatten() {
        let place = path.join(entry.file_name());
        if fs::symlink_metadata(&place).is_err() {
            fs::rename(entry.path(), &place).map_err(|e| io(&place, e))?;
        }
    }
    for leftover in [old, hidden(path, PARTIAL)].iter().filter(|p| p.exists()) {
        fs::remove_dir_all(leftover).map_err(|e| io(leftover, e))?;
    }
    Ok(())
}

/// Calls [`mend_folder`] for every folder in `parent`.
pub fn mend_folders_in(parent: &Path) -> Result<()> {
    for name in names_in(parent)? {
        let ended = [OLD, PARTIAL].iter().find_map(|s| name.strip_suffix(&format!(".{s}")));
        if let Some(name) = ended.and_then(|name| name.strip_prefix('.')) {
            mend_folder(&parent.join(name))?;
        }
    }
    Ok(())
}

/// Restores `path` if a version before 0.2 crashed while replacing it. That version called the older
/// folder `NAME.old`, as a user might: nothing else with such a name is touched.
pub fn mend_older(path: &Path) -> Result<()> {
    let mut old = path.as_os_str().to_os_string();
    old.push(".old");
    match path.exists() || !Path::new(&old).is_dir() {
        true => Ok(()),
        false => fs::rename(&old, path).map_err(|e| io(path, e)),
    }
}

/// Removes a folder; a crash never leaves a part of it under its name.
pub fn remove_folder_atomic(path: &Path) -> Result<()> {
    let partial = hidden(path, PARTIAL);
    let removed = fs::rename(path, &partial).and_then(|()| fs::remove_dir_all(&partial));
    removed.map_err(|e| io(path, e))
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(path, e)),
        _ => Ok(()),
    }
}

/// Appends to a file, creating it if needed. What cannot be written whole leaves nothing.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let append = || {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let before = file.metadata()?.len();
        file.write_all(bytes).inspect_err(|_| drop(file.set_len(before)))
    };
    append().map_err(|e| io(path, e))
}

/// Keeps other processes out of a folder until it is dropped or this process ends in any way.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "held, not read")] File);

/// Locks a folder.
pub fn lock_folder(path: &Path) -> Result<FolderLock> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path.join(LOCK));
    let file = file.map_err(|e| io(path, e))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::input("another process is training in this folder")
                .at(path.display())
                .next("wait for it or stop it, or give another folder"))
        }
        // Some network file systems have no locks; running unlocked is better than not running.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(FolderLock(file)),
    }
}

/// Whether a process holds the folder's lock; false where that cannot be told.
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

    /// Begins a folder with one file, to which `text` is written in two parts.
    fn begin(folder: &Path, text: &str) -> FolderWriter {
        let mut writer = FolderWriter::begin(folder).unwrap();
        let (file, (first, second)) = (writer.file("file").unwrap(), text.split_at(1));
        file.write(first.as_bytes()).unwrap();
        file.write(second.as_bytes()).unwrap();
        writer
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let best = home.path().join("v1.2");
        begin(&best, "one").finish().unwrap();
        let mut writer = begin(&best, "two");
        writer.file("empty").unwrap();
        assert_eq!(read(&best.join("file")).unwrap(), b"one", "until the new one is whole");
        // Python: zlib.crc32(b"two")
        let sums = [("empty".to_string(), 0), ("file".to_string(), 0x11ca_8a66)];
        assert_eq!(writer.checksums(), sums.into());
        fs::write(best.join("notes"), "mine").unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&best.join("file")).unwrap(), b"two");
        assert_eq!(read_all(&best), ["empty", "file", "notes"], "and what someone else put there");
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
            (vec![("best", "one"), (".best.srft-partial", "t")], "one"),
            (vec![(".best.srft-old", "one"), (".best.srft-partial", "two")], "one"),
            (vec![(".best.srft-old", "one"), ("best", "two")], "two"),
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
        begin(&best, "one").finish().unwrap();
        let mut impossible = begin(&best, "two");
        let error = impossible.file("no/such/folder").err().unwrap();
        assert_eq!(error.place, Some(best.join("no/such/folder").display().to_string()));
        drop(impossible);
        drop(begin(&best, "cut short"));
        assert_eq!(read(&best.join("file")).unwrap(), b"one");
        assert_eq!(read_all(home.path()), ["best"]);
    }

    /// The staged folder disappears before the last rename: the older folder is put back.
    #[test]
    fn a_failed_rename_leaves_the_old_version() {
        let home = tempfile::tempdir().unwrap();
        let best = home.path().join("best");
        begin(&best, "one").finish().unwrap();
        let mut writer = begin(&best, "two");
        writer.files.clear(); // Windows removes no folder that has an open file
        fs::remove_dir_all(home.path().join(".best.srft-partial")).unwrap();
        assert!(writer.finish().is_err());
        assert_eq!(read(&best.join("file")).unwrap(), b"one");
        assert_eq!(read_all(home.path()), ["best"]);
    }

    /// Windows refused to sync a file that was open for reading, and with that every checkpoint.
    #[test]
    fn a_file_that_is_synced_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lines");
        append(&path, b"one\n").unwrap();
        sync_file(&path).unwrap();
        assert_eq!(read(&path).unwrap(), b"one\n");
        assert!(sync_file(&home.path().join("none")).is_err());
        assert_eq!(read_all(home.path()), ["lines"]);
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
