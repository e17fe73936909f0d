//! The container: a header, metadata by key, what each tensor is, and the tensors' bytes. Everything borrows
//! from the file; nothing is allocated by what the file claims before the file is seen to hold it.

use super::BlockType;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8] = b"GGUF";
/// Where tensors begin: a multiple of this, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// ggml's tensors have at most this many dimensions.
const MOST_DIMENSIONS: u32 = 4;
/// Lists of lists are not in any known key; deeper ones are hostile.
const DEEPEST_LIST: usize = 4;

/// What to do about a file that is not as its writer left it.
pub const AGAIN: &str = "the file may be cut short or altered: copy it again";

/// Whether bytes begin as a GGUF file does.
pub fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A file's metadata and tensors.
#[derive(Debug)]
pub struct Container<'a> {
    /// The metadata.
    pub metadata: Metadata<'a>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Stored<'a>>,
}

/// A tensor as it is stored.
#[derive(Debug, Clone)]
pub struct Stored<'a> {
    /// GGUF's name.
    pub name: &'a str,
    /// Rows first, as everywhere here; the file has columns first.
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub kind: BlockType,
    /// Its blocks.
    pub bytes: &'a [u8],
}

impl Stored<'_> {
    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }
}

impl<'a> Container<'a> {
    /// Reads the header of a whole file and finds its tensors.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor { bytes, at: 0 };
        require_version(bytes, &mut cursor)?;
        let (tensors, keys) = (cursor.u64()?, cursor.u64()?);
        let metadata = Metadata::read(&mut cursor, keys)?;
        let mut infos = Vec::new();
        let mut names = BTreeSet::new();
        for _ in 0..tensors {
            let info = Info::read(&mut cursor)?;
            if !names.insert(info.name) {
                return Err(broken(format!("tensor `{}` is there twice", info.name)));
            }
            infos.push(info);
        }
        let alignment = metadata.whole("general.alignment")?.unwrap_or(ALIGNMENT);
        let begin = (cursor.at as u64).checked_next_multiple_of(alignment).ok_or_else(|| {
            broken(format!("general.alignment = {alignment} puts the tensors nowhere"))
        })?;
        let tensors = infos.into_iter().map(|info| info.find(bytes, begin));
        Ok(Self { metadata, tensors: tensors.collect::<Result<_>>()? })
    }
}

/// Accepts versions 2 and 3, which differ only in that 3 may be big-endian.
fn require_version(bytes: &[u8], cursor: &mut Cursor) -> Result<()> {
    if !is_gguf(bytes) {
        return Err(broken("it does not begin with the four letters GGUF"));
    }
    cursor.at = MAGIC.len();
    let version = cursor.u32()?;
    let refused = match version {
        2 | 3 => return Ok(()),
        1 => "it is GGUF of version 1, of 2023".into(),
        _ if matches!(version.swap_bytes(), 1..=3) => "it is GGUF for big-endian machines".into(),
        _ => format!("it is GGUF of version {version}"),
    };
    Err(Error::input(refused).next("versions 2 and 3, little-endian, are read: convert it anew"))
}

fn broken(what: impl Into<String>) -> Error {
    Error::input(what).next(AGAIN)
}

/// What the header says of a tensor.
struct Info<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: BlockType,
    offset: u64,
    length: usize,
}

impl<'a> Info<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let name = cursor.text()?;
        let senseless = |what: String| broken(format!("tensor `{name}` {what}"));
        let dimensions = cursor.u32()?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(senseless(format!("has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = cursor.u64()?;
            let fits = usize::try_from(size).ok().filter(|&size| size > 0);
            shape.push(fits.ok_or_else(|| senseless(format!("has a dimension of {size}")))?);
        }
        let number = cursor.u32()?;
        let kind = BlockType::of_number(number).ok_or_else(|| unknown_type(name, number))?;
        let columns = shape[0];
        if !columns.is_multiple_of(kind.elements()) {
            return Err(senseless(format!(
                "has rows of {columns} elements, and blocks of {} hold {}",
                kind.name(),
                kind.elements()
            )));
        }
        shape.reverse();
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let length = elements.and_then(|n| (n / kind.elements()).checked_mul(kind.bytes()));
        let length = length.ok_or_else(|| senseless(format!("is too large: {shape:?}")))?;
        Ok(Self { name, shape, kind, offset: cursor.u64()?, length })
    }

    /// The tensor, whose offset counts from byte `begin` of the file.
    fn find(self, file: &'a [u8], begin: u64) -> Result<Stored<'a>> {
        let Self { name, shape, kind, offset, length } = self;
        let start = begin.checked_add(offset).and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let bytes = range.and_then(|range| file.get(range)).ok_or_else(|| {
            broken(format!(
                "tensor `{name}` has {length} bytes {offset} after the header's {begin}, and the file ends at \
                 {}",
                file.len()
            ))
        })?;
        Ok(Stored { name, shape, kind, bytes })
    }
}

/// The error for a type that is not read.
fn unknown_type(tensor: &str, number: u32) -> Error {
    const OTHERS: [(u32, &str); 8] = [
        (10, "Q2_K"),
        (11, "Q3_K"),
        (16, "IQ2_XXS"),
        (18, "IQ3_XXS"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (23, "IQ4_XS"),
        (39, "MXFP4"),
    ];
    let name = OTHERS.iter().find(|row| row.0 == number).map(|row| row.1);
    let name = name.map_or_else(|| format!("number {number}"), String::from);
    Error::input(format!("tensor `{tensor}` has type {name}, which is not read"))
        .next(format!("take the model in one of these: {}", BlockType::names()))
}

/// Values by key.
#[derive(Debug)]
pub struct Metadata<'a>(BTreeMap<&'a str, Value<'a>>);

/// A value in the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Any of the whole numbers.
    Whole(i128),
    /// Any of the floating-point numbers; of an F32 the decimal that it was written from.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A string, which need not be UTF-8.
    Text(&'a [u8]),
    /// A list of values of one type.
    List(List<'a>),
}

/// A list of values of one type, not yet decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct List<'a> {
    kind: u32,
    count: u64,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    /// Its values.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, mut cursor) = (self.kind, Cursor { bytes: self.bytes, at: 0 });
        (0..self.count).map_while(move |_| cursor.value(kind, 1).ok())
    }

    /// Its strings.
    pub fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let text = |value| match value {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let texts: Option<Vec<_>> = self.values().map(text).collect();
        texts.ok_or_else(|| wrong(key, "a list of strings"))
    }

    /// Its numbers, whole or not.
    pub fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let numbers: Option<Vec<_>> = self.values().map(|value| value.number()).collect();
        numbers.ok_or_else(|| wrong(key, "a list of numbers"))
    }
}

impl Value<'_> {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

fn wrong(key: &str, kind: &str) -> Error {
    Error::input(format!("{key} is not {kind}")).next("take a file that llama.cpp reads")
}

impl<'a> Metadata<'a> {
    fn read(cursor: &mut Cursor<'a>, keys: u64) -> Result<Self> {
        let mut values = BTreeMap::new();
        for _ in 0..keys {
            let (key, kind) = (cursor.text()?, cursor.u32()?);
            let value = cursor.value(kind, 0).map_err(|e| e.at(key))?;
            if values.insert(key, value).is_some() {
                return Err(broken(format!("{key} is there twice")));
            }
        }
        Ok(Self(values))
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    fn get<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let value = self.0.get(key).map(|value| read(value).ok_or_else(|| wrong(key, kind)));
        value.transpose()
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", |value| match value {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// A whole number that is not negative.
    pub fn whole(&self, key: &str) -> Result<Option<u64>> {
        self.get(key, "a whole number", |value| match value {
            Value::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A number, whole or not.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::number)
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A list.
    pub fn list(&self, key: &str) -> Result<Option<List<'a>>> {
        self.get(key, "a list", |value| match value {
            Value::List(list) => Some(list.clone()),
            _ => None,
        })
    }
}

/// A place in the file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| {
            broken(format!(
                "the header ends at byte {}: {count} more should follow byte {}",
                self.bytes.len(),
                self.at
            ))
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N as u64)?.try_into().expect("as many as asked for"))
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.u64()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str> {
        let at = self.at;
        std::str::from_utf8(self.string()?)
            .map_err(|_| broken(format!("the name at byte {at} is not UTF-8")))
    }

    /// A value of the type that has this number in GGUF, inside `depth` lists.
    fn value(&mut self, kind: u32, depth: usize) -> Result<Value<'a>> {
        Ok(match kind {
            0 => Value::Whole(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Whole(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Whole(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Whole(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Whole(self.u32()?.into()),
            5 => Value::Whole(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Number(decimal(f32::from_le_bytes(self.array()?))),
            7 => Value::Flag(self.array::<1>()? != [0]),
            8 => Value::Text(self.string()?),
            9 => Value::List(self.list(depth)?),
            10 => Value::Whole(self.u64()?.into()),
            11 => Value::Whole(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Number(f64::from_le_bytes(self.array()?)),
            other => return Err(broken(format!("a value has the unknown type {other}"))),
        })
    }

    /// A list, walked through but not kept: it may be all of the file.
    fn list(&mut self, depth: usize) -> Result<List<'a>> {
        let (kind, count) = (self.u32()?, self.u64()?);
        if depth == DEEPEST_LIST {
            return Err(broken("lists are too deep in each other"));
        }
        let start = self.at;
        for _ in 0..count {
            self.value(kind, depth + 1)?;
        }
        Ok(List { kind, count, bytes: &self.bytes[start..self.at] })
    }
}

/// The shortest decimal that gives this F32: 1e-5, where its exact value is 9.999999747378752e-6.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}
