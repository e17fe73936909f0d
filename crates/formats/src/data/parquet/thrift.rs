//! What the crate doesn't check in the headers that it reads, a footer's and each page's: lists whose elements
//! take no bytes, of which it goes through as many as they say, and fields of another type than it reads.

/// What the crate reads a field as, whatever type the file gives it.
pub enum Kind {
    Integer,
    Byte,
    Flag,
    Double,
    Bytes,
    List(&'static Kind),
    Struct(Fields),
}

/// The fields of a structure that the crate reads, by number; it skips others by the type that the file gives.
pub type Fields = &'static [(i16, Kind)];

/// Structures within each other in a field that is skipped.
const MOST_NESTED: usize = 32;

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
pub struct Thrift<'a>(pub &'a [u8]);

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

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The value of a field that is an integer of at most 32 bits.
    pub fn integer(&mut self, kind: u8) -> Option<i32> {
        match kind {
            I16 | I32 | I64 => self.zigzag()?.try_into().ok(),
            _ => None,
        }
    }

    /// The type of a structure's next field, whose number comes into `id`; `Some(None)` at its end.
    pub fn field(&mut self, id: &mut i16) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *id = match byte >> 4 {
            0 => self.zigzag()?.try_into().ok()?,
            more => id.checked_add(more.into())?,
        };
        Some(Some(byte & 0xf))
    }

    /// How many structures the list that a field is has; at most the number of bytes that are left.
    pub fn structures(&mut self, kind: u8) -> Option<usize> {
        let (of, count) = (kind == LIST).then(|| self.list())??;
        (count == 0 || of == STRUCT).then_some(count)
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

    /// Goes over the field `id` of a structure of which the crate reads `known`.
    pub fn pass(&mut self, known: Fields, id: i16, kind: u8) -> Option<()> {
        match known.iter().find(|(known, _)| *known == id) {
            Some((_, expected)) => self.known(expected, kind),
            None => self.skip(kind, 0),
        }
    }

    fn known(&mut self, expected: &Kind, kind: u8) -> Option<()> {
        match (expected, kind) {
            (Kind::Flag, TRUE | FALSE) => Some(()),
            (Kind::Integer, I16 | I32 | I64)
            | (Kind::Byte, I8)
            | (Kind::Double, DOUBLE)
            | (Kind::Bytes, BINARY) => self.skip(kind, 0),
            (Kind::List(expected), LIST) => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.known(expected, kind))
            }
            (Kind::Struct(fields), STRUCT) => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.pass(fields, id, kind)?;
                }
                Some(())
            }
            _ => None,
        }
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

    /// An element of a list or a map. A boolean takes a byte there, which the crate doesn't know, and no field
    /// of a footer or a page's header has them.
    fn element(&mut self, kind: u8, nested: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => None,
            _ => self.skip(kind, nested),
        }
    }
}
