//! Run folders as one zip, which is what a browser saves and loads.

use crate::error::{Error, Result};
use crate::platform::{create_folder, is_folder, map, names_in, put};
use crate::run::{CHECKPOINTS, CONFIG, numbered};
use std::ffi::OsStr;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most bytes that an archive may unpack to. A tab holds the file and its contents at once, and wasm
/// memory never shrinks.
pub const MOST_BYTES: u64 = 512 << 20;

/// How names of data end.
const DATA: [&str; 4] = ["jsonl", "json", "csv", "tsv"];

/// Bytes that an archive has for an entry besides its contents, names included, or more.
const BESIDE_AN_ENTRY: usize = 512;

/// Packs run folders and files, each given as (name, path); a folder `path` becomes `name/…` in the archive.
pub fn pack(runs: &[(&str, &Path)]) -> Result<Vec<u8>> {
    let mut bytes = 0;
    for (_, path) in runs {
        for file in files_in(path)? {
            bytes += map(&file)?.len() + BESIDE_AN_ENTRY;
        }
    }
    // As large as it will be: where it grew in steps, a tab would hold it twice.
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(bytes)));
    // Weights, most of the bytes, do not compress.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, path) in runs {
        for file in files_in(path)? {
            let inside = file.strip_prefix(path).expect("a file of the folder");
            let parts = inside.components().map(|c| c.as_os_str().to_string_lossy());
            let entry = parts.fold(name.to_string(), |entry, part| format!("{entry}/{part}"));
            let bytes = map(&file)?;
            writer
                .start_file(entry, options)
                .and_then(|()| Ok(writer.write_all(&bytes)?))
                .map_err(|e| Error::machine(format!("packing {}: {e}", file.display())))?;
        }
    }
    let bytes = writer.finish().map_err(|e| Error::machine(format!("packing: {e}")))?;
    Ok(bytes.into_inner())
}

/// Every file in a folder and its subfolders, except hidden ones (a run's lock); of a file, itself.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !is_folder(folder) {
        return Ok(vec![folder.into()]);
    }
    let mut files = Vec::new();
    for name in names_in(folder)?.iter().filter(|n| !n.starts_with('.')) {
        let path = folder.join(name);
        match is_folder(&path) {
            true => files.extend(files_in(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}

/// What an archive held.
#[derive(Debug)]
pub struct Unpacked {
    /// The names of its runs, in its order.
    pub runs: Vec<String>,
    /// The runs' data, which lie beside them: names and contents.
    pub data: Vec<(String, Vec<u8>)>,
}

/// Unpacks the run folders of an archive into `home`; a folder with `config.toml` and `checkpoints/` is a run,
/// however deep it lies.
pub fn unpack(bytes: &[u8], home: &Path) -> Result<Unpacked> {
    let unreadable = |what: String| {
        Error::input(what)
            .at("the file")
            .next("choose a file that was saved here, or a zip of a folder that `srft train` wrote")
    };
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|e| unreadable(format!("not a zip: {e}")))?;
    let too_large = || unreadable(format!("it unpacks to more than {} MiB", MOST_BYTES >> 20));
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut room = MOST_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|e| unreadable(e.to_string()))?;
        // Entries whose path would leave the folder are skipped.
        let Some(path) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
        let size = entry.size();
        room = room.checked_sub(size).ok_or_else(too_large)?;
        let mut contents = Vec::new();
        // An entry's claimed size may be false, so only one byte more than that is read.
        entry
            .take(size + 1)
            .read_to_end(&mut contents)
            .map_err(|e| unreadable(format!("{}: {e}", path.display())))?;
        if contents.len() as u64 > size {
            return Err(unreadable(format!("{} is longer than it says", path.display())));
        }
        files.push((path, contents));
    }
    let mut runs: Vec<(PathBuf, String)> = Vec::new();
    for root in run_roots(&files) {
        let name = root.file_name().map_or("run".into(), |n| n.to_string_lossy());
        let name = numbered(&name, |name| runs.iter().any(|(_, n)| n == name));
        runs.push((root, name));
    }
    let mut data = Vec::new();
    for (path, contents) in files {
        // A run may lie inside of another's folder.
        for (root, name) in &runs {
            let Ok(inside) = path.strip_prefix(root) else { continue };
            let file = home.join(name).join(inside);
            file.parent().map_or(Ok(()), create_folder)?;
            put(&file, contents.clone())?;
        }
        if path.components().count() == 1 && path.extension().is_some_and(is_of_data) {
            data.push((path.display().to_string(), contents));
        }
    }
    let runs: Vec<String> = runs.into_iter().map(|(_, name)| name).collect();
    match runs.is_empty() {
        true => {
            Err(unreadable(format!("it holds no run: no folder with {CONFIG} and {CHECKPOINTS}/")))
        }
        false => Ok(Unpacked { runs, data }),
    }
}

/// Whether names of data end so.
fn is_of_data(extension: &OsStr) -> bool {
    DATA.iter().any(|data| extension == *data)
}

fn run_roots(files: &[(PathBuf, Vec<u8>)]) -> Vec<PathBuf> {
    let configs = files.iter().filter(|(path, _)| path.ends_with(CONFIG));
    let roots = configs.filter_map(|(path, _)| Some(path.parent()?.to_path_buf()));
    roots.filter(|r| files.iter().any(|(p, _)| p.starts_with(r.join(CHECKPOINTS)))).collect()
}
