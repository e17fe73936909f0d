//! Writing a safetensors file a block at a time, so that host memory never holds the whole model.

use super::Parameter;
use crate::config::Storage;
use crate::error::Result;
use crate::ops::readback;
use crate::platform::FileWriter;
use burn::tensor::{bf16, f16};
use serde_json::{Map, json};

/// Values converted to bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes a safetensors file. Sizes are known before any value, so each block is read back, checked by
/// `check` (its name, its values) and written before the next one. The blocks of a tensor come in order;
/// `format` is the framework that the file names.
pub async fn write(
    file: &mut FileWriter,
    mut blocks: Vec<Parameter>,
    storage: Storage,
    format: Option<&str>,
    check: impl Fn(&str, &[f32]) -> Result<()>,
) -> Result<()> {
    // Sorted by name, as the safetensors crate sorts tensors of one type.
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

/// The header: the length of the JSON, then the JSON, padded to a multiple of 8 bytes.
fn header(blocks: &[Parameter], storage: Storage, format: Option<&str>) -> Vec<u8> {
    let (dtype, bytes) = match storage {
        Storage::F32 => ("F32", 4),
        Storage::F16 => ("F16", 2),
        Storage::Bf16 => ("BF16", 2),
    };
    let about = format.map(|name| ("__metadata__".to_string(), json!({"format": name})));
    let mut fields = Map::from_iter(about);
    let mut end = 0;
    for blocks in blocks.chunk_by(|a, b| a.name == b.name) {
        let begin = end;
        let count: usize = blocks.iter().map(|block| block.tensor.shape().num_elements()).sum();
        end += count * bytes;
        let (name, shape) = (blocks[0].name.clone(), &blocks[0].shape);
        assert_eq!(count, shape.iter().product::<usize>(), "{name}: blocks add up to the tensor");
        let value = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
        fields.insert(name, value);
    }
    let mut text = serde_json::to_vec(&fields).expect("names and numbers");
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes(), text.as_slice()].concat()
}

fn append(values: &[f32], storage: Storage, bytes: &mut Vec<u8>) {
    match storage {
        Storage::F16 => bytes.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
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
    use safetensors::tensor::{Dtype, TensorView};
    use std::collections::HashMap;

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
