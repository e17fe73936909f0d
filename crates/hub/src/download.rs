//! A file of a repository, brought into the cache: whole and right, or not at all. A cut download stays beside as
//! `HASH.incomplete` and goes on from there.

use crate::client::{Hub, Trouble};
use crate::listing::{File, Listing};
use sha2::Digest;
use srft_formats::error::{Error, Result, io};
use srft_formats::platform::write_atomic;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Tries in a row that bring nothing.
const TRIES: u32 = 5;

/// What stops a download.
enum Stop {
    /// Another try may help.
    Again(String),
    For(Error),
}

impl Hub {
    /// Brings files into the cache's snapshot of their commit. `asked` is the revision that the user named.
    pub(crate) fn fetch(&self, listing: &Listing, paths: &[String], asked: &str) -> Result<()> {
        let folder = listing.name.folder(&self.cache, listing.kind);
        let commit = listing.name.revision();
        for path in paths {
            let file = listing.file(path)?;
            let pointer = folder.join("snapshots").join(commit).join(path);
            if fs::metadata(&pointer).is_ok_and(|there| there.len() == file.size) {
                continue;
            }
            let blob = folder.join("blobs").join(&file.hash);
            let lock = self.lock(listing, &file.hash, path)?;
            if fs::metadata(&blob).is_ok_and(|there| there.len() == file.size) {
                self.watch.downloading(path, file.size, file.size);
            } else {
                create(&blob)?;
                self.download(listing, path, file, &blob)?;
            }
            link(&blob, &pointer, path)?;
            drop(lock);
        }
        if asked != commit {
            let at = folder.join("refs").join(asked);
            create(&at)?;
            write_atomic(&at, commit.as_bytes())?;
        }
        Ok(())
    }

    /// The lock that Python's `huggingface_hub` takes too, so that nobody downloads a file twice.
    fn lock(&self, listing: &Listing, hash: &str, path: &str) -> Result<fs::File> {
        let folder = listing.name.folder(Path::new(".locks"), listing.kind);
        let at = self.cache.join(folder).join(format!("{hash}.lock"));
        create(&at)?;
        let lock = fs::File::create(&at).map_err(|e| io(&at, e))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            self.watch.note(&format!("waiting for another program that downloads {path}"));
            let _ = lock.lock(); // some network disks have no locks
        }
        Ok(lock)
    }

    fn download(&self, listing: &Listing, path: &str, file: &File, blob: &Path) -> Result<()> {
        let part = blob.with_extension("incomplete");
        let url = format!(
            "{}/resolve/{}/{}",
            self.page(&listing.name, listing.kind),
            listing.name.revision(),
            path.split('/').map(encoded).collect::<Vec<_>>().join("/")
        );
        let mut failed = 0;
        loop {
            let have = fs::metadata(&part).map_or(0, |there| there.len());
            match self.more(listing, path, &url, file, &part, have) {
                Ok(()) => break,
                Err(Stop::For(error)) => return Err(error),
                Err(Stop::Again(why)) => {
                    let now = fs::metadata(&part).map_or(0, |there| there.len());
                    failed = if now > have { 0 } else { failed + 1 };
                    if failed == TRIES {
                        let next = "run it again: it goes on where it stopped";
                        let what = format!(
                            "the download breaks off after {now} of {} bytes: {why}",
                            file.size
                        );
                        return Err(Error::machine(what)
                            .at(format!("{}: {path}", listing.name))
                            .next(next));
                    }
                    std::thread::sleep(self.pause * (1 << failed));
                }
            }
        }
        let hash = hash_of(&part, file).map_err(|e| io(&part, e))?;
        if !hash.eq_ignore_ascii_case(&file.hash) {
            fs::remove_file(&part).map_err(|e| io(&part, e))?;
            return Err(Error::machine(format!(
                "what came has the hash {hash}; expected {}",
                file.hash
            ))
            .at(format!("{}: {path}", listing.name))
            .next(
                "run it again; if that doesn't help, a mirror or a proxy on the way alters files",
            ));
        }
        fs::rename(&part, blob).map_err(|e| io(blob, e))
    }

    /// Adds what is missing behind `have` bytes.
    fn more(
        &self,
        listing: &Listing,
        path: &str,
        url: &str,
        file: &File,
        part: &Path,
        have: u64,
    ) -> std::result::Result<(), Stop> {
        let disk = |e| Stop::For(disk(part, e));
        let mut out = OpenOptions::new().append(true).create(true).open(part).map_err(disk)?;
        if have == file.size {
            return Ok(());
        }
        let from = if have > file.size { 0 } else { have };
        let response = self.get(url, from).map_err(|trouble| match trouble {
            Trouble::Cut(why) | Trouble::Unreached(why) => Stop::Again(why),
            refused => Stop::For(self.error(&listing.name, listing.kind, refused)),
        })?;
        let goes_on = response.status() == 206
            && response.headers().get("Content-Range").is_some_and(|range| {
                range.as_bytes().starts_with(format!("bytes {from}-").as_bytes())
            });
        // Whoever doesn't know ranges sends all of it.
        let mut have = if goes_on { from } else { 0 };
        if have == 0 {
            out.set_len(0).map_err(disk)?;
        }
        if response.status() != 200 && !goes_on {
            return Err(Stop::Again(format!("the hub answers {}", response.status())));
        }
        let longer = |bytes: u64| {
            let what = format!("the hub sends {bytes} bytes or more of a file of {}", file.size);
            let place = format!("{}: {path}", listing.name);
            Stop::For(Error::machine(what).at(place).next("see what it has on the hub"))
        };
        let length = response.body().content_length();
        if let Some(length) = length.filter(|length| have.saturating_add(*length) > file.size) {
            return Err(longer(have.saturating_add(length)));
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.watch.downloading(path, have, file.size);
            let count = match body.read(&mut buffer) {
                Ok(0) if have == file.size => return Ok(()),
                Ok(0) => return Err(Stop::Again("the connection was closed".into())),
                Ok(count) => count,
                Err(e) => return Err(Stop::Again(e.to_string())),
            };
            if have + count as u64 > file.size {
                out.set_len(0).map_err(disk)?;
                return Err(longer(have + count as u64));
            }
            out.write_all(&buffer[..count]).map_err(disk)?;
            have += count as u64;
        }
    }
}

/// An error while writing; a full disk keeps what came for the next time.
fn disk(part: &Path, error: std::io::Error) -> Error {
    let next = "free some space, or set HF_HUB_CACHE to a folder on another disk, and run it again: the \
                download goes on where it stopped";
    io(part, error).next(next)
}

/// The folders above a path.
fn create(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|e| disk(folder, e))
}

/// A part of an address.
fn encoded(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The hash that the hub has of a file: SHA-256 if it is large, else git's.
fn hash_of(path: &Path, file: &File) -> std::io::Result<String> {
    let mut source = fs::File::open(path)?;
    let digest = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if file.hash.len() == 64 {
        let mut hash = sha2::Sha256::new();
        feed(&mut source, |bytes| hash.update(bytes))?;
        return Ok(digest(&hash.finalize()));
    }
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", file.size));
    feed(&mut source, |bytes| hash.update(bytes))?;
    Ok(digest(&hash.finalize()))
}

fn feed(source: &mut fs::File, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            count => take(&buffer[..count]),
        }
    }
}

/// Makes a snapshot's file point to its blob, as Python does: relative, so that a cache may be moved.
fn link(blob: &Path, pointer: &Path, path: &str) -> Result<()> {
    create(pointer)?;
    let _ = fs::remove_file(pointer); // a link to a blob that is gone
    let name = blob.file_name().unwrap_or_default();
    let up = "../".repeat(2 + path.matches('/').count());
    let target = Path::new(&up).join("blobs").join(name);
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(target, pointer);
    #[cfg(windows)]
    let made = std::os::windows::fs::symlink_file(target, pointer);
    #[cfg(not(any(unix, windows)))]
    let made: std::io::Result<()> = Err(std::io::ErrorKind::Unsupported.into());
    // Windows lets only developers make links of that kind.
    made.or_else(|_| fs::hard_link(blob, pointer))
        .or_else(|_| fs::copy(blob, pointer).map(drop))
        .map_err(|e| disk(pointer, e))
}
