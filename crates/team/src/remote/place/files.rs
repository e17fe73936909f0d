//! A worker's folder: the files of models that it was sent, by their hashes.

use crate::remote::message::{Model, Part, bytes_of, sha256 as hash_of};
use srft_trainer::error::{Error, Result, io};
use srft_trainer::model::ModelFolder;
use srft_trainer::platform::map;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder.
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// In `folder`, which is the caller's alone.
    pub fn new(folder: &Path) -> Result<Self> {
        let files = Self { folder: folder.into() };
        fs::create_dir_all(files.files()).map_err(|e| io(&files.files(), e))?;
        files.tidy(); // after a worker that was killed
        Ok(files)
    }

    fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Where a run's models are laid out while they are read.
    fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// Removes what was laid out; the files stay.
    pub fn tidy(&self) {
        let _ = fs::remove_dir_all(self.runs());
    }

    /// Where a file of that hash lies.
    pub fn file(&self, sha256: &str) -> Result<PathBuf> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        match is_hash {
            true => Ok(self.files().join(sha256)),
            false => Err(Error::input(format!("`{sha256}` is no SHA-256"))),
        }
    }

    /// Adds a part to a file; the last must complete what its hash says.
    pub fn store(&self, sha256: &str, length: u64, from: u64, words: &[u32]) -> Result<()> {
        let path = self.file(sha256)?;
        let part = path.with_extension("part");
        let there = if from == 0 { 0 } else { fs::metadata(&part).map_or(0, |m| m.len()) };
        let left = length.checked_sub(from).filter(|_| there == from);
        let Some(left) = left else {
            return Err(Error::machine(format!(
                "a part of a file at {from}, of which {there} bytes are here"
            )));
        };
        let bytes = bytes_of(words, left.min(4 * words.len() as u64) as usize);
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).write(true).truncate(from == 0).append(from > 0);
        let mut file = file.open(&part).map_err(|e| io(&part, e))?;
        file.write_all(&bytes).map_err(|e| io(&part, e))?;
        if from + (bytes.len() as u64) < length {
            return Ok(());
        }
        file.sync_all().map_err(|e| io(&part, e))?;
        drop(file);
        // Dropped at once: Windows renames no file that is mapped.
        let found = hash_of(&map(&part)?);
        if found != sha256 {
            let _ = fs::remove_file(&part);
            return Err(Error::machine(format!(
                "a file arrived with SHA-256 {found}, not {sha256}"
            )));
        }
        fs::rename(&part, &path).map_err(|e| io(&path, e))
    }

    /// A model whose files are all here, laid out as its folder.
    pub fn model(&self, run: &str, name: &str, model: &Model) -> Result<ModelFolder> {
        let home = self.runs().join(checked(run)?).join(name);
        if model.base.is_empty() && model.adapter.is_empty() {
            return Ok(ModelFolder::tiny());
        }
        let base = match model.base.is_empty() {
            true => "tiny".into(),
            false => self.lay_out(&home.join("base"), &model.base)?,
        };
        match model.adapter.is_empty() {
            true => ModelFolder::read(&base),
            false => {
                let adapter = self.lay_out(&home.join("adapter"), &model.adapter)?;
                ModelFolder::read_over(&adapter, Some(&base.display().to_string()))
            }
        }
    }

    /// Links the files into a folder; gives what a model is read from: the folder, or a GGUF file in it.
    fn lay_out(&self, folder: &Path, parts: &[Part]) -> Result<PathBuf> {
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        for Part { name, sha256 } in parts {
            let (from, to) = (self.file(sha256)?, folder.join(checked(name)?));
            if !from.is_file() {
                return Err(Error::input(format!("{name} is not here any more"))
                    .next("resume the run: it is sent again"));
            }
            let _ = fs::remove_file(&to); // of a reading that failed
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).map_err(|e| io(&from, e))?;
            }
        }
        // A folder has several files; a GGUF file may be in parts.
        let is_gguf = |part: &&Part| parts.len() == 1 || part.name.ends_with(".gguf");
        Ok(parts.iter().find(is_gguf).map_or(folder.into(), |part| folder.join(&part.name)))
    }
}

/// A name that leads nowhere else.
fn checked(name: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.starts_with('.')
        && !name.is_empty()
        && name.len() < 200
        && name.chars().all(is_plain)
    {
        true => Ok(name),
        false => Err(Error::input(format!(
            "{name:?} is not taken as a file's name: letters, digits, `-`, `_` and `.` are"
        ))),
    }
}
