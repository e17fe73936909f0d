//! The tensors of a model in one GGUF file or several, under Hugging Face's names and in its order of rows.

use super::blocks::widen;
use super::container::{AGAIN, Container, Stored};
use super::names::{from_gguf, is_turned, norm_offset, to_gguf, turned_row};
use super::{BlockType, keys};
use crate::error::{Error, Result};
use crate::model::tensors::Shard;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// The factors of rotary frequencies, a tensor that Hugging Face's checkpoints do not have.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A model's files.
#[derive(Debug)]
pub struct Model<'a> {
    place: &'a str,
    files: Vec<(&'a str, Container<'a>)>,
    /// File and index of each tensor; those without a Hugging Face name have GGUF's.
    places: BTreeMap<String, (usize, usize)>,
    architecture: &'a str,
    /// Rows of a head.
    head_width: usize,
}

impl<'a> Model<'a> {
    /// Reads the headers of a model's files, the first one first; `place` names the model in errors.
    pub fn open(place: &'a str, shards: &'a [Shard]) -> Result<Self> {
        let mut files = Vec::new();
        for (index, Shard { name, bytes }) in shards.iter().enumerate() {
            let file = Container::open(bytes)
                .and_then(|file| require_split(&file, index, shards.len()).map(|()| file));
            files.push((name.as_str(), file.map_err(|e| e.at(beside(place, name)))?));
        }
        let first = files.first().ok_or_else(|| Error::input("no file").at(place))?;
        let (architecture, head_width) = keys::heads(&first.1.metadata).map_err(|e| e.at(place))?;
        let mut places = BTreeMap::new();
        for (file, (name, container)) in files.iter().enumerate() {
            for (index, tensor) in container.tensors.iter().enumerate() {
                let known = from_gguf(architecture, tensor.name);
                let known = known.unwrap_or_else(|| tensor.name.into());
                if let Some((first, _)) = places.insert(known, (file, index)) {
                    let first = files[first].0;
                    let what = format!("tensor `{}` stands in {first} too", tensor.name);
                    return Err(Error::input(what).at(beside(place, name)).next(AGAIN));
                }
            }
        }
        Ok(Self { place, files, places, architecture, head_width })
    }

    /// The metadata, which is all in the first file.
    pub fn metadata(&self) -> &super::Metadata<'a> {
        &self.files[0].1.metadata
    }

    /// The file that holds a tensor, for messages.
    pub fn place_of(&self, name: &str) -> String {
        self.places.get(name).map_or(self.place.into(), |p| beside(self.place, self.files[p.0].0))
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// How many tensors there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Every tensor as it is stored.
    pub fn tensors(&self) -> impl Iterator<Item = &Stored<'a>> {
        self.files.iter().flat_map(|(_, file)| &file.tensors)
    }

    /// A tensor as it is stored.
    pub fn stored(&self, name: &str) -> Option<&Stored<'a>> {
        self.places.get(name).map(|&(file, index)| &self.files[file].1.tensors[index])
    }

    /// The tensor of that name; an error unless it has the given shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&Stored<'a>> {
        let stored = self.stored(name).ok_or_else(|| self.missing(name, shape))?;
        match stored.shape == shape {
            true => Ok(stored),
            false => Err(Error::input(format!(
                "tensor `{}` has shape {:?}, expected {shape:?}",
                stored.name, stored.shape
            ))
            .at(self.place_of(name))
            .next(AGAIN)),
        }
    }

    /// Some rows of a tensor in f32, in Hugging Face's order. A vector is one row.
    pub fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let (stored, lines) = self.lines(name)?;
        let columns = stored.columns();
        let mut values = vec![0.0; rows.len() * columns];
        let first = rows.start * columns / lines.columns;
        let offset = norm_offset(self.architecture, name);
        let chunks = values.par_chunks_mut(lines.columns).enumerate();
        let not_finite = chunks.find_map_first(|(index, out)| {
            widen(stored.kind, lines.bytes(first + index), out);
            if offset != 0.0 {
                out.iter_mut().for_each(|value| *value -= offset);
            }
            let column = out.iter().position(|value| !value.is_finite())?;
            Some(((first + index) * lines.columns + column, out[column]))
        });
        match not_finite {
            None => Ok(values),
            Some((element, value)) => Err(Error::numbers(format!(
                "tensor `{}` holds {value} at element {element}",
                stored.name
            ))
            .at(self.place_of(name))
            .next(AGAIN)),
        }
    }

    /// The blocks of a whole tensor, in Hugging Face's order of rows.
    pub fn blocks(&self, name: &str) -> Result<Cow<'a, [u8]>> {
        let (stored, lines) = self.lines(name)?;
        Ok(match lines.turned {
            None => Cow::Borrowed(stored.bytes),
            Some(_) => Cow::Owned((0..lines.count).flat_map(|i| lines.bytes(i)).copied().collect()),
        })
    }

    /// A tensor, and how it is cut into what llama.cpp may have put in another order.
    fn lines(&self, name: &str) -> Result<(&Stored<'a>, Lines<'a>)> {
        let stored = self.stored(name).ok_or_else(|| self.missing(name, &[]))?;
        let turned = is_turned(self.architecture, name).then_some(self.head_width);
        let is_vector = stored.shape.len() == 1;
        let columns = if turned.is_some() && is_vector { 1 } else { stored.columns() };
        let count = stored.shape.iter().product::<usize>() / columns;
        let fits = columns.is_multiple_of(stored.kind.elements());
        if !fits || turned.is_some_and(|width| !count.is_multiple_of(width)) {
            let what = format!(
                "tensor `{}` of shape {:?} in {} has no whole heads of {} rows",
                stored.name,
                stored.shape,
                stored.kind.name(),
                self.head_width
            );
            return Err(Error::input(what).at(self.place_of(name)).next(AGAIN));
        }
        let (bytes, kind) = (stored.bytes, stored.kind);
        Ok((stored, Lines { bytes, kind, columns, count, turned }))
    }

    fn missing(&self, name: &str, shape: &[usize]) -> Error {
        let gguf = to_gguf(self.architecture, name).unwrap_or_else(|| name.into());
        Error::input(format!("tensor `{gguf}` of shape {shape:?} is missing"))
            .at(self.place)
            .next(AGAIN)
    }

    /// Refuses tensors that are no weight of the model.
    pub fn require_only(&self, names: &HashSet<String>) -> Result<()> {
        let is_known = |name: &str| names.contains(name) || name == ROPE_FACTORS;
        match self.places.keys().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(extra) => Err(Error::input(format!(
                "tensor `{}` is not part of this architecture",
                self.stored(extra).map_or(extra.as_str(), |stored| stored.name)
            ))
            .at(self.place_of(extra))
            .next("take a model of an architecture that is read, or convert it anew")),
        }
    }
}

/// A tensor in lines that keep their place or are put in Hugging Face's: the rows of a matrix, or the
/// elements of a vector of which each belongs to a row.
struct Lines<'a> {
    bytes: &'a [u8],
    kind: BlockType,
    columns: usize,
    count: usize,
    /// The width of a head whose lines are in llama.cpp's order.
    turned: Option<usize>,
}

impl<'a> Lines<'a> {
    fn bytes(&self, index: usize) -> &'a [u8] {
        let place = self.turned.map_or(index, |width| turned_row(index, width));
        let length = self.columns / self.kind.elements() * self.kind.bytes();
        &self.bytes[place * length..(place + 1) * length]
    }
}

/// `name` beside the other files of the model in `place`.
fn beside(place: &str, name: &str) -> String {
    match std::path::Path::new(place).parent() {
        Some(folder) => folder.join(name).display().to_string(),
        None => name.into(),
    }
}

/// Refuses a file that says it is another part of a split model than the one that it is read as.
fn require_split(file: &Container, index: usize, count: usize) -> Result<()> {
    let whole = |key| file.metadata.whole(key);
    let (number, of) = (whole("split.no")?.unwrap_or(0), whole("split.count")?.unwrap_or(1).max(1));
    match (number, of) == (index as u64, count as u64) {
        true => Ok(()),
        false => Err(Error::input(format!(
            "it is part {} of {of}, and is read as part {} of {count}",
            number.saturating_add(1),
            index + 1
        ))
        .next(
            "the parts of one model are called NAME-00001-of-00003.gguf and so on, in one folder",
        )),
    }
}
