//! The names of the user's suites: a file's stem, or as much of its path as is needed to tell files apart.

use super::{GIVEN, numbered};
use crate::data::{builtin, gym};
use crate::hub::as_path;
use std::collections::BTreeMap;

/// Extensions of compressed files, which follow the data format's.
const PACKED: [&str; 2] = [".gz", ".GZ"];

/// A name for each file, no two equal and none a built-in suite's: `gsm8k/test.jsonl` and
/// `math/test.jsonl` become `gsm8k/test` and `math/test`. A file listed twice has one name; examples that
/// a program gives keep the name it gives.
pub fn suite_names<'a>(files: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let (mut names, mut open) = (BTreeMap::<&str, String>::new(), Vec::new());
    for file in files {
        match file.strip_prefix(GIVEN) {
            Some(name) => drop(names.insert(file, name.to_string())),
            None => open.push((file, candidates(file))),
        }
    }
    open.sort_unstable();
    open.dedup();
    let taken = |names: &BTreeMap<&str, String>, name: &str| {
        let is_builtin = || builtin::suites().iter().any(|suite| suite.name == name);
        names.values().any(|other| other == name) || is_builtin()
    };
    let longest = open.iter().map(|(_, all)| all.len()).max().unwrap_or(0);
    for length in 0..longest {
        let at = |all: &[String]| all[length.min(all.len() - 1)].clone();
        let wanted: Vec<String> = open.iter().map(|(_, all)| at(all)).collect();
        open.retain(|(file, all)| {
            let name = at(all);
            let alone = wanted.iter().filter(|other| **other == name).count() == 1;
            let is_told = alone && !taken(&names, &name);
            if is_told {
                names.insert(*file, name);
            }
            !is_told
        });
    }
    for (file, _) in open {
        let name = numbered(file, |name| taken(&names, name));
        names.insert(file, name);
    }
    names
}

/// Possible names of a file, the shortest first: its stem, the stem with its folder, and so on, last the
/// whole path.
fn candidates(file: &str) -> Vec<String> {
    if let Some(task) = gym::task_of(file) {
        let name = task.split('?').next().unwrap_or(task);
        return [name, task].map(|name| name.replace(['/', '\\'], "_")).to_vec();
    }
    let path = as_path(file).replace('\\', "/");
    let unpacked = PACKED.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(&path);
    let (folder, name) = unpacked.rsplit_once('/').unwrap_or(("", unpacked));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = if stem.is_empty() { name } else { stem };
    let folders: Vec<&str> = folder.split('/').filter(|f| !f.is_empty() && *f != ".").collect();
    let with = |from: usize, name| [&folders[from..], &[name]].concat().join("/");
    let mut all: Vec<String> = (0..=folders.len()).rev().map(|from| with(from, stem)).collect();
    all.extend([with(0, name), path.clone()]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two evaluation files of one name came out as one row (transformers #16474).
    #[test]
    fn transformers_16474_files_of_one_name_have_two_names() {
        for (files, expected) in [
            (&["my/sums.v2.jsonl.gz"][..], &["sums.v2"][..]),
            (&["gsm8k/test.jsonl", "math/test.jsonl", "c.csv"], &["gsm8k/test", "math/test", "c"]),
            (&["a/x/test.csv", "b/x/test.csv"], &["a/x/test", "b/x/test"]),
            (&["test.jsonl", "a/test.jsonl"], &["test.jsonl", "a/test"]),
            (
                &["a/test.csv", "a/test.jsonl", "a/test.jsonl.gz"],
                &["a/test.csv", "a/test.jsonl", "a/test.jsonl.gz"],
            ),
            (&["./test.csv", "test.csv"], &["./test.csv", "test.csv"]),
            (&[r"C:\a\t.csv", r"C:\b\t.csv"], &["a/t", "b/t"]),
            (&["my/add.jsonl", "two.csv"], &["my/add", "two.csv"]),
            (&["given:later", "later.jsonl"], &["later", "later.jsonl"]),
            (&["given:v1.5", "given:add"], &["v1.5", "add"]),
            (
                &["reasoning_gym:sums?size=9", "reasoning_gym:lcm?a=1", "reasoning_gym:lcm?a=2"],
                &["sums", "lcm?a=1", "lcm?a=2"],
            ),
            (&[".jsonl", "plain", "a/a.jsonl", "a/a.jsonl"], &[".jsonl", "plain", "a", "a"]),
        ] {
            let names = suite_names(files.iter().copied());
            let found: Vec<&str> = files.iter().map(|file| names[file].as_str()).collect();
            assert_eq!(found, expected, "{files:?}");
        }
    }

    #[test]
    fn names_stay_apart_whatever_the_files_are_called() {
        let parts = ["test", "a", "b", "add"];
        let folders = || parts.iter().flat_map(|a| parts.iter().map(move |b| format!("{a}/{b}")));
        let files: Vec<String> = folders()
            .chain(parts.iter().map(|p| p.to_string()))
            .flat_map(|path| [".csv", ".jsonl", ""].map(|end| format!("{path}{end}")))
            .collect();
        let names = suite_names(files.iter().map(String::as_str));
        let mut distinct: Vec<&String> = names.values().collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), files.len());
        assert!(!distinct.iter().any(|name| *name == "add"));
    }
}
