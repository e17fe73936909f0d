//! Packed data files: gzip is unpacked here; other kinds are refused by name, with what to do. The kind
//! is read from the first bytes, since a name may be wrong.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::io::Read;

const GZIP: &[u8] = &[0x1f, 0x8b];

/// A file may unpack to this many bytes, or to `MOST_TIMES` its own size if that is more.
pub(super) const MOST_BYTES: usize = 256 << 20;
const MOST_TIMES: usize = 100;

/// Kinds that are not read: first bytes, name, and how to make a readable file from it.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "a zstd file", "unpack it: zstd -d FILE"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "an xz file", "unpack it: xz -d FILE"),
    (b"BZh", "a bzip2 file", "unpack it: bzip2 -d FILE"),
    (&[0x04, 0x22, 0x4d, 0x18], "an lz4 file", "unpack it: lz4 -d FILE"),
    (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive", "unpack it: 7z x FILE"),
    (b"PK\x03\x04", "a zip archive, or a spreadsheet", "unzip it, or save the sheet as CSV"),
    (
        b"ARROW1",
        "an Arrow file",
        "save it with datasets: load_dataset('arrow', data_files='FILE')['train'].to_json('data.jsonl')",
    ),
    (b"SQLite format 3", "a database", "export the table as CSV"),
];

/// The bytes of a data file, unpacked if gzip; `path` is its name in errors.
pub fn unpack(bytes: Vec<u8>, path: &str) -> Result<Vec<u8>> {
    let bytes = match bytes.starts_with(GZIP) {
        true => gunzip(&bytes, path, MOST_BYTES)?,
        false => bytes,
    };
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    let tar = is_tar.then_some(("a tar archive", "unpack it: tar xf FILE"));
    let other = OTHERS.iter().find(|(magic, ..)| begins(&bytes, magic));
    match tar.or(other.map(|(_, name, next)| (*name, *next))) {
        None => Ok(bytes),
        Some((name, next)) => Err(Error::input(format!("this is {name}, which can't be read"))
            .at(path)
            .next(next.replace("FILE", path))),
    }
}

/// Whether a file is of the kind that begins with these bytes. A text may begin with them too: a table can
/// have a column PAR1.
pub(super) fn begins(bytes: &[u8], magic: &[u8]) -> bool {
    let is_text = || std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
    bytes.starts_with(magic) && !is_text()
}

/// The most that a packed file of `size` bytes may come to, if `least` is allowed to any.
pub(super) fn most(size: usize, least: usize) -> usize {
    least.max(size.saturating_mul(MOST_TIMES))
}

/// Why a file is not read on.
pub(super) fn too_much(most: usize) -> String {
    let most = most >> 20;
    format!(
        "it unpacks to more than {most} MiB, over {MOST_TIMES} times its size: probably not data"
    )
}

/// Unpacks at most `most` bytes, or `MOST_TIMES` the packed size if that is more.
fn gunzip(bytes: &[u8], path: &str, most: usize) -> Result<Vec<u8>> {
    let most = self::most(bytes.len(), most);
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|e| {
        Error::input(format!("the gzip data is damaged or cut short: {e}"))
            .at(path)
            .next("download or copy it again; `gzip -t` checks it")
    })?;
    match unpacked.len() > most {
        false => Ok(unpacked),
        true => Err(Error::input(too_much(most))
            .at(path)
            .next("if it is, unpack it with gunzip and give the file that comes out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// data-juicer #1055 asks for `.jsonl.gz`; several gzip members in a row are one file, as `cat`
    /// makes them.
    #[test]
    fn data_juicer_1055_gzip_is_unpacked_by_its_bytes() {
        assert_eq!(unpack(b"{}".to_vec(), "a.jsonl.gz").unwrap(), b"{}", "already unpacked");
        let two = [gzip(b"{}\n"), gzip(b"[]")].concat();
        assert_eq!(unpack(two, "a.jsonl").unwrap(), b"{}\n[]");
        assert!(unpack(gzip(b""), "a").unwrap().is_empty());
    }

    #[test]
    fn damaged_and_boundless_files_are_refused() {
        let whole = gzip(&b"some text that is long enough to be packed".repeat(9));
        for cut in [2, 9, whole.len() / 2, whole.len() - 1] {
            let error = unpack(whole[..cut].to_vec(), "a.gz").unwrap_err();
            assert!(error.to_string().starts_with("a.gz: the gzip data is damaged"), "{error}");
        }
        let bomb = gzip(&vec![b' '; 9 << 20]);
        assert!(bomb.len() * MOST_TIMES < 8 << 20);
        assert_eq!(gunzip(&bomb, "a.gz", 9 << 20).unwrap().len(), 9 << 20);
        let error = gunzip(&bomb, "a.gz", 8 << 20).unwrap_err();
        assert!(error.what.contains("more than 8 MiB"), "{error}");
    }

    #[test]
    fn other_kinds_are_named_with_what_to_do() {
        let tar = [vec![b'a'; 257], b"ustar\0".to_vec()].concat();
        let others =
            OTHERS.iter().map(|(magic, name, _)| ([magic, &b"\0\xff"[..]].concat(), *name));
        for (bytes, name) in others.chain([(tar.clone(), "tar archive"), (gzip(&tar), "tar")]) {
            let error = unpack(bytes, "x/d.jsonl").unwrap_err();
            assert!(error.what.contains(name), "{error}");
            assert!(error.next.is_some_and(|next| !next.contains("FILE")));
        }
        assert!(unpack(b"PAR1,answer\n2+2=,4".to_vec(), "d.csv").is_ok());
    }
}
