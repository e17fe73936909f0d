//! Puts a shader's included files in their places (WGSL has no imports), and leaves comments and indentation out:
//! in a page they would be downloaded.

#![allow(clippy::print_stdout, reason = "so a build script talks to cargo")]

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=.");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::create_dir_all(Path::new(&out).join("include")).expect("OUT_DIR can be written");
    for folder in ["", "include"] {
        for entry in fs::read_dir(Path::new(".").join(folder)).expect("the folder of the shaders") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                let to = Path::new(&out).join(folder).join(path.file_name().expect("a file"));
                fs::write(to, code(&path)).expect("OUT_DIR can be written");
            }
        }
    }
}

/// A file's lines that say something, those of the files that it includes among them.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let of_line = |line: &str| match line.strip_prefix("//#include ") {
        Some(name) => code(Path::new(name)),
        None => line.split("//").next().unwrap_or("").trim().into(),
    };
    let lines: Vec<String> = text.lines().map(of_line).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}
