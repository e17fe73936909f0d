//! Which files of a model's repository are wanted.

use crate::client::{Hub, Trouble};
use crate::listing::Listing;
use serde_json::Value;
use srft_formats::error::{Error, Result};
use srft_formats::hub::{Kind, Name, is_commit};
use srft_formats::names::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, BESIDE, CONFIG, INDEX, TOKENIZER, WEIGHTS,
};
use srft_formats::platform::{exists, read};
use std::collections::BTreeSet;
use std::path::Path;

/// Files that say what the weights are; with [`BESIDE`] taken where they are.
const SAY_WHAT: [&str; 3] = [CONFIG, INDEX, TOKENIZER];
const ADAPTER: [&str; 2] = [ADAPTER_CONFIG, ADAPTER_WEIGHTS];

impl Hub {
    /// Brings a model into the cache; returns its name at the commit. A part is a GGUF file.
    pub fn model(&self, name: &Name) -> Result<Name> {
        // A commit never changes.
        if is_commit(name.revision())
            && let Ok(found) = self.in_cache(name)
        {
            return Ok(found);
        }
        let Some(listing) = self.listing_unless_cached(name, Kind::Model)? else {
            return self.in_cache(name);
        };
        let asked = name.revision();
        if !name.part.is_empty() {
            let (first, all) = gguf(&listing, &name.part)?;
            self.fetch(&listing, &all, asked)?;
            return Ok(listing.name.at(&first, listing.name.revision()));
        }
        let has = |path: &str| listing.files.contains_key(path);
        let is_adapter = has(ADAPTER[0]) && (has(ADAPTER[1]) || !has(WEIGHTS) && !has(INDEX));
        let mut wanted = listing.paths(|path| SAY_WHAT.contains(&path) || BESIDE.contains(&path));
        if is_adapter {
            wanted.extend(listing.paths(|path| ADAPTER.contains(&path)));
        } else if has(WEIGHTS) {
            wanted.retain(|path| path != INDEX);
            wanted.push(WEIGHTS.into());
        } else if !has(INDEX) {
            return Err(without_weights(&listing));
        }
        self.fetch(&listing, &wanted, asked)?;
        if !is_adapter && !has(WEIGHTS) {
            let index = listing.name.at(INDEX, listing.name.revision());
            let path = index.cached(&self.cache, Kind::Model).unwrap_or_default();
            self.fetch(&listing, &shards(&path)?, asked)?;
        }
        Ok(listing.name)
    }

    /// What the hub says, or `None` if it isn't asked, or can't be, and something is in the cache.
    pub(crate) fn listing_unless_cached(&self, name: &Name, kind: Kind) -> Result<Option<Listing>> {
        if self.offline {
            return Ok(None);
        }
        match self.listing(name, kind) {
            Ok(listing) => Ok(Some(listing)),
            Err(Trouble::Cut(why) | Trouble::Unreached(why))
                if name.at("", name.revision()).cached(&self.cache, kind).is_some() =>
            {
                self.watch
                    .note(&format!("{name}: the hub can't be reached ({why}); using the cache"));
                Ok(None)
            }
            Err(trouble) => Err(self.error(name, kind, trouble)),
        }
    }

    /// The name at the commit that the cache has.
    fn in_cache(&self, name: &Name) -> Result<Name> {
        let found = name.cached(&self.cache, Kind::Model);
        let found = found.filter(|path| !name.part.is_empty() || is_whole(path));
        match (found, name.commit(&self.cache, Kind::Model)) {
            (Some(_), Some(commit)) => Ok(name.at(&name.part, &commit)),
            _ => Err(self.not_cached(name)),
        }
    }

    pub(crate) fn not_cached(&self, name: &Name) -> Error {
        Error::input(
            "no such path is here, nor is all of it in the cache, and nothing is downloaded",
        )
        .at(name)
        .next("run it once without --offline and HF_HUB_OFFLINE, or give a folder or a file")
    }
}

/// The GGUF file that `part` names, whole or by a piece of its name, and all parts of it if it is split.
fn gguf(listing: &Listing, part: &str) -> Result<(String, Vec<String>)> {
    let all = listing.paths(|path| path.to_ascii_lowercase().ends_with(".gguf"));
    let named = part.to_ascii_lowercase();
    let same = all.iter().filter(|path| *path == part);
    let like = all.iter().filter(|path| {
        let path = path.to_ascii_lowercase();
        path.contains(&named)
            && path.split_once("-of-").is_none_or(|(start, _)| start.ends_with("-00001"))
    });
    let found: Vec<&String> = match same.clone().count() {
        0 => like.collect(),
        _ => same.collect(),
    };
    let [first] = found[..] else {
        let what = match found.len() {
            0 => format!("no GGUF file of it is called `{part}`"),
            n => format!("{n} of its GGUF files are like `{part}`"),
        };
        return Err(listing.lacks(what, name_one(listing, &all)));
    };
    let parts = first.split_once("-00001-of-").map(|(start, end)| {
        let is_part =
            |path: &&String| path.starts_with(start) && path.ends_with(&format!("-of-{end}"));
        all.iter().filter(is_part).cloned().collect()
    });
    Ok((first.clone(), parts.unwrap_or_else(|| vec![first.clone()])))
}

fn name_one(listing: &Listing, all: &[String]) -> String {
    let names: Vec<String> =
        all.iter().take(12).map(|path| format!("{}:{path}", listing.name.repo)).collect();
    format!("name one: {}", names.join(", "))
}

fn without_weights(listing: &Listing) -> Error {
    let ending = |end: &'static str| listing.paths(move |path| path.ends_with(end));
    let (ggufs, pickles) = (ending(".gguf"), ending(".bin"));
    if !ggufs.is_empty() {
        return listing.lacks("its weights are GGUF files", name_one(listing, &ggufs));
    }
    let what = "it has no weights in safetensors";
    match pickles.is_empty() {
        false => listing.lacks(
            format!("{what}, only PyTorch's {}", pickles[0]),
            "save it with transformers: AutoModelForCausalLM.from_pretrained(NAME).save_pretrained(DIR)",
        ),
        true => listing.lacks(what, "name a model's repository, or org/name:FILE.gguf"),
    }
}

/// The files that an index of shards names.
fn shards(index: &Path) -> Result<Vec<String>> {
    let index_json: Value = serde_json::from_slice(&read(index)?)
        .map_err(|e| Error::input(e.to_string()).at(index.display()))?;
    let map = index_json["weight_map"].as_object();
    let names: BTreeSet<&str> =
        map.into_iter().flatten().filter_map(|(_, name)| name.as_str()).collect();
    Ok(names.into_iter().map(String::from).collect())
}

/// Whether a snapshot has all that a model needs; Python may have taken single files of it.
fn is_whole(snapshot: &Path) -> bool {
    let has = |name: &str| exists(&snapshot.join(name));
    let sharded =
        || shards(&snapshot.join(INDEX)).is_ok_and(|all| all.iter().all(|name| has(name)));
    ADAPTER.iter().all(|name| has(name))
        || has(CONFIG) && has(TOKENIZER) && (has(WEIGHTS) || sharded())
}
