//! A page's header, as far as the crate doesn't check it.

use super::thrift::Kind::{Flag, Integer, Struct};
use super::thrift::{Fields, Thrift};

/// Fields of Parquet's `PageHeader`.
const TYPE: i16 = 1;
const PACKED_SIZE: i16 = 3;
/// Looking ahead, the crate takes such a page's bytes for the next header; no writer makes them.
const INDEX_PAGE: i32 = 1;

const PAGE: Fields = &[
    (2, Integer),
    (4, Integer),
    (5, Struct(&[(1, Integer), (2, Integer), (3, Integer), (4, Integer)])),
    (6, Struct(&[])),
    (7, Struct(&[(1, Integer), (2, Integer), (3, Flag)])),
    (
        8,
        Struct(&[
            (1, Integer),
            (2, Integer),
            (3, Integer),
            (4, Integer),
            (5, Integer),
            (6, Integer),
            (7, Flag),
        ]),
    ),
];

/// How many of these bytes the first page and its header take; `None` if they don't begin with a page.
pub fn page(bytes: &[u8]) -> Option<usize> {
    let (mut thrift, mut id, mut packed) = (Thrift(bytes), 0, None);
    while let Some(kind) = thrift.field(&mut id)? {
        match id {
            TYPE => _ = thrift.integer(kind).filter(|&kind| kind != INDEX_PAGE)?,
            PACKED_SIZE => packed = Some(thrift.integer(kind)?),
            _ => thrift.pass(PAGE, id, kind)?,
        }
    }
    let header = bytes.len() - thrift.0.len();
    Some(usize::try_from(packed?).ok()? + header).filter(|&end| end <= bytes.len())
}
