//! Leaves comments and indentation out of the shaders: in a page they would be downloaded.

#![allow(clippy::print_stdout, reason = "so a build script talks to cargo")]

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=.");
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    for entry in fs::read_dir(".").expect("the folder of the shaders") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            let text = fs::read_to_string(&path).expect("UTF-8");
            let code = text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
            let code: Vec<&str> = code.filter(|line| !line.is_empty()).collect();
            let to = Path::new(&out).join(path.file_name().expect("a file"));
            fs::write(to, code.join("\n")).expect("OUT_DIR can be written");
        }
    }
}
