//! Folders and files that the user names for results. Anything there that the same command did not
//! write stays as it is, unless `overwrite` is set, and then only files of the same names are replaced.
//!
//! A folder of results is recognised by its [`MARKER`], which lists the files with length and CRC-32; a
//! file that changed since then is the user's. A single file is recognised by its contents.

use super::hidden::{LOCK, PARTIAL, hidden};
use super::{FileWriter, create_folder, map, read, write_atomic};
use crate::error::{Error, Result, io};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file in a folder of results that says what they are and lists the files.
const MARKER: &str = ".srft.json";
/// Folders that a run keeps inside its own; no command writes results there.
const OF_A_RUN: [&str; 3] = ["best", "checkpoints", "evaluations"];
/// Most names that an error lists.
const NAMED: usize = 3;

#[derive(Serialize, Deserialize)]
struct Marker {
    /// What the command calls its results.
    kind: String,
    /// Length and CRC-32 by name.
    files: BTreeMap<String, (u64, u32)>,
}

/// A folder that the user named, checked to be writable without losing anything.
pub(super) struct Target {
    pub(super) path: PathBuf,
    kind: &'static str,
    /// Whether the folder is there.
    exists: bool,
    /// Files that the same command wrote there before.
    own: Vec<String>,
}

/// Refuses a folder for results if it holds anything else. Also called before long work, since the
/// folder is written at its end.
pub fn require_folder(path: &Path, kind: &'static str, overwrite: bool) -> Result<()> {
    Target::of(path, kind, overwrite).map(drop)
}

impl Target {
    pub(super) fn of(path: &Path, kind: &'static str, overwrite: bool) -> Result<Self> {
        let refused = |what: String| Error::input(what).at(path.display());
        let exists = fs::symlink_metadata(path).is_ok();
        if exists && !path.is_dir() {
            return Err(refused(format!("this is not a folder, and the {kind} needs one"))
                .next("give another folder; what is here stays"));
        }
        // Of a link, the folder that it leads to.
        let path = match exists {
            true => fs::canonicalize(path).map_err(|e| io(path, e))?,
            false => super::absolute(path),
        };
        let (own, others) = match exists {
            true => contents(&path, kind)?,
            false => (Vec::new(), Vec::new()),
        };
        let elsewhere = "give a folder of its own";
        if exists && !others.is_empty() && is_kept(&path) {
            return Err(refused("this folder holds a run or a study".into()).next(elsewhere));
        }
        let inside = path.ancestors().zip(path.ancestors().skip(1)).find(|(_, of)| is_kept(of));
        if let Some((below, of)) = inside {
            let name = below.file_name().unwrap_or_default().to_string_lossy();
            if OF_A_RUN.contains(&&*name) || exists && !others.is_empty() {
                let of = of.display();
                return Err(refused(format!("this belongs to the run in {of}")).next(elsewhere));
            }
        }
        if !others.is_empty() && !overwrite {
            let (some, rest) = others.split_at(others.len().min(NAMED));
            let more = if rest.is_empty() { "" } else { ", ..." };
            return Err(refused(format!(
                "the folder has files that srft did not write, or that were changed since: \
                 {}{more}",
                some.join(", ")
            ))
            .next(
                "give a new folder, or add --overwrite: it replaces files of the same names and \
                 removes nothing",
            ));
        }
        Ok(Self { path, kind, exists, own })
    }

    /// Where the files are written first: inside the folder if it exists, since it may be a mount
    /// point.
    pub(super) fn stage(&self) -> PathBuf {
        match self.exists {
            true => self.path.join(format!(".{PARTIAL}")),
            false => hidden(&self.path, PARTIAL),
        }
    }

    /// Moves the staged files into place, and removes the command's earlier files that are not among
    /// them.
    pub(super) fn put(&self, stage: &Path, files: &BTreeMap<String, (u64, u32)>) -> Result<()> {
        let marker = Marker { kind: self.kind.into(), files: files.clone() };
        let marker = serde_json::to_vec(&marker).expect("a plain record");
        write_atomic(&stage.join(MARKER), &marker)?;
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| io(to, e));
        if !self.exists {
            return rename(stage, &self.path);
        }
        for name in files.keys().map(String::as_str).chain([MARKER]) {
            rename(&stage.join(name), &self.path.join(name))?;
        }
        for path in self.own.iter().filter(|name| !files.contains_key(*name)) {
            let path = self.path.join(path);
            fs::remove_file(&path).map_err(|e| io(&path, e))?;
        }
        fs::remove_dir(stage).map_err(|e| io(stage, e))
    }
}

/// (files that a command with results of this kind wrote, everything else) in a folder.
fn contents(path: &Path, kind: &str) -> Result<(Vec<String>, Vec<String>)> {
    let bytes = read(&path.join(MARKER)).unwrap_or_default();
    let marker = serde_json::from_slice(&bytes).ok().filter(|m: &Marker| m.kind == kind);
    let written = |name: &String| {
        let (length, checksum) = *marker.as_ref()?.files.get(name)?;
        let file = fs::metadata(path.join(name)).ok().filter(|m| m.len() == length)?;
        let same = || map(&path.join(name)).is_ok_and(|b| crc32fast::hash(&b) == checksum);
        Some(file.len() == 0 || same())
    };
    let entries = fs::read_dir(path).map_err(|e| io(path, e))?.flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for name in names.into_iter().filter(|name| *name != format!(".{PARTIAL}")) {
        match (name == MARKER && marker.is_some(), written(&name) == Some(true)) {
            (true, _) => {}
            (_, true) => own.push(name),
            _ => others.push(name),
        }
    }
    Ok((own, others))
}

/// Whether a folder is a run's or a study's.
fn is_kept(folder: &Path) -> bool {
    let is_there = |name: &str| folder.join(name).exists();
    // Other programs have lock files too: the name alone proves nothing.
    is_there("config.toml") && (is_there(LOCK) || is_there("checkpoints"))
        || is_there("study.toml") && is_there(LOCK)
}

/// A file that the user named for results.
#[derive(Debug, Clone, Copy)]
pub struct OutFile<'a> {
    /// Where it goes.
    pub path: &'a Path,
    /// What it is, for messages: `report`.
    pub kind: &'a str,
    /// Whether bytes are a result of this kind: then an earlier file may be replaced.
    pub is_such: fn(&[u8]) -> bool,
    /// Whether the user asked to replace whatever is there.
    pub overwrite: bool,
}

impl OutFile<'_> {
    /// Refuses a place that holds something else, or one of the command's own inputs. Also called
    /// before long work.
    pub fn require_free(&self, inputs: &[&Path]) -> Result<()> {
        let Self { path, kind, .. } = self;
        let refused = |what: String| Error::input(what).at(path.display());
        let same = |other: &&Path| match (fs::canonicalize(path), fs::canonicalize(other)) {
            (Ok(here), Ok(there)) => here == there,
            _ => false,
        };
        if inputs.iter().any(same) {
            return Err(
                refused("the command reads this file".into()).next("give --out another file")
            );
        }
        if let Some(above) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
            create_folder(above)?;
        }
        let Ok(there) = fs::metadata(path) else {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err(refused("this link leads nowhere".into()).next("remove the link")),
                Err(_) => Ok(()),
            };
        };
        if there.is_dir() {
            return Err(refused(format!("this is a folder, and the {kind} is a file"))
                .next("give the name of a file"));
        }
        let is_free = !there.is_file() || there.len() == 0;
        if is_free || (self.is_such)(&map(path)?) {
            return Ok(());
        }
        let above = fs::canonicalize(path).map_err(|e| io(path, e))?;
        if above.parent().is_some_and(is_kept) {
            return Err(refused("this file belongs to a run or a study".into())
                .next("give --out another file"));
        }
        match self.overwrite {
            true => Ok(()),
            false => Err(refused(format!("the file here holds no {kind} written by srft"))
                .next("give --out another file, or add --overwrite to replace this one")),
        }
    }

    /// Writes it.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        self.require_free(&[])?;
        write_atomic(self.path, bytes)
    }

    /// Begins it, to be written piece by piece; it appears whole or not at all.
    pub fn begin(&self) -> Result<OutWriter> {
        self.require_free(&[])?;
        // A rename would put a file in a device's place.
        if fs::metadata(self.path).is_ok_and(|there| !there.is_file()) {
            return Err(Error::input(format!(
                "this is a device or a pipe, and the {} is a file",
                self.kind
            ))
            .at(self.path.display())
            .next("give the name of a file"));
        }
        // Of a link, the file that it leads to.
        let place = fs::canonicalize(self.path).unwrap_or_else(|_| super::absolute(self.path));
        let partial = Partial(hidden(&place, PARTIAL));
        Ok(OutWriter { file: FileWriter::create(&partial.0, self.path)?, partial, place })
    }
}

/// A file that the user named, being written. If it is dropped before [`OutWriter::finish`], nothing
/// changes.
pub struct OutWriter {
    /// To write to.
    pub file: FileWriter, // closed before the partial file is removed: some systems remove no open file
    partial: Partial,
    place: PathBuf,
}

impl OutWriter {
    /// Syncs the file and renames it into place.
    pub fn finish(self) -> Result<()> {
        let Self { file, partial, place } = self;
        file.sync()?;
        drop(file);
        fs::rename(&partial.0, &place).map_err(|e| io(&place, e))?;
        super::sync_parent(&place);
        Ok(())
    }
}

/// Removes the file, if it is still there.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
