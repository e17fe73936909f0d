//! The walls that ARCHITECTURE.md draws: a module imports only what stands above it in its crate's
//! `lib.rs`, and a crate only those above it; numbers leave the device in one place; few test binaries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Folders of the crates, in the order that they stand on one another.
const CRATES: [&str; 6] = [
    "crates/formats/src",
    "crates/kernels/src",
    "crates/trainer/src",
    "crates/team/src",
    "src",
    "crates/page/src",
];

fn rust_files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            rust_files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        found.push(path.into());
    }
}

/// The modules of a `lib.rs`, in its order.
fn modules(library: &str) -> Vec<&str> {
    library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect()
}

/// The modules that `crate::NAME` names (or `super::NAME`, by `root`), `crate::{…}` too, outside of unit
/// tests.
fn imported<'a>(code: &'a str, root: &str) -> Vec<&'a str> {
    let shipped = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let name =
        |text: &'_ str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').count();
    let mut names = Vec::new();
    for (at, _) in shipped.match_indices(root) {
        let before = shipped[..at].rsplit('\n').next().unwrap_or_default();
        let named = before.ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c));
        if named || before.trim_start().starts_with("//") {
            continue;
        }
        let rest = &shipped[at + root.len()..];
        match rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((inside, _)) => names.extend(inside.split(',').map(|part| {
                let part = part.trim();
                &part[..name(part)]
            })),
            None => names.push(&rest[..name(rest)]),
        }
    }
    names
}

/// Each import of `module`'s that stands below it.
fn climbing<'a>(module: &str, code: &'a str, order: &[&str]) -> Vec<&'a str> {
    let place = |name: &str| order.iter().position(|m| *m == name);
    let own = place(module).expect("a module of the library");
    imported(code, "crate::")
        .into_iter()
        .filter(|name| place(name).is_some_and(|p| p > own))
        .collect()
}

#[test]
fn a_module_imports_only_what_stands_above_it() {
    let root = root();
    let (mut looked, mut wrong) = (0, Vec::new());
    for source in CRATES.map(|source| root.join(source)) {
        let library = fs::read_to_string(source.join("lib.rs")).unwrap();
        let order = modules(&library);
        assert!(order.len() > 1, "{}: {order:?}", source.display());
        for module in &order {
            let mut files = Vec::new();
            rust_files(&source.join(module), &mut files);
            rust_files(&source.join(format!("{module}.rs")), &mut files);
            for file in files.iter().filter(|file| file.exists()) {
                looked += 1;
                let code = fs::read_to_string(file).unwrap();
                // Beside lib.rs the two are one.
                let beside = file.parent() == Some(&source);
                let code = if beside { code.replace("super::", "crate::") } else { code };
                let found = climbing(module, &code, &order);
                wrong.extend(found.iter().map(|name| format!("{} imports {name}", file.display())));
            }
        }
    }
    assert!(looked > 200, "only {looked} files were found");
    assert!(wrong.is_empty(), "what stands below its importer in lib.rs:\n{}", wrong.join("\n"));
}

/// A way from a file of a folder back to itself, over files beside it.
fn circle(files: &BTreeMap<String, Vec<String>>) -> Option<Vec<&str>> {
    fn walk<'a>(
        files: &'a BTreeMap<String, Vec<String>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> bool {
        let last = *way.last().expect("a way begins somewhere");
        for next in files.get(last).into_iter().flatten() {
            if way.contains(&next.as_str()) {
                way.push(next);
                return true;
            }
            if !done.contains(next.as_str()) {
                way.push(next);
                if walk(files, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    files.keys().find_map(|first| {
        let mut way = vec![first.as_str()];
        (!done.contains(first.as_str()) && walk(files, &mut way, &mut done)).then_some(way)
    })
}

/// Each folder's files with those beside them that they import.
fn folders(path: &Path, found: &mut Vec<(PathBuf, BTreeMap<String, Vec<String>>)>) {
    let entries = || fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let stem = |file: &Path| file.file_stem().unwrap().to_string_lossy().into_owned();
    let is_beside = |file: &PathBuf| {
        let named = !["lib", "main", "mod"].contains(&&*stem(file));
        file.extension().is_some_and(|e| e == "rs") && named
    };
    let names: BTreeSet<String> = entries().filter(is_beside).map(|file| stem(&file)).collect();
    let is_root = path.join("lib.rs").exists();
    let imports = |file: PathBuf| {
        let mut code = fs::read_to_string(&file).unwrap();
        if is_root {
            code = code.replace("crate::", "super::");
        }
        let own = stem(&file);
        let used = imported(&code, "super::").into_iter().map(String::from);
        (own.clone(), used.filter(|name| names.contains(name) && *name != own).collect())
    };
    found.push((path.into(), entries().filter(is_beside).map(imports).collect()));
    entries().filter(|entry| entry.is_dir()).for_each(|folder| folders(&folder, found));
}

#[test]
fn no_two_files_import_each_other() {
    let root = root();
    let mut found = Vec::new();
    CRATES.iter().chain(&["python/src"]).for_each(|source| folders(&root.join(source), &mut found));
    let circles: Vec<String> = found
        .iter()
        .filter_map(|(path, files)| Some(format!("{}: {:?}", path.display(), circle(files)?)))
        .collect();
    assert!(found.len() > 20, "only {} folders", found.len());
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn the_search_finds_circles() {
    let files = |list: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        list.iter().map(|(name, imports)| (name.to_string(), owned(imports))).collect()
    };
    assert_eq!(circle(&files(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = files(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
    assert_eq!(circle(&found).unwrap(), ["a", "b", "c", "b"]);
}

#[test]
fn the_search_finds_what_climbs() {
    let order = ["error", "text", "data", "run"];
    let code = "use crate::error::Error;\nuse crate::{text, run::Run};\nfn f() { crate::data::f() }\n\
                #[cfg(test)]\nmod tests { use crate::run; }\n";
    assert_eq!(climbing("text", code, &order), ["run", "data"]);
    assert_eq!(climbing("run", code, &order), [""; 0]);
    assert_eq!(modules("//! x\npub use a::*;\npub mod b;\n#[cfg(x)]\npub mod c;\n"), ["b", "c"]);
}

/// What is burn's stays behind its wall: the crate that reads users' files compiles without it.
#[test]
fn the_readers_know_no_tensors() {
    let manifest = root().join("crates/formats/Cargo.toml");
    let table: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let mut names: Vec<&String> = table["dependencies"].as_table().unwrap().keys().collect();
    let targets = table["target"].as_table().unwrap().values();
    names.extend(targets.flat_map(|target| target["dependencies"].as_table().unwrap().keys()));
    assert!(names.len() > 10, "{names:?}");
    for heavy in ["burn", "wgpu", "cubecl", "srft-trainer", "clap"] {
        assert!(!names.iter().any(|name| *name == heavy), "formats depends on {heavy}");
    }
}

/// What differs between a program and a tab has its places; elsewhere a run is given what it reads.
#[test]
fn few_files_know_of_the_browser() {
    let mut files = Vec::new();
    CRATES.iter().for_each(|folder| rust_files(&root().join(folder), &mut files));
    files.retain(|file| fs::read_to_string(file).unwrap().contains("target_family"));
    assert!((1..=5).contains(&files.len()), "{files:#?}");
}

#[test]
fn numbers_leave_the_device_in_one_place_only() {
    let root = root();
    let mut files = Vec::new();
    // The first is without burn; what it syncs are files.
    CRATES[1..].iter().for_each(|source| rust_files(&root.join(source), &mut files));
    let reads = ["into_data", ".to_data(", "into_scalar", "all_close(", ".sync("];
    let mut readers = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        if reads.iter().any(|read| shipped.contains(read)) {
            readers.push(path.strip_prefix(root).unwrap().to_path_buf());
        }
    }
    readers.sort_unstable();
    // The CPU's decoding reads its own tensors, which are in memory already.
    let known = ["attention/cache.rs", "readback.rs"];
    let known = known.map(|file| Path::new("crates/kernels/src").join(file));
    assert_eq!(readers, known, "read through ops::readback instead");
}

/// Linking burn takes longest and leaves some 90 MB a binary: a new file is a module of one of these.
#[test]
fn few_test_binaries_are_linked() {
    let root = root();
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|e| e.unwrap().path());
    let entries = crates.chain([root.into()]).map(|folder| folder.join("tests"));
    let entries = entries
        .filter(|tests| tests.is_dir())
        .flat_map(|tests| fs::read_dir(tests).unwrap().map(|entry| entry.unwrap().path()));
    let is_binary = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").exists()
    };
    let mut found: Vec<PathBuf> =
        entries.filter(is_binary).map(|path| path.strip_prefix(root).unwrap().into()).collect();
    found.sort_unstable();
    // Two of them link no burn.
    let known =
        ["crates/formats/tests/readers", "crates/hub/tests/hub", "tests/suite", "tests/workers"];
    assert_eq!(found, known.map(PathBuf::from));
}
