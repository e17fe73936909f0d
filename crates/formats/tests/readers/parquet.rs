//! Parquet as pyarrow writes it (`tests/golden/make_parquet.py`): the same rows as JSONL.

use srft_formats::data::file::{Rows, parse};
use srft_formats::data::shape::Needs;
use srft_formats::error::{Error, Result};

const NEEDS: Needs = Needs { response: false, answer: false };

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/golden/parquet/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn read(name: &str) -> Result<Rows> {
    parse(golden(name), name, NEEDS)
}

fn refused(bytes: impl Into<Vec<u8>>) -> Error {
    parse(bytes.into(), "d.parquet", NEEDS).expect_err("a bad file")
}

#[test]
fn every_compression_and_encoding_gives_the_rows_of_jsonl() {
    let expected = read("rows.jsonl").unwrap().rows;
    assert_eq!(expected.len(), 7);
    for name in ["none", "snappy", "gzip", "brotli", "zstd", "lz4", "pages-2", "plain", "delta"] {
        let rows = read(&format!("{name}.parquet")).unwrap_or_else(|e| panic!("{name}: {e}")).rows;
        assert_eq!(rows, expected, "{name}");
    }
    // The bytes tell, not the name.
    assert_eq!(parse(golden("zstd.parquet"), "d.jsonl", NEEDS).unwrap().rows, expected);
}

#[test]
fn values_that_json_has_not_become_those_nearest() {
    let [parquet, json] = ["types.parquet", "types.jsonl"].map(|name| read(name).unwrap().rows);
    assert_eq!(parquet, json);
}

/// An answer is compared as text, and null is no answer.
#[test]
fn rows_are_named_by_their_number() {
    let error = parse(golden("none.parquet"), "d.parquet", Needs { response: true, ..NEEDS });
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("d.parquet: row 1: "), "{error}");
    assert!(error.contains("d.parquet: row 5: ") && error.contains("2 more bad rows"), "{error}");
    let error = read("image.parquet").unwrap_err().to_string();
    assert!(error.starts_with("image.parquet: row 2: column `image` holds bytes"), "{error}");
    let error = read("empty.parquet").unwrap_err().to_string();
    assert!(error.starts_with("empty.parquet: no examples"), "{error}");
}

#[test]
fn a_cut_file_is_an_error_wherever_it_is_cut() {
    let whole = golden("zstd.parquet");
    for end in 1..whole.len() {
        let error = refused(&whole[..end]);
        assert_eq!(error.what.lines().count(), 1, "cut at {end}: {error}");
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    assert!(refused(pointer).what.contains("Git LFS"));
    assert!(refused("PAR1").what.contains("cut short"));
    let encrypted = [b"PAR1\0\0\0\0", &b"\0\0\0\0PARE"[..]].concat();
    assert!(refused(encrypted).what.contains("encrypted"));
}

/// A few hundred bytes that stand for hundreds of megabytes, and columns a million deep.
#[test]
fn a_hostile_file_is_refused_before_it_takes_all_memory() {
    for name in ["bomb-row.parquet", "bomb-rows.parquet"] {
        let error = read(name).unwrap_err().to_string();
        assert!(error.contains("unpacks to more than 256 MiB"), "{name}: {error}");
    }
    // A group with one child, again and again; `num_children` as it should be, or as no file has it.
    for (children, count, expected) in
        [(2, 1_000_000, "nest more than"), (2, 60, "damaged"), (0x7e, 9, "footer is damaged")]
    {
        let group = [0x35, 0, 0x18, 0, 0x15, children, 0];
        let leaf = [0x15, 0, 0x25, 0, 0x18, 0, 0];
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut length = count + 1;
        while length >= 0x80 {
            footer.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        footer.push(length as u8);
        footer.extend(group.repeat(count));
        footer.extend(leaf);
        footer.push(0);
        let size = (footer.len() as u32).to_le_bytes();
        let error = refused([b"PAR1", &footer[..], &size, b"PAR1"].concat());
        assert!(error.what.contains(expected), "{count} groups: {error}");
    }
}

/// Whatever bit is turned, there are rows or there is an error; never a panic, and no end to it.
#[test]
fn a_turned_bit_ends_in_rows_or_an_error() {
    let whole = golden("zstd.parquet");
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let _ = parse(bytes, "d.parquet", NEEDS);
    }
}
