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
const MOST_BYTES: u64 = 512 << 20;

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
            Err(unreadable(format!("no run is in it: no folder with {CONFIG} and {CHECKPOINTS}/")))
        }
        false => Ok(names),
    }
}

fn run_roots(files: &[(PathBuf, Vec<u8>)]) -> Vec<PathBuf> {
    let configs = files.iter().filter(|(path, _)| path.ends_with(CONFIG));
    let roots = configs.filter_map(|(path, _)| Some(path.parent()?.to_path_buf()));
    roots.filter(|r| files.iter().any(|(p, _)| p.starts_with(r.join(CHECKPOINTS)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn unpacked(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Vec<String>>) {
        let home = tempfile::tempdir().unwrap();
        let names = unpack(&zip(files), home.path());
        (home, names)
    }

    #[test]
    fn what_is_packed_unpacks() {
        let state = "checkpoints/step-000002/state.json";
        let (home, names) = unpacked(&[
            ("old/runs/a/config.toml", "1"),
            (&format!("old/runs/a/{state}"), "2"),
            ("config.toml", "3"),
            (state, "4"),
            ("old/a/config.toml", "5"),
            (&format!("old/a/{state}"), "6"),
            ("elsewhere/config.toml", "not a run"),
        ]);
        assert_eq!(names.unwrap(), ["a", "run", "a-2"]);
        let again = tempfile::tempdir().unwrap();
        let paths = ["a", "run", "a-2"].map(|name| home.path().join(name));
        std::fs::write(paths[0].join(".lock"), "").unwrap();
        let runs = [("x", paths[0].as_path()), ("y", paths[2].as_path())];
        let names = unpack(&pack(&runs).unwrap(), again.path()).unwrap();
        assert_eq!(names, ["x", "y"]);
        let text = |path: &str| std::fs::read_to_string(again.path().join(path)).unwrap();
        assert_eq!([text("x/config.toml"), text(&format!("y/{state}"))], ["1", "6"]);
        assert!(!again.path().join("x/.lock").exists());
    }

    /// A zip bomb is refused before it fills the tab's memory.
    #[test]
    fn what_is_too_large_is_refused_unread() {
        let mut bomb = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        bomb.start_file("a/config.toml", options).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..=MOST_BYTES >> 20 {
            bomb.write_all(&zeros).unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        let error = unpack(&bomb.finish().unwrap().into_inner(), home.path()).unwrap_err();
        assert!(error.to_string().contains("more than 512 MiB"), "{error}");
    }

    #[test]
    fn what_is_no_run_is_refused() {
        for (files, word) in [
            (vec![("readme", "hello")], "no run is in it"),
            (vec![("../config.toml", "1"), ("../checkpoints/a", "2")], "no run is in it"),
        ] {
            let error = unpacked(&files).1.unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let home = tempfile::tempdir().unwrap();
        let whole = zip(&[("a/config.toml", "1"), ("a/checkpoints/s", "2")]);
        for bytes in [&b"no zip"[..], &whole[..whole.len() / 2]] {
            let error = unpack(bytes, home.path()).unwrap_err().to_string();
            assert!(error.contains("not a zip"), "{error}");
        }
    }
}
