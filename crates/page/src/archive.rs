//! Run folders as one zip, which is what a browser saves and loads.

use crate::error::{Error, Result};
use crate::platform::{create_folder, is_folder, names_in, read, write_atomic};
use crate::run::{CHECKPOINTS, CONFIG, numbered};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Most bytes that an archive may unpack to. A tab holds the file and its contents at once, and wasm
/// memory never shrinks.
pub const MOST_BYTES: u64 = 512 << 20;

/// Packs run folders, each given as (name, path); `path` becomes `name/…` in the archive.
pub fn pack(runs: &[(&str, &Path)]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    // Weights, most of the bytes, do not compress.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, path) in runs {
        for file in files_in(path)? {
            let inside = file.strip_prefix(path).expect("a file of the folder");
            let parts = inside.components().map(|c| c.as_os_str().to_string_lossy());
            let entry = parts.fold(name.to_string(), |entry, part| format!("{entry}/{part}"));
            let bytes = read(&file)?;
            writer
                .start_file(entry, options)
                .and_then(|()| Ok(writer.write_all(&bytes)?))
                .map_err(|e| Error::machine(format!("packing {}: {e}", file.display())))?;
        }
    }
    let bytes = writer.finish().map_err(|e| Error::machine(format!("packing: {e}")))?;
    Ok(bytes.into_inner())
}

/// Every file in a folder and its subfolders, except hidden ones (a run's lock).
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
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

/// Unpacks the run folders of an archive into `home` and returns their names, in the archive's
/// order; a folder with `config.toml` and `checkpoints/` is a run, however deep it lies.
pub fn unpack(bytes: &[u8], home: &Path) -> Result<Vec<String>> {
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
    let mut names = Vec::new();
    for root in run_roots(&files) {
        let name = root.file_name().map_or("run".into(), |n| n.to_string_lossy());
        let name = numbered(&name, |name| names.iter().any(|n| n == name));
        for (path, contents) in &files {
            if let Ok(inside) = path.strip_prefix(&root) {
                let file = home.join(&name).join(inside);
                file.parent().map_or(Ok(()), create_folder)?;
                write_atomic(&file, contents)?;
            }
        }
        names.push(name);
    }
    match names.is_empty() {
        true => {
            Err(unreadable(format!("it holds no run: no folder with {CONFIG} and {CHECKPOINTS}/")))
        }
        false => Ok(names),
    }
}

fn run_roots(files: &[(PathBuf, Vec<u8>)]) -> Vec<PathBuf> {
    let configs = files.iter().filter(|(path, _)| path.ends_with(CONFIG));
    let roots = configs.filter_map(|(path, _)| Some(path.parent()?.to_path_buf()));
    roots.filter(|r| files.iter().any(|(p, _)| p.starts_with(r.join(CHECKPOINTS)))).collect()
}
