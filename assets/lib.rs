//! What the program has built in, as the files that a user would have.

#![no_std]

/// `config.json` of the tiny model.
pub const TINY_CONFIG: &str = include_str!("tiny/config.json");
/// Its `tokenizer.json`.
pub const TINY_TOKENIZER: &str = include_str!("tiny/tokenizer.json");
/// Its `model.safetensors`, 2.3 MB. Only what a program names ends in it: a page fetches the file.
pub const TINY_WEIGHTS: &[u8] = include_bytes!("tiny/model.safetensors");
/// The study of the paper's table, made small.
pub const PAPER_SMALL: &str = include_str!("studies/paper-small.toml");
/// The regimes of that study at equal compute alone.
pub const EQUAL_COMPUTE: &str = include_str!("studies/equal-compute.toml");
/// The study of the losses that came after that paper.
pub const METHODS: &str = include_str!("studies/methods.toml");
/// The shortest study that has everything.
pub const SMOKE: &str = include_str!("studies/smoke.toml");
/// `config.json` of well-known models by name, for `srft bench`: what decides their speed.
pub const SHAPES: &str = include_str!("shapes.json");
