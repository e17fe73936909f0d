//! The sources themselves: their walls, and every shader. A crate of its own, for the translators' sake
//! (see `Cargo.toml`): `cargo test --release --manifest-path tests/source/Cargo.toml`.
#![cfg(test)]

mod architecture;
mod shaders;

use std::path::Path;

/// The repository's.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
