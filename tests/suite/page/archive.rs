//! Runs in and out of a zip.

use srft::error::Result;
use srft_page::archive::{MOST_BYTES, pack, unpack};
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

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
    let names = unpack(&zip(files), home.path()).map(|unpacked| unpacked.runs);
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
    let unpacked = unpack(&pack(&runs).unwrap(), again.path()).unwrap();
    assert_eq!(unpacked.runs, ["x", "y"]);
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
        (vec![("readme", "hello")], "it holds no run"),
        (vec![("../config.toml", "1"), ("../checkpoints/a", "2")], "it holds no run"),
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
