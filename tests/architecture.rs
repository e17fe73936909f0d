//! The walls that ARCHITECTURE.md draws: a module imports only what stands above it in its crate's
//! `lib.rs`, and a crate only those above it.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of the crates, in the order that they stand on one another.
const CRATES: [&str; 4] = ["crates/formats/src", "crates/trainer/src", "src", "crates/page/src"];

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

/// The modules that `crate::NAME` names, `crate::{…}` too, outside of unit tests.
fn imported(code: &str) -> Vec<&str> {
    let shipped = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let name =
        |text: &'_ str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').count();
    let mut names = Vec::new();
    for (at, _) in shipped.match_indices("crate::") {
        if shipped[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &shipped[at + "crate::".len()..];
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
    imported(code).into_iter().filter(|name| place(name).is_some_and(|p| p > own)).collect()
}

#[test]
fn a_module_imports_only_what_stands_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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
                let found = climbing(module, &code, &order);
                wrong.extend(found.iter().map(|name| format!("{} imports {name}", file.display())));
            }
        }
    }
    assert!(looked > 200, "only {looked} files were found");
    assert!(wrong.is_empty(), "what stands below its importer in lib.rs:\n{}", wrong.join("\n"));
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
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/formats/Cargo.toml");
    let table: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let mut names: Vec<&String> = table["dependencies"].as_table().unwrap().keys().collect();
    let targets = table["target"].as_table().unwrap().values();
    names.extend(targets.flat_map(|target| target["dependencies"].as_table().unwrap().keys()));
    assert!(names.len() > 10, "{names:?}");
    for heavy in ["burn", "wgpu", "cubecl", "srft-trainer", "clap"] {
        assert!(!names.iter().any(|name| *name == heavy), "formats depends on {heavy}");
    }
}
