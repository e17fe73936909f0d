//! Which files of a data set's repository are wanted: those of a split, as the head of its README says, or by their
//! names, or in the copy as Parquet that the hub itself makes of many.

use crate::client::Hub;
use crate::listing::Listing;
use serde_json::Value;
use srft_formats::error::{Error, Result};
use srft_formats::hub::{Kind, MAIN, Name, is_commit};
use std::fs::read_dir;
use std::path::Path;

/// Formats that are read, the first that a repository has.
const FORMATS: [&str; 7] =
    [".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz"];

/// Files that describe others.
const NO_DATA: [&str; 4] =
    ["dataset_infos.json", "dataset_dict.json", "state.json", "package.json"];

/// Words for a split in the names of files and folders; `datasets` has the same.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
    ("validation", &["validation", "valid", "dev", "val"]),
];

/// The branch on which the hub keeps its copy as Parquet: CONFIG/SPLIT/0000.parquet.
const CONVERTED: &str = "refs/convert/parquet";

/// The files of one split of one configuration.
#[derive(Debug, Clone, PartialEq)]
struct Split {
    config: String,
    split: String,
    files: Vec<String>,
    is_default: bool,
}

impl Hub {
    /// Brings a data set's split into the cache; returns the names of its files at the commit. Where none is
    /// named, it is the first of `splits` that is there.
    pub fn data(&self, name: &Name, splits: &[&str]) -> Result<Vec<Name>> {
        let is_there = || name.cached(&self.cache, Kind::Data).is_some_and(|path| path.is_file());
        if is_commit(name.revision()) && is_there() {
            return Ok(vec![name.clone()]);
        }
        let Some(listing) = self.listing_unless_cached(name, Kind::Data)? else {
            return self.data_in_cache(name, splits);
        };
        let (mut from, mut asked) = (listing, name.revision());
        let files = if from.files.contains_key(&name.part) {
            vec![name.part.clone()]
        } else {
            let mut all = of_card(&from);
            if all.is_empty() {
                all = by_names(&from.paths(|_| true));
            }
            if all.is_empty() && name.revision() == MAIN {
                let converted = self.listing(&name.at(&name.part, CONVERTED), Kind::Data);
                if let Ok(converted) =
                    converted.map(|listing| (converted_splits(&listing), listing))
                {
                    ((all, from), asked) = (converted, CONVERTED);
                }
            }
            chosen(all, &name.part, splits).map_err(|(what, next)| from.lacks(what, next))?
        };
        self.fetch(&from, &files, asked)?;
        Ok(files.iter().map(|file| from.name.at(file, from.name.revision())).collect())
    }

    /// The same among the files that the cache has, by their names alone.
    fn data_in_cache(&self, name: &Name, splits: &[&str]) -> Result<Vec<Name>> {
        let whole = name.at("", name.revision());
        let commit = name.commit(&self.cache, Kind::Data);
        let (Some(snapshot), Some(commit)) = (whole.cached(&self.cache, Kind::Data), commit) else {
            return Err(self.not_cached(name));
        };
        let at = |file: &String| name.at(file, &commit);
        if name.cached(&self.cache, Kind::Data).is_some_and(|path| path.is_file()) {
            return Ok(vec![at(&name.part)]);
        }
        let mut files = Vec::new();
        walk(&snapshot, "", &mut files);
        files.sort_unstable();
        let chosen = chosen(by_names(&files), &name.part, splits);
        let files = chosen.map_err(|(what, next)| Error::input(what).at(name).next(next))?;
        Ok(files.iter().map(at).collect())
    }
}

/// The files below a snapshot's folder, by their paths in the repository.
fn walk(folder: &Path, above: &str, files: &mut Vec<String>) {
    for entry in read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{above}{name}");
        match entry.path().is_dir() {
            true => walk(&entry.path(), &format!("{path}/"), files),
            false => files.push(path),
        }
    }
}

/// The splits that the README's head lists: `configs`, each with `data_files`.
fn of_card(listing: &Listing) -> Vec<Split> {
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        all.iter().filter_map(Value::as_str).map(String::from).collect()
    };
    let mut splits = Vec::new();
    for config in listing.card["configs"].as_array().into_iter().flatten() {
        let name = config["config_name"].as_str().unwrap_or("default");
        let is_default = config["default"] == true || name == "default";
        let mut add = |split: &str, patterns: Vec<String>| {
            let is_such = |path: &str| patterns.iter().any(|pattern| matches(pattern, path));
            let (config, split) = (name.to_string(), split.to_string());
            splits.push(Split { config, split, files: listing.paths(is_such), is_default });
        };
        let files = &config["data_files"];
        let objects = files.as_array().into_iter().flatten().filter(|file| file.is_object());
        let mut objects = objects.peekable();
        match objects.peek() {
            Some(_) => objects.for_each(|file| {
                add(file["split"].as_str().unwrap_or("train"), texts(&file["path"]))
            }),
            None if texts(files).is_empty() => {}
            None => add("train", texts(files)),
        }
    }
    splits.retain(|split| !split.files.is_empty());
    splits
}

/// The splits that the names of files and folders tell.
fn by_names(paths: &[String]) -> Vec<Split> {
    let is_data = |path: &&String| !NO_DATA.contains(&path.as_str());
    let of = |format: &&&str| paths.iter().filter(is_data).any(|path| path.ends_with(**format));
    let Some(format) = FORMATS.iter().find(of) else { return Vec::new() };
    let mut splits: Vec<Split> = Vec::new();
    for path in paths.iter().filter(is_data).filter(|path| path.ends_with(format)) {
        let split = path.rsplit('/').find_map(split_in).unwrap_or("train");
        let folder = path.split_once('/').map_or("data", |(folder, _)| folder);
        let is_default = folder == "data" || split_in(folder).is_some();
        let config = if is_default { "default" } else { folder };
        add(&mut splits, [config, split], path, is_default);
    }
    splits
}

/// Adds a file to its split of a configuration.
fn add(splits: &mut Vec<Split>, [config, split]: [&str; 2], file: &str, is_default: bool) {
    match splits.iter_mut().find(|other| other.config == config && other.split == split) {
        Some(same) => same.files.push(file.into()),
        None => splits.push(Split {
            config: config.into(),
            split: split.into(),
            files: vec![file.into()],
            is_default,
        }),
    }
}

/// The split that a word of a name tells.
fn split_in(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| {
        SPLITS.iter().find(|(_, all)| all.contains(&word)).map(|(split, _)| *split)
    })
}

/// The splits of the hub's own copy.
fn converted_splits(listing: &Listing) -> Vec<Split> {
    let mut splits: Vec<Split> = Vec::new();
    for path in listing.paths(|path| path.ends_with(".parquet")) {
        let [config, split, _] = path.split('/').collect::<Vec<_>>()[..] else { continue };
        let split = split.strip_prefix("partial-").unwrap_or(split);
        add(&mut splits, [config, split], &path, config == "default");
    }
    splits
}

/// The files of the split that `part` names, or why there are none and what to do.
fn chosen(
    all: Vec<Split>,
    part: &str,
    wanted: &[&str],
) -> std::result::Result<Vec<String>, (String, String)> {
    if all.is_empty() {
        let what = "it has no files in JSONL, JSON, CSV or Parquet";
        return Err((what.into(), "download and convert it, and give the file".into()));
    }
    let is_config = |name: &str| all.iter().any(|split| split.config == name);
    let (config, split) = match part.split_once('/') {
        Some((config, split)) => (Some(config), Some(split)),
        None if part.is_empty() => (None, None),
        None if is_config(part) => (Some(part), None),
        None => (None, Some(part)),
    };
    let listed = || {
        let names = all.iter().take(20).map(|split| format!("{}/{}", split.config, split.split));
        format!(
            "it has {}: name one as org/name:CONFIG/SPLIT",
            names.collect::<Vec<_>>().join(", ")
        )
    };
    let first = &all[0].config;
    let is_only = all.iter().all(|split| split.config == *first);
    let default = all.iter().find(|split| split.is_default).map(|split| &split.config);
    let config = match (config, default) {
        (Some(config), _) => config,
        (None, Some(config)) => config,
        (None, None) if is_only => first,
        _ => return Err(("it has several configurations".into(), listed())),
    };
    let of = |name: &str| all.iter().find(|split| split.config == config && split.split == name);
    let found = match split {
        Some(split) => of(split),
        None => wanted.iter().find_map(|split| of(split)),
    };
    match found {
        Some(split) => Ok(split.files.clone()),
        None => {
            let split = split.map_or_else(|| wanted.join("` or `"), String::from);
            Err((format!("its configuration `{config}` has no split `{split}`"), listed()))
        }
    }
}

/// Whether a path fits a pattern of a README: `*` within a name, `**` over folders, `?` a letter.
fn matches(pattern: &str, path: &str) -> bool {
    let path = path.as_bytes();
    let mut rest = pattern.trim_start_matches("./").as_bytes();
    // Where in the path the pattern read so far may end.
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    while let Some(&first) = rest.first() {
        let before = std::mem::replace(&mut ends, vec![false; path.len() + 1]);
        if rest.starts_with(b"**/") {
            rest = &rest[3..];
            let mut open = false;
            for at in 0..=path.len() {
                ends[at] = before[at] || open && path[at - 1] == b'/';
                open |= before[at];
            }
        } else if first == b'*' {
            let is_deep = rest.starts_with(b"**");
            rest = &rest[if is_deep { 2 } else { 1 }..];
            let mut open = false;
            for at in 0..=path.len() {
                open = before[at] || open && (is_deep || path[at - 1] != b'/');
                ends[at] = open;
            }
        } else {
            rest = &rest[1..];
            for at in 0..path.len() {
                ends[at + 1] =
                    before[at] && (first == path[at] || first == b'?' && path[at] != b'/');
            }
        }
    }
    ends[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::File;
    use serde_json::json;

    fn listing(paths: &[&str], card: Value) -> Listing {
        let file = File { size: 1, hash: "0".repeat(40) };
        let files = paths.iter().map(|path| (path.to_string(), file.clone())).collect();
        let name = Name::parse("o/d").unwrap();
        Listing { name, kind: Kind::Data, files, card }
    }

    #[test]
    fn patterns_match_as_in_python() {
        for (pattern, path, fits) in [
            ("data/train-*", "data/train-00000-of-00001.parquet", true),
            ("data/train-*", "data/train-x/y", false),
            ("**/*.jsonl", "a.jsonl", true),
            ("**/*.jsonl", "x/y/a.jsonl", true),
            ("**", "x/y", true),
            ("*.csv", "x/a.csv", false),
            ("./t?st.json", "test.json", true),
            ("a*b*c", "abbcbc", true),
            ("a*b*c", "abbcb", false),
            ("train", "train.json", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
        assert!(!matches(&"*a".repeat(999), &"a".repeat(998)), "and soon");
    }

    #[test]
    fn a_split_is_found_by_the_card_or_by_names() {
        let card = json!({"configs": [
            {"config_name": "main", "data_files": [{"split": "train", "path": "main/train-*"},
                                                   {"split": "test", "path": ["main/test-*", "x.json"]}]},
            {"config_name": "socratic", "default": true, "data_files": "socratic/*"},
        ]});
        let files = [
            "main/train-0.parquet",
            "main/test-0.parquet",
            "x.json",
            "socratic/a.parquet",
            "README.md",
        ];
        let of_card = of_card(&listing(&files, card));
        let names = |paths: &[&str]| by_names(&listing(paths, Value::Null).paths(|_| true));
        let plain = names(&[
            "train.jsonl",
            "data/test.jsonl",
            "sub/valid-1.jsonl",
            "sub/x.jsonl",
            "old.csv",
        ]);
        for (all, part, splits, expected) in [
            (&of_card, "", &["train"][..], Ok(&["socratic/a.parquet"][..])),
            (&of_card, "main", &["train"], Ok(&["main/train-0.parquet"])),
            (&of_card, "main/test", &[], Ok(&["main/test-0.parquet", "x.json"])),
            (&of_card, "main/dev", &[], Err("no split `dev`")),
            (&of_card, "other/train", &[], Err("`other` has no split")),
            (&plain, "", &["train"], Ok(&["train.jsonl"])),
            (&plain, "test", &["train"], Ok(&["data/test.jsonl"])),
            (&plain, "sub/validation", &[], Ok(&["sub/valid-1.jsonl"])),
            (&plain, "sub", &["train"], Ok(&["sub/x.jsonl"])),
            (&plain, "", &["validation"], Err("no split `validation`")),
            (&names(&["a/t.csv", "b/t.csv"]), "", &["train"], Err("several configurations")),
            (&names(&["a/t.csv", "b/t.csv"]), "b", &["train"], Ok(&["b/t.csv"])),
            (&names(&["dataset_infos.json", "x.arrow"]), "", &["train"], Err("no files in JSONL")),
        ] {
            let found = chosen(all.clone(), part, splits);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{part}"),
                (Err((what, _)), Err(expected)) => {
                    assert!(what.contains(expected), "{part}: {what}")
                }
                (found, expected) => panic!("{part}: {found:?}, not {expected:?}"),
            }
        }
    }
}
