//! The tensors of a checkpoint: `model.safetensors`, or the shards that a
//! `model.safetensors.index.json` names, each a memory map.

use crate::error::{Error, Result};
use crate::platform::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashSet};

/// What to do where config and weights, or the shards of one model, contradict each other.
pub const SAME_MODEL: &str = "config.json and the weights must belong to the same model";

/// One safetensors file of a checkpoint.
#[derive(Debug, Clone)]
pub struct Shard {
    /// The file's name, for messages.
    pub name: String,
    /// The whole file.
    pub bytes: Bytes,
}

/// The tensors of a checkpoint's files by name.
pub struct Tensors<'a> {
    place: &'a str,
    files: Vec<(&'a str, SafeTensors<'a>)>,
    file_of: BTreeMap<String, usize>,
    stand_in: Option<(&'static str, &'static str)>,
}

impl<'a> Tensors<'a> {
    /// Checks the headers of the files in the folder `place`; no tensor may be in two files.
    pub fn open(place: &'a str, shards: &'a [Shard]) -> Result<Self> {
        let mut files = Vec::with_capacity(shards.len());
        let mut file_of = BTreeMap::new();
        for (index, Shard { name, bytes }) in shards.iter().enumerate() {
            let file = SafeTensors::deserialize(bytes).map_err(|e| {
                Error::input(format!("not a complete safetensors file: {e}"))
                    .at(format!("{place}/{name}"))
                    .next("the file may be cut short or altered: copy it again")
            })?;
            for tensor in file.names() {
                if let Some(first) = file_of.insert(tensor.to_string(), index) {
                    let first = &shards[first].name;
                    return Err(Error::input(format!("tensor `{tensor}` is in {first} too"))
                        .at(format!("{place}/{name}"))
                        .next(SAME_MODEL));
                }
            }
            files.push((name.as_str(), file));
        }
        Ok(Self { place, files, file_of, stand_in: None })
    }

    /// From now on, `get` reads the tensor `present` when asked for `absent`.
    pub fn put_in_place(&mut self, absent: &'static str, present: &'static str) {
        self.stand_in = Some((absent, present));
    }

    /// Refuses an index that contradicts the shards; tensors that `is_spare` accepts may be missing.
    pub fn require_index(
        &self,
        index: &BTreeMap<String, String>,
        is_spare: impl Fn(&str) -> bool,
    ) -> Result<()> {
        for (tensor, file) in index {
            let actual = self.file_of.get(tensor).map(|&i| self.files[i].0);
            if actual.is_none() && is_spare(tensor) {
                continue;
            }
            if actual != Some(file.as_str()) {
                let actual = actual.map_or("nowhere".to_string(), |name| format!("in {name}"));
                return Err(Error::input(format!(
                    "tensor `{tensor}` should be in {file} and is {actual}"
                ))
                .next("the index and the shards must come from one download: copy them again"));
            }
        }
        Ok(())
    }

    /// The file that holds a tensor, for messages.
    pub fn place_of(&self, name: &str) -> String {
        self.file_of.get(name).map_or_else(|| self.place.into(), |&file| self.at(file))
    }

    fn at(&self, file: usize) -> String {
        format!("{}/{}", self.place, self.files[file].0)
    }

    /// The tensor of that name; an error unless it has the given shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>> {
        let name = self.stand_in.filter(|pair| pair.0 == name).map_or(name, |pair| pair.1);
        let Some(&index) = self.file_of.get(name) else {
            let missing = Error::input(format!("tensor `{name}` of shape {shape:?} is missing"));
            return Err(match self.files.as_slice() {
                [_] => missing.at(self.at(0)),
                _ => missing.at(self.place),
            }
            .next(SAME_MODEL));
        };
        let view = self.files[index].1.tensor(name).expect("listed by the file itself");
        if view.shape() != shape {
            let given = view.shape();
            return Err(Error::input(format!(
                "tensor `{name}` has shape {given:?}, expected {shape:?}"
            ))
            .at(self.at(index))
            .next(SAME_MODEL));
        }
        Ok(view)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    /// The tensors' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file_of.keys().map(String::as_str)
    }

    /// Whether a tensor's numbers are 16- or 32-bit floats.
    pub fn is_float(&self, name: &str) -> bool {
        let view = self.file_of.get(name).and_then(|&file| self.files[file].1.tensor(name).ok());
        view.is_some_and(|view| matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16))
    }

    /// How many tensors there are.
    pub fn count(&self) -> usize {
        self.file_of.len()
    }

    /// Refuses tensors that are no weight of the model, unless `is_spare` accepts them.
    pub fn require_only(
        &self,
        names: &HashSet<String>,
        is_spare: impl Fn(&str) -> bool,
    ) -> Result<()> {
        match self.file_of.iter().find(|(name, _)| !names.contains(*name) && !is_spare(name)) {
            Some((extra, &file)) => {
                Err(Error::input(format!("tensor `{extra}` is not part of this architecture"))
                    .at(self.at(file))
                    .next(SAME_MODEL))
            }
            None => Ok(()),
        }
    }
}
