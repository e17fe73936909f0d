//! What a coordinator and a worker say to each other. A message is a head, in MessagePack, and lists of
//! numbers, whose bits arrive as they are; together they are words of 32 bits, since a tensor carries them.

use crate::chain::Peer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use srft_trainer::error::{Error, Kind, Result};
use srft_trainer::rollout::Response;
use srft_trainer::score::Scored;
use srft_trainer::shards::Job;

/// Begins a message; another version of it begins otherwise.
const MAGIC: u32 = 0x7372_6602;

/// Bytes of a file that go in one message.
pub const FILE_PART: usize = 16 << 20;

/// What a coordinator asks of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Who it is.
    Hello,
    /// Which of these files it lacks.
    Missing {
        /// Their SHA-256 in hexadecimal digits.
        files: Vec<String>,
    },
    /// A part of a file, as numbers; the last is filled up with zeros.
    File {
        /// SHA-256 of the whole file.
        sha256: String,
        /// Its length, bytes.
        length: u64,
        /// Where the part begins.
        from: u64,
    },
    /// To open a run, all of whose files it has.
    Open(Opening),
    /// A block of the weights that train, as numbers.
    Weights {
        /// Of which opening.
        session: u64,
        /// The version that all blocks together are.
        version: u64,
        /// Which block, in parameter order.
        block: usize,
        /// The worker that has it, where it does not come with the request.
        from: Option<Peer>,
        /// Whether it is to be kept for another worker.
        keeps: bool,
    },
    /// To do a job.
    Perform {
        /// Of which opening.
        session: u64,
        /// The weights to do it with.
        version: u64,
        /// The job.
        job: Job,
        /// A number by which a gradient is asked for.
        number: usize,
    },
    /// A block of a gradient, which is given once.
    Gradient {
        /// Of which opening.
        session: u64,
        /// The number of its job.
        number: usize,
        /// Which, in parameter order.
        block: usize,
    },
    /// To add a block of some gradients to what another worker has added up of it.
    Add {
        /// Of which opening.
        session: u64,
        /// The weights that the gradients are of.
        version: u64,
        /// The numbers of their jobs, in the order of adding.
        numbers: Vec<usize>,
        /// Which block, in parameter order.
        block: usize,
        /// The worker before, and the last number that it has added; none: this is the first.
        from: Option<(Peer, usize)>,
        /// Whether the sum is to be kept for another worker; else it is the answer.
        keeps: bool,
    },
    /// Whether it reaches another worker at this address.
    Reach {
        /// The address.
        address: String,
    },
}

/// What a worker keeps for another, which takes it once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// Of which opening.
    pub session: u64,
    /// The version of the weights that it is, or is of.
    pub version: u64,
    /// The last number added, if it is of a gradient's sum; none: of the weights.
    pub number: Option<usize>,
    /// Which block.
    pub block: usize,
}

/// A run as a worker opens it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// A name that no other run has.
    pub run: String,
    /// `config.toml`.
    pub config: String,
    /// The model that it goes on from.
    pub model: Model,
    /// Of a resumed run with a KL penalty, the model that it began with.
    pub began: Option<Model>,
    /// How many layers the backward pass computes again.
    pub recomputed: usize,
}

/// A model's files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Those of the whole model; none: the built-in one.
    pub base: Vec<Part>,
    /// Those of adapters over it.
    pub adapter: Vec<Part>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the model's folder.
    pub name: String,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Request::Hello`].
    Hello {
        /// What its bits depend on.
        kind: String,
        /// Its srft.
        version: String,
        /// Whether it works for another run, whose coordinator is connected.
        is_busy: bool,
    },
    /// To [`Request::Open`]: what the requests that follow name.
    Open {
        /// Another one at each opening, so that nothing of an earlier connection is mixed with them.
        session: u64,
    },
    /// To [`Request::Missing`].
    Missing(Vec<String>),
    /// It is done.
    Done,
    /// The run is not open here, or has other weights: the worker was started anew, or works for another.
    Unknown,
    /// It works for another run, whose coordinator is connected.
    Busy,
    /// Responses.
    Responses(Vec<Response>),
    /// Scores.
    Scores(Vec<Scored>),
    /// A gradient of so many blocks, and the kernel's sums as numbers, one list a micro-batch.
    Gradient {
        /// How many blocks it has.
        blocks: usize,
    },
    /// A block, as numbers.
    Block,
    /// Another worker did not give what it was to add or to put in place.
    Absent {
        /// Which, and why.
        what: String,
    },
    /// It failed.
    Failed {
        /// What.
        what: String,
        /// Whose fault it is.
        kind: Kind,
    },
}

impl Answer {
    /// That it failed.
    pub fn failed(error: &Error) -> Self {
        Self::Failed { what: error.to_string(), kind: error.kind }
    }
}

/// A head and lists of numbers as words.
pub fn encode(head: &impl Serialize, lists: &[&[u32]]) -> Vec<u32> {
    let head = rmp_serde::to_vec(head).expect("plain records");
    let mut words = vec![MAGIC, head.len() as u32, lists.len() as u32];
    words.extend(lists.iter().map(|list| list.len() as u32));
    words.extend(words_of(&head));
    lists.iter().for_each(|list| words.extend_from_slice(list));
    words
}

/// The head and the lists of a message.
pub fn decode<T: DeserializeOwned>(words: &[u32]) -> Result<(T, Vec<&[u32]>)> {
    let broken = |what: &str| {
        Error::machine(format!("a message that cannot be read: {what}"))
            .next("start workers and coordinator with the same srft")
    };
    let [magic, bytes, lists, rest @ ..] = words else { return Err(broken("it is cut short")) };
    if *magic != MAGIC {
        return Err(broken("it is of another version"));
    }
    let mut rest: &[u32] = rest;
    let lengths = take(&mut rest, *lists as usize).ok_or_else(|| broken("it is cut short"))?;
    let bytes = *bytes as usize;
    let head = take(&mut rest, bytes.div_ceil(4)).ok_or_else(|| broken("it is cut short"))?;
    let head = rmp_serde::from_slice(&bytes_of(head, bytes)).map_err(|e| broken(&e.to_string()))?;
    let mut found = Vec::new();
    for &length in lengths {
        found.push(take(&mut rest, length as usize).ok_or_else(|| broken("it is cut short"))?);
    }
    match rest {
        [] => Ok((head, found)),
        _ => Err(broken("it is too long")),
    }
}

fn take<'a>(rest: &mut &'a [u32], length: usize) -> Option<&'a [u32]> {
    let (first, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(first)
}

/// The SHA-256 of bytes in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as words, filled up with zeros.
pub fn words_of(bytes: &[u8]) -> Vec<u32> {
    let word = |part: &[u8]| {
        let mut whole = [0; 4];
        whole[..part.len()].copy_from_slice(part);
        u32::from_le_bytes(whole)
    };
    bytes.chunks(4).map(word).collect()
}

/// The first `length` bytes of words.
pub fn bytes_of(words: &[u32], length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Numbers as words, bit by bit.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Words as numbers, bit by bit.
pub fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}
