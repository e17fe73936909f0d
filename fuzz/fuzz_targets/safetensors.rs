//! Headers of safetensors files, and the index over shards. The input is the index, a JSON object of
//! tensors and files, and then a header for each shard, behind the number of its data's bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use srft_formats::model::tensors::{Shard, Tensors};
use std::collections::{BTreeMap, HashSet};

fuzz_target!(|input: &[u8]| {
    let whole = Shard { name: "whole".into(), bytes: input.to_vec().into() };
    check(&[whole], &BTreeMap::new());
    let mut files = input.split(|&byte| byte == 0);
    let index = files.next().and_then(|json| serde_json::from_slice(json).ok());
    let shard = |(number, file): (usize, &[u8])| Shard {
        name: number.to_string(),
        bytes: with_length(file).into(),
    };
    check(&files.enumerate().map(shard).collect::<Vec<_>>(), &index.unwrap_or_default());
});

fn check(shards: &[Shard], index: &BTreeMap<String, String>) {
    let Ok(tensors) = Tensors::open("folder", shards) else { return };
    let mut names = HashSet::new();
    for shard in shards {
        let file = SafeTensors::deserialize(&shard.bytes).expect("it was opened");
        for (name, view) in file.iter() {
            let mut shape = view.shape().to_vec();
            let found = tensors.get(name, &shape).expect("it is there");
            let elements: usize = shape.iter().product();
            assert_eq!(found.data().len() * 8, elements * found.dtype().bitsize());
            assert_eq!(tensors.place_of(name), format!("folder/{}", shard.name));
            shape.push(1);
            assert!(tensors.get(name, &shape).is_err());
            names.insert(name.to_string());
        }
    }
    assert_eq!(tensors.count(), names.len());
    assert!(tensors.require_only(&names, |_| false).is_ok());
    assert!(names.is_empty() || tensors.require_only(&HashSet::new(), |_| false).is_err());
    if tensors.require_index(index, |_| false).is_ok() {
        assert!(index.keys().all(|tensor| names.contains(tensor)));
    }
}

/// A file of this header. Its length stands in front, where hardly a mutation would get it right.
fn with_length(file: &[u8]) -> Vec<u8> {
    let digits = file.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (data, header) = file.split_at(digits);
    let data = std::str::from_utf8(data).ok().and_then(|digits| digits.parse::<u16>().ok());
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + usize::from(data.unwrap_or_default()), 0);
    bytes
}
