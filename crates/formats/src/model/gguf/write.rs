//! A GGUF file being written: the header with its metadata, then a tensor after the other, so that no more
//! than one is in memory.

mod describe;
mod modelfile;
mod vocabulary;

pub use describe::{Described, adapter, model};
pub use modelfile::{Modelfile, in_go};
pub use vocabulary::{TextFiles, Vocabulary};

use super::BlockType;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Where the tensors' bytes begin, and each of them: the format's own value if a file names none.
const ALIGNMENT: usize = 32;
/// The key under which a file of ours has its length. A program that copies the metadata into a file of
/// its own, as `llama-quantize` does, makes a file of another length, and that is not ours to replace.
const LENGTH: &str = "srft.length";

/// A value of the metadata. llama.cpp refuses a key whose value has another type than it expects.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Value {
    U32(u32),
    U64(u64),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// Keys with their values, in the order in which they are written.
pub type Metadata = Vec<(String, Value)>;

/// A tensor that the file will hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// llama.cpp's name.
    pub name: String,
    /// Rows first, as everywhere but in the file.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: BlockType,
}

impl Tensor {
    /// The tensor `name`, stored as `kind` where that can be: vectors stay in F32, and a matrix whose rows
    /// are no whole blocks is stored in F16, as llama.cpp's converter does both.
    pub fn new(name: String, shape: &[usize], kind: BlockType) -> Self {
        let columns = *shape.last().unwrap_or(&1);
        let kind = match (shape.len(), columns.is_multiple_of(kind.elements())) {
            (0 | 1, _) => BlockType::F32,
            (_, true) => kind,
            (_, false) => BlockType::F16,
        };
        Self { name, shape: shape.to_vec(), kind }
    }

    /// Bytes of all its blocks.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() / self.kind.elements() * self.kind.bytes()
    }
}

/// What goes before the first tensor's bytes. The tensors follow in this order, each with its
/// [`padding`].
pub fn header(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let after: usize = tensors.iter().map(|t| t.bytes() + padding(t.bytes())).sum();
    let before = encoded(metadata, 0, tensors).len();
    encoded(metadata, (before + after) as u64, tensors)
}

/// Zeros to write after `bytes` bytes, up to where the next tensor begins.
pub fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT) - bytes
}

/// Whether a file is as srft wrote it: GGUF that names its own length, rightly.
pub fn is_ours(file: &[u8]) -> bool {
    let mut key = Vec::new();
    text(LENGTH, &mut key);
    key.extend(Value::U64(0).number().to_le_bytes());
    // It is among the first keys.
    let head = &file[..file.len().min(4096)];
    let found = head.windows(key.len()).position(|window| window == key);
    let length = found.and_then(|at| head.get(at + key.len()..)?.first_chunk().copied());
    file.starts_with(MAGIC) && length.map(u64::from_le_bytes) == Some(file.len() as u64)
}

/// The header of a file of `length` bytes.
fn encoded(metadata: &Metadata, length: u64, tensors: &[Tensor]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64 + 1).to_le_bytes());
    let own = (LENGTH.to_string(), Value::U64(length));
    let (first, others) = metadata.split_first().expect("general.architecture comes first");
    for (key, value) in [first, &own].into_iter().chain(others) {
        text(key, &mut bytes);
        bytes.extend(value.number().to_le_bytes());
        value.append(&mut bytes);
    }
    let mut offset = 0;
    for tensor in tensors {
        text(&tensor.name, &mut bytes);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        bytes.extend(tensor.shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
        bytes.extend(tensor.kind.number().to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes() + padding(tensor.bytes());
    }
    bytes.resize(bytes.len() + padding(bytes.len()), 0);
    bytes
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

// The format's numbers of the types that lists here have.
const I32: u32 = 5;
const F32: u32 = 6;
const STRING: u32 = 8;

impl Value {
    /// The format's number of its type.
    fn number(&self) -> u32 {
        match self {
            Self::U32(_) => 4,
            Self::F32(_) => F32,
            Self::Bool(_) => 7,
            Self::Text(_) => STRING,
            Self::Texts(_) | Self::I32s(_) | Self::F32s(_) => 9,
            Self::U64(_) => 10,
        }
    }

    fn append(&self, bytes: &mut Vec<u8>) {
        let list = |kind: u32, count: usize, bytes: &mut Vec<u8>| {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((count as u64).to_le_bytes());
        };
        match self {
            Self::U32(number) => bytes.extend(number.to_le_bytes()),
            Self::U64(number) => bytes.extend(number.to_le_bytes()),
            Self::F32(number) => bytes.extend(number.to_le_bytes()),
            Self::Bool(flag) => bytes.push(u8::from(*flag)),
            Self::Text(words) => text(words, bytes),
            Self::Texts(texts) => {
                list(STRING, texts.len(), bytes);
                texts.iter().for_each(|words| text(words, bytes));
            }
            Self::I32s(numbers) => {
                list(I32, numbers.len(), bytes);
                bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            }
            Self::F32s(numbers) => {
                list(F32, numbers.len(), bytes);
                bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            }
        }
    }
}
