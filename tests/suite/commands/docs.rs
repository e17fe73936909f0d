//! Generated documents stand in `docs/` as the code writes them today.

use std::fs;
use std::path::Path;

use srft::config::{Config, Method, SECTIONS};
use srft::metrics;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Lists of methods for people name them all, and `docs/methods.md` gives each one's settings.
#[test]
fn every_method_is_told_everywhere() {
    let objective = SECTIONS.iter().find(|s| s.name == "objective").unwrap();
    let key = objective.keys.iter().find(|k| k.name == "method").unwrap().doc.to_string();
    let methods = text("docs/methods.md");
    let flags = text("src/shell/settings.rs").replace("\n    /// ", " ");
    let guide = text("docs/guide.md").replace("\\|", "|");
    let all = Method::names().join(" | ");
    for (place, list) in
        [("objective.method", &key), ("--method", &flags), ("docs/guide.md", &guide)]
    {
        assert!(list.contains(&all), "{place} should say: {all}");
    }
    for method in Method::ALL {
        let name = method.name();
        let block = methods.split("```toml\n").find_map(|b| b.strip_prefix(&format!("# {name}\n")));
        let block = block.unwrap_or_else(|| panic!("docs/methods.md has no settings of {name}"));
        let told: toml::Table = block.split("```").next().unwrap().parse().unwrap();
        let mut set = method.preset();
        if let Some(toml::Value::Table(objective)) = set.remove("objective") {
            set.extend(objective);
        }
        assert_eq!(set, told, "docs/methods.md: {name}");
        assert!(methods.contains(&format!("`{name}`")), "docs/methods.md does not tell of {name}");
    }
}

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
