//! Parquet headers that no writer makes, in a file of one row made by hand.

use srft_formats::data::file::{Rows, parse};
use srft_formats::data::shape::Needs;
use srft_formats::error::Result;

/// Types of Thrift's compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// 2^31 - 1, the most elements that a list may have.
const MOST: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];
/// A number that no structure of the format has.
const UNKNOWN: i64 = 90;

fn number(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn field(id: i64, kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &number(id)[..], value].concat()
}

fn integer(id: i64, value: i64) -> Vec<u8> {
    field(id, I32, &number(value))
}

fn structure(fields: &[Vec<u8>]) -> Vec<u8> {
    [&fields.concat()[..], &[0]].concat()
}

fn list(id: i64, of: u8, elements: &[Vec<u8>]) -> Vec<u8> {
    field(id, LIST, &[&[(elements.len() as u8) << 4 | of], &elements.concat()[..]].concat())
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// A row `{"prompt": "why"}`, with more fields in its page's header and in its footer.
fn file(in_page: &[u8], in_footer: &[u8]) -> Vec<u8> {
    const ONE_COLUMN: i64 = 1;
    let values = [&3_u32.to_le_bytes()[..], b"why"].concat();
    let data = structure(&[integer(1, 1), integer(2, 0), integer(3, 3), integer(4, 3)]);
    let header =
        [integer(1, 0), integer(2, 7), integer(3, 7), in_page.into(), field(5, STRUCT, &data)];
    let chunk = [&structure(&header)[..], &values].concat();
    let column = structure(&[
        integer(1, 6),
        list(2, I32, &[number(0)]),
        list(3, BINARY, &[text("prompt")]),
        integer(4, 0),
        integer(5, 1),
        integer(6, chunk.len() as i64),
        integer(7, chunk.len() as i64),
        integer(9, 4),
    ]);
    let columns = [structure(&[integer(2, 4), field(3, STRUCT, &column)])];
    let group = structure(&[list(1, STRUCT, &columns), integer(2, 7), integer(3, 1)]);
    let root = structure(&[field(4, BINARY, &text("rows")), integer(5, ONE_COLUMN)]);
    let leaf = [integer(1, 6), integer(3, 0), field(4, BINARY, &text("prompt")), integer(6, 0)];
    let footer = structure(&[
        in_footer.into(),
        integer(1, 1),
        list(2, STRUCT, &[root, structure(&leaf)]),
        integer(3, 1),
        list(4, STRUCT, &[group]),
    ]);
    let size = (footer.len() as u32).to_le_bytes();
    [b"PAR1", &chunk[..], &footer, &size, b"PAR1"].concat()
}

fn read(bytes: Vec<u8>) -> Result<Rows> {
    parse(bytes, "d.parquet", Needs { response: false, answer: false })
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let lists = list(UNKNOWN, LIST, &[vec![0x15, 2], vec![0]]);
    let map = field(UNKNOWN, MAP, &[1, I32 << 4 | BINARY, 2, 1, b'a']);
    for more in [vec![], lists, map, field(UNKNOWN, TRUE, &[])] {
        let rows = read(file(&more, &more)).unwrap().rows;
        assert_eq!(rows.len(), 1, "{more:?}");
    }
}

/// The crate would go through 2^31 elements that take no bytes, or call itself as often as the file says.
#[test]
fn a_header_that_only_says_much_is_refused() {
    let endless = |kind, of| field(UNKNOWN, kind, &[&[0xf0 | of], &MOST[..]].concat());
    let map = field(UNKNOWN, MAP, &[&MOST[..], &[TRUE << 4 | FALSE]].concat());
    let within = list(UNKNOWN, LIST, &vec![[&[0xf0 | TRUE], &MOST[..]].concat(); 14]);
    let deep = field(UNKNOWN, LIST, &[&[0x10 | LIST; 60][..], &[0]].concat());
    let index = integer(1, 1);
    // The crate reads field 2 as a number or a list, and then what these bytes hold.
    let hidden = [vec![1, 2], endless(LIST, TRUE)].concat();
    let disguised = field(2, BINARY, &[&[hidden.len() as u8], &hidden[..]].concat());
    let far = field(i64::from(u16::MAX) + 1 + 5, BINARY, &text("field 5, cut to 16 bits"));
    let hostile = [
        endless(LIST, TRUE),
        endless(LIST, FALSE),
        endless(SET, TRUE),
        endless(LIST, STRUCT),
        map,
        within,
        deep,
        disguised,
        far,
    ];
    for more in &hostile {
        let error = read(file(&[], more)).unwrap_err().to_string();
        assert!(error.contains("its footer is damaged"), "{more:?}: {error}");
    }
    for more in hostile.iter().chain([&index]) {
        let error = read(file(more, &[])).unwrap_err().to_string();
        assert!(error.contains("column `prompt`: a page's header is damaged"), "{more:?}: {error}");
    }
}
