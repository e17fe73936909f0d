//! How a model's files store its tensors.

use super::folder::{ModelFolder, StoredType};
use crate::error::Result;
use safetensors::tensor::SafeTensors;
use srft_formats::model::gguf::Model;
use std::collections::BTreeMap;

impl ModelFolder {
    /// How the model's tensors are stored, the most bytes first.
    pub fn types(&self) -> Result<Vec<StoredType>> {
        self.origin.types(self)
    }
}

/// The types of a folder's tensors as its files have them.
pub(super) fn types_in_files(folder: &ModelFolder) -> Result<Vec<StoredType>> {
    let mut all: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    let mut count = |name: String, bytes: usize| {
        let sums = all.entry(name).or_default();
        *sums = (sums.0 + 1, sums.1 + bytes as u64);
    };
    if folder.is_gguf() {
        let model = Model::open(&folder.place, &folder.shards)?;
        model.tensors().for_each(|tensor| count(tensor.kind.name().into(), tensor.bytes.len()));
    } else {
        for shard in &folder.shards {
            // Files that cannot be read give an error when they are loaded.
            let Ok(file) = SafeTensors::deserialize(&shard.bytes) else { continue };
            file.tensors()
                .iter()
                .for_each(|(_, view)| count(format!("{:?}", view.dtype()), view.data().len()));
        }
    }
    let types = all.into_iter().map(|(name, (tensors, bytes))| StoredType { name, tensors, bytes });
    let mut types: Vec<StoredType> = types.collect();
    types.sort_by_key(|of| std::cmp::Reverse(of.bytes));
    Ok(types)
}
