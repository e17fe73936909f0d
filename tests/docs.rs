//! Generated documents stand in `docs/` as the code writes them today.

use std::fs;
use std::path::Path;

use srft::config::Config;
use srft::metrics;

#[test]
fn generated_documents_are_up_to_date() {
    let config = Config::resolve(&[]).expect("defaults are valid").to_annotated_toml();
    let stale: Vec<String> = [
        ("docs/metrics.md", metrics::as_markdown(), "config --metrics"),
        ("docs/config.toml", config, "config"),
    ]
    .into_iter()
    .filter(|(path, text, _)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::read_to_string(path).ok().as_ref() != Some(text)
    })
    .map(|(path, _, arguments)| format!("cargo run --release -- {arguments} > {path}"))
    .collect();
    assert!(stale.is_empty(), "documents differ from the code; repair with\n{}", stale.join("\n"));
}
