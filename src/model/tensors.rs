//! The tensors of a checkpoint: `model.safetensors`, or the shards that a
//! `model.safetensors.index.json` names, each a memory map. Written, too, a block at a time, so that
//! host memory never holds the model.

use super::Parameter;
use crate::config::Storage;
use crate::error::{Error, Result};
use crate::ops::readback;
use crate::platform::{Bytes, FileWriter};
#[cfg(not(target_family = "wasm"))]
use burn::tensor::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What to do where config and weights, or shards among themselves, contradict each other.
pub const SAME_MODEL: &str = "config.json and the weights must belong to the same model";

/// One safetensors file of a checkpoint.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name, for messages.
    pub name: String,
    /// The whole file.
    pub bytes: Bytes,
}

/// The tensors of a checkpoint's files by name.
pub struct Tensors<'a> {
    place: &'a str,
    files: Vec<(&'a str, SafeTensors<'a>)>,
    file_of: BTreeMap<String, usize>,
}

impl<'a> Tensors<'a> {
    /// Checks the headers of the files in the folder `place`; a tensor stands in one file only.
    pub fn open(place: &'a str, shards: &'a [Shard]) -> Result<Self> {
        let mut files = Vec::with_capacity(shards.len());
        let mut file_of = BTreeMap::new();
        for (index, Shard { name, bytes }) in shards.iter().enumerate() {
            let file = SafeTensors::deserialize(bytes).map_err(|e| {
                Error::input(format!("not a whole safetensors file: {e}"))
                    .at(format!("{place}/{name}"))
                    .next("the file may be cut short or altered: copy it again")
            })?;
            for tensor in file.names() {
                if let Some(first) = file_of.insert(tensor.to_string(), index) {
                    let first = &shards[first].name;
                    return Err(Error::input(format!("tensor `{tensor}` stands in {first} too"))
                        .at(format!("{place}/{name}"))
                        .next(SAME_MODEL));
                }
            }
            files.push((name.as_str(), file));
        }
        Ok(Self { place, files, file_of })
    }

    /// Refuses an index that does not say what the shards hold.
    pub fn require_index(&self, index: &BTreeMap<String, String>) -> Result<()> {
        for (tensor, file) in index {
            let actual = self.file_of.get(tensor).map(|&i| self.files[i].0);
            if actual != Some(file.as_str()) {
                let actual = actual.map_or("nowhere".to_string(), |name| format!("in {name}"));
                return Err(Error::input(format!(
                    "tensor `{tensor}` should be in {file} and is {actual}"
                ))
                .next("the index and the shards must be of one download: copy them again"));
            }
        }
        Ok(())
    }

    /// Where a tensor stands, for messages.
    pub fn place_of(&self, name: &str) -> String {
        self.file_of.get(name).map_or_else(|| self.place.into(), |&file| self.at(file))
    }

    fn at(&self, file: usize) -> String {
        format!("{}/{}", self.place, self.files[file].0)
    }

    /// A tensor, which must have the shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>> {
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

    /// How many tensors there are.
    pub fn count(&self) -> usize {
        self.file_of.len()
    }

    /// Refuses tensors that no weight is made of; `is_spare` ones may be there.
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

/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes a safetensors file: sizes are known before any value, so each block is read back, checked
/// by `check` (its name, its values) and written before the next. The blocks of one tensor are in
/// their order; `format` is the framework that the file names.
pub async fn write(
    file: &mut FileWriter,
    mut blocks: Vec<Parameter>,
    storage: Storage,
    format: Option<&str>,
    check: impl Fn(&str, &[f32]) -> Result<()>,
) -> Result<()> {
    // By name, as the safetensors crate writes tensors of one type.
    blocks.sort_by(|a, b| a.name.cmp(&b.name));
    file.write(&header(&blocks, storage, format))?;
    let mut bytes = Vec::new();
    for Parameter { name, tensor, .. } in blocks {
        let values = readback::floats(tensor).await.map_err(|e| e.at(&name))?;
        check(&name, &values)?;
        for chunk in values.chunks(CHUNK) {
            bytes.clear();
            append(chunk, storage, &mut bytes);
            file.write(&bytes)?;
        }
    }
    Ok(())
}

/// What stands before the values: the length of the JSON that follows, padded to a multiple of 8.
fn header(blocks: &[Parameter], storage: Storage, format: Option<&str>) -> Vec<u8> {
    let dtype = match storage {
        Storage::F32 => Dtype::F32,
        Storage::F16 => Dtype::F16,
        Storage::Bf16 => Dtype::BF16,
    };
    let mut end = 0;
    let tensors = blocks.chunk_by(|a, b| a.name == b.name).map(|blocks| {
        let begin = end;
        let count: usize = blocks.iter().map(|block| block.tensor.shape().num_elements()).sum();
        end += count * dtype.bitsize() / 8;
        let shape = blocks[0].shape.clone();
        (blocks[0].name.clone(), TensorInfo { dtype, shape, data_offsets: (begin, end) })
    });
    let format = format.map(|name| HashMap::from([("format".to_string(), name.to_string())]));
    let metadata = Metadata::new(format, tensors.collect());
    let metadata = metadata.expect("blocks add up to the tensor's shape");
    let mut json = serde_json::to_vec(&metadata).expect("names and numbers");
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat()
}

fn append(values: &[f32], storage: Storage, bytes: &mut Vec<u8>) {
    match storage {
        #[cfg(not(target_family = "wasm"))]
        Storage::F16 => bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
        #[cfg(not(target_family = "wasm"))]
        Storage::Bf16 => bytes.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes())),
        _ => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{FolderWriter, read};
    use burn::tensor::{Device, Tensor, TensorData};
    use pollster::block_on;

    fn block(name: &str, shape: &[usize], rows: usize, values: Vec<f32>) -> Parameter {
        let columns = values.len() / rows;
        let data = TensorData::new(values, [rows, columns]);
        let tensor = Tensor::from_data(data, &Device::flex());
        Parameter { name: name.into(), shape: shape.to_vec(), tensor }
    }

    /// Byte for byte what the safetensors crate writes of the same tensors.
    #[test]
    fn files_are_those_of_the_safetensors_crate() {
        let home = tempfile::tempdir().unwrap();
        let count = CHUNK + 3; // a block of more than one chunk
        let long: Vec<f32> = (0..count).map(|i| i as f32).collect();
        let given = || {
            vec![
                block("norm", &[3], 1, vec![-1.0, 0.5, 2.0]),
                block("head", &[3, 2], 2, vec![1.0, 2.0, 3.0, 4.0]),
                block("head", &[3, 2], 1, vec![5.0, 6.0]),
                block("first.10", &[1, count], 1, long.clone()),
            ]
        };
        let whole = [
            ("first.10", vec![1, count], long.clone()),
            ("head", vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("norm", vec![3], vec![-1.0, 0.5, 2.0]),
        ];
        type ToBytes = fn(f32) -> Vec<u8>;
        let bytes_of: [(Storage, Dtype, ToBytes); 3] = [
            (Storage::F32, Dtype::F32, |v| v.to_le_bytes().to_vec()),
            (Storage::F16, Dtype::F16, |v| f16::from_f32(v).to_le_bytes().to_vec()),
            (Storage::Bf16, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes().to_vec()),
        ];
        for ((storage, dtype, bytes), format) in
            bytes_of.into_iter().flat_map(|b| [(b, None), (b, Some("pt"))])
        {
            let tensors = whole.each_ref().map(|(name, shape, values)| {
                let data: Vec<u8> = values.iter().flat_map(|&v| bytes(v)).collect();
                (*name, shape.clone(), data)
            });
            let views = tensors.iter().map(|(name, shape, data)| {
                (name, TensorView::new(dtype, shape.clone(), data).unwrap())
            });
            let about = format.map(|f: &str| HashMap::from([("format".into(), f.into())]));
            let expected = safetensors::serialize(views, about).unwrap();
            let mut folder = FolderWriter::begin(&home.path().join("a")).unwrap();
            let file = folder.file("file").unwrap();
            block_on(write(file, given(), storage, format, |_, _| Ok(()))).unwrap();
            folder.finish().unwrap();
            let written = read(&home.path().join("a/file")).unwrap();
            assert!(written == expected, "{storage:?} {format:?}");
        }
    }
}
