//! What the crate trusts in a file's footer and we don't: what `thrift` checks, how deep the schema nests, which
//! the crate follows by calling itself, and how many children a group says that it has, for which it sets
//! memory aside.

use super::super::fields::Result;
use super::thrift::Kind::{self, Byte, Bytes, Double, Flag, Integer, List, Struct};
use super::thrift::{Fields, Thrift};

const MAGIC: &[u8; 4] = b"PAR1";
const ENCRYPTED: &[u8; 4] = b"PARE";
/// Groups within each other; a chat's messages with tool calls have ten.
const MOST_DEPTH: usize = 64;

/// Fields of Parquet's `FileMetaData` and `SchemaElement`.
const SCHEMA: i16 = 2;
const NUM_CHILDREN: i16 = 5;

const FILE: Fields = &[
    (1, Integer),
    (3, Integer),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(&[(1, Bytes), (2, Bytes)]))),
    (6, Bytes),
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))),
];
const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, List(&Struct(&[(1, Integer), (2, Flag), (3, Flag)]))),
    (5, Integer),
    (7, Integer),
];
const COLUMN_CHUNK: Fields = &[
    (1, Bytes),
    (2, Integer),
    (3, Struct(COLUMN)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
];
const COLUMN: Fields = &[
    (1, Integer),
    (2, List(&Integer)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Struct(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Struct(&[(1, Struct(BOX)), (2, List(&Integer))])),
];
const STATISTICS: Fields = &[
    (1, Bytes),
    (2, Bytes),
    (3, Integer),
    (4, Integer),
    (5, Bytes),
    (6, Bytes),
    (7, Flag),
    (8, Flag),
    (9, Integer),
];
const BOX: Fields = &[
    (1, Double),
    (2, Double),
    (3, Double),
    (4, Double),
    (5, Double),
    (6, Double),
    (7, Double),
    (8, Double),
];
const SCHEMA_ELEMENT: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Struct(LOGICAL_TYPE)),
];
const LOGICAL_TYPE: Fields = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, Integer), (2, Integer)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Flag)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Integer)])),
    (19, EMPTY),
];
const TIME: Kind = Struct(&[(1, Flag), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);
const EMPTY: Kind = Struct(&[]);

/// An error if this is not a whole Parquet file, or if its schema nests too deeply.
pub fn check(file: &[u8]) -> Result<()> {
    if !file.starts_with(MAGIC) {
        return Err(
            "it doesn't begin as a Parquet file does; download it again: a pointer of Git \
                    LFS, or a page about an error, may have been saved in its place"
                .into(),
        );
    }
    let footer = file.split_last_chunk::<8>().map(|(body, [a, b, c, d, magic @ ..])| {
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        (magic, body.len().checked_sub(size).map(|start| &body[start..]))
    });
    let footer = match footer {
        Some((ENCRYPTED, _)) => return Err("it is encrypted, which can't be read".into()),
        Some((MAGIC, Some(footer))) => footer,
        _ => return Err("it is cut short; download or copy it again".into()),
    };
    match deepest(footer) {
        None => Err("its footer is damaged; download or copy it again".into()),
        Some(depth) if depth > MOST_DEPTH => {
            Err(format!("its columns nest more than {MOST_DEPTH} deep, which can't be read"))
        }
        Some(_) => Ok(()),
    }
}

/// How deep the schema in a footer nests; `None` if these bytes are not a footer.
fn deepest(footer: &[u8]) -> Option<usize> {
    let (mut thrift, mut id, mut deepest) = (Thrift(footer), 0, 0);
    while let Some(kind) = thrift.field(&mut id)? {
        match id {
            SCHEMA => deepest = deepest.max(schema(&mut thrift, kind)?),
            _ => thrift.pass(FILE, id, kind)?,
        }
    }
    Some(deepest)
}

/// The depth of a schema, which is a tree as a list: each group stands before its children.
fn schema(thrift: &mut Thrift, kind: u8) -> Option<usize> {
    let count = thrift.structures(kind)?;
    // How many children of each open group are still to come.
    let (mut open, mut deepest): (Vec<usize>, usize) = (Vec::new(), 0);
    for _ in 0..count {
        let (mut id, mut children) = (0, 0);
        while let Some(kind) = thrift.field(&mut id)? {
            match id {
                NUM_CHILDREN => children = thrift.integer(kind)?,
                _ => thrift.pass(SCHEMA_ELEMENT, id, kind)?,
            }
        }
        while open.pop_if(|left| *left == 0).is_some() {}
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        match usize::try_from(children).ok().filter(|&children| children < count)? {
            0 => {}
            children => open.push(children),
        }
        deepest = deepest.max(open.len());
    }
    Some(deepest)
}
