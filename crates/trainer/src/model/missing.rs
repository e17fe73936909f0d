//! What to do when a model's folder lacks a file, judged by the files it has instead.

use crate::error::Error;
use crate::names::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, INDEX, TOKENIZER, WEIGHTS};
use crate::platform::{exists, is_folder, names_in};
use std::path::{Path, PathBuf};

const NEEDED: &str = "a model is a GGUF file, or a folder with config.json, model.safetensors (or its index \
     and shards) and tokenizer.json";

/// The error for a file missing in `folder`, with a next step that fits what the folder holds.
pub fn explain(folder: &Path, name: &str, error: Error) -> Error {
    match exists(&folder.join(name)) {
        true => error, // it is there, and could not be read
        false => error.next(next(folder, name)),
    }
}

fn next(folder: &Path, missing: &str) -> String {
    let place = folder.display();
    if !exists(folder) {
        return match is_hub_name(folder) {
            true => format!(
                "no folder has that name, and nothing is downloaded: get the files, for example by `hf \
                 download {place} --local-dir DIR`, and give that folder"
            ),
            false => format!("check the path: {NEEDED}"),
        };
    }
    let names = names_in(folder).unwrap_or_default();
    let is = |ends: &[&str]| {
        let found = |name: &&String| ends.iter().any(|end| name.ends_with(end));
        names.iter().find(found).cloned()
    };
    if !is_folder(folder) {
        return "give the folder that this file is in, or a GGUF file".into();
    }
    if let Some(gguf) = is(&[".gguf"]).filter(|_| missing != TOKENIZER) {
        return format!("a GGUF file is given itself: {}", folder.join(gguf).display());
    }
    if missing == CONFIG
        && let Some(inner) = model_inside(folder)
    {
        let run = if exists(&folder.join("config.toml")) { "this is a run's folder: " } else { "" };
        return format!("{run}give the model's own folder, {}", inner.display());
    }
    let other = |part: &str, what: String, class: &str| {
        format!(
            "{part} {what}: in Python, {class}.from_pretrained(DIR).save_pretrained(DIR) writes {missing}"
        )
    };
    let has = |name: &str| exists(&folder.join(name));
    match missing {
        CONFIG if has(ADAPTER_CONFIG) => {
            "this is an adapter: `srft merge` makes a full model of it".into()
        }
        CONFIG if is(&["adapter_model.safetensors", "adapter_model.bin"]).is_some() => {
            "an adapter's folder needs adapter_config.json too".into()
        }
        ADAPTER_WEIGHTS => match is(&["adapter_model.bin", "adapter_model.pt"]) {
            Some(name) => format!(
                "{name} is pickled, which can't be read: in Python, \
                 PeftModel.from_pretrained(BASE, DIR).save_pretrained(DIR) writes {missing}"
            ),
            None => format!("an adapter's folder needs {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"),
        },
        WEIGHTS if has(INDEX) => {
            format!("{INDEX} lists this file: copy it from where you got the others")
        }
        WEIGHTS => {
            let class = "AutoModelForCausalLM";
            if let Some(name) = is(&[".safetensors"]) {
                return match name.contains("-of-") {
                    true => format!(
                        "{name} is a shard: {INDEX}, which lists the shards, is missing too"
                    ),
                    false => format!("the weights must be in {WEIGHTS}, not in {name}"),
                };
            }
            match is(&[".bin", ".pth", ".pt", ".h5", ".msgpack"]) {
                Some(name) => other(&name, "can't be read, only safetensors can".into(), class),
                None => NEEDED.into(),
            }
        }
        TOKENIZER => {
            match is(&["tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", ".tiktoken"]) {
                Some(name) => other(&name, "alone is not enough".into(), "AutoTokenizer"),
                None => NEEDED.into(),
            }
        }
        _ if names.is_empty() => format!("the folder is empty: {NEEDED}"),
        _ => NEEDED.into(),
    }
}

/// Whether it looks like a name on the Hugging Face hub, `organisation/model`.
fn is_hub_name(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &&str| !part.is_empty() && !part.starts_with('.');
    let names = parts.len() == 2 && parts.iter().all(plain);
    names && !exists(Path::new(parts[0]))
}

/// A model's folder in `folder` or one level deeper: a run's `best`, else its last checkpoint, or a
/// snapshot in the hub's cache.
fn model_inside(folder: &Path) -> Option<PathBuf> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let names = names_in(folder).unwrap_or_default();
        names.iter().map(|name| folder.join(name)).filter(|path| is_folder(path)).collect()
    };
    let is_model =
        |path: &PathBuf| [CONFIG, ADAPTER_CONFIG].iter().any(|name| exists(&path.join(name)));
    let children = inside(folder);
    let best = children.iter().find(|path| path.ends_with("best") && is_model(path));
    let deeper = || children.iter().flat_map(|child| inside(child)).rfind(is_model);
    best.or_else(|| children.iter().rfind(|path| is_model(path))).cloned().or_else(deeper)
}
