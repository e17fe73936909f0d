//! What the crate trusts in a file's footer and we don't: how deep the schema nests, which the crate follows
//! by calling itself, and how many children a group says that it has, for which it sets memory aside.

use super::super::fields::Result;

const MAGIC: &[u8; 4] = b"PAR1";
const ENCRYPTED: &[u8; 4] = b"PARE";
/// Groups within each other; a chat's messages with tool calls have ten.
const MOST_DEPTH: usize = 64;
/// Structures within each other in the footer; the format's own have six.
const MOST_NESTED: usize = 32;

/// Fields of Parquet's `FileMetaData` and `SchemaElement`.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: i64 = 5;

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
        match (id, kind) {
            (SCHEMA, LIST) => deepest = deepest.max(schema(&mut thrift)?),
            _ => thrift.skip(kind, 0)?,
        }
    }
    Some(deepest)
}

/// The depth of a schema, which is a tree as a list: each group stands before its children.
fn schema(thrift: &mut Thrift) -> Option<usize> {
    let (kind, count) = thrift.list()?;
    // How many children of each open group are still to come.
    let (mut open, mut deepest): (Vec<usize>, usize) = (Vec::new(), 0);
    for _ in 0..count {
        let (mut id, mut children) = (0, 0);
        while let Some(field) = thrift.field(&mut id).filter(|_| kind == STRUCT)? {
            match (id, field) {
                (NUM_CHILDREN, I32) => children = thrift.integer()?,
                _ => thrift.skip(field, 0)?,
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

/// Types of Thrift's compact protocol. A boolean in a structure is its type.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// What is still to be read in Thrift's compact protocol; `None` is an error throughout.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn bytes(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type of a structure's next field, whose number comes into `id`; `Some(None)` at its end.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.integer()?,
            more => id.checked_add(more.into())?,
        };
        Some(Some(byte & 0xf))
    }

    /// A list's type and length, which is at most the number of bytes that are left.
    fn list(&mut self) -> Option<(u8, usize)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => count.into(),
        };
        (count <= self.0.len()).then_some((byte & 0xf, count))
    }

    fn skip(&mut self, kind: u8, nested: usize) -> Option<()> {
        let nested = Some(nested + 1).filter(|&nested| nested < MOST_NESTED)?;
        match kind {
            TRUE | FALSE => Some(()),
            I8 => self.bytes(1),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.bytes(8),
            BINARY => {
                let count = self.varint()?;
                self.bytes(usize::try_from(count).ok()?)
            }
            LIST | SET => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.element(kind, nested))
            }
            MAP => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, nested)?;
                    self.element(kinds & 0xf, nested)
                })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, nested)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// An element of a list or a map, where a boolean takes a byte.
    fn element(&mut self, kind: u8, nested: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => self.bytes(1),
            _ => self.skip(kind, nested),
        }
    }
}
