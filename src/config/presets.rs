//! Defaults by model: what suits a pretrained one, where the defaults suit the built-in one.

use toml::{Table, Value};

/// Smaller steps, longer responses, fewer at a time, and a memory that holds no layer's inside but one.
const OWN_MODEL: &str = "
[rollout]
prompts = 8
max_new_tokens = 512
slots = 64
[optimizer]
lr = 1e-5
[train]
checkpointing = true
";

/// Adapters begin at zero and are small: they bear ten times the step (Schulman et al., 2025).
const OWN_ADAPTERS: &str = "
[optimizer]
lr = 1e-4
";

/// The defaults for the model that the layers name: below every layer, above nothing else.
pub fn of_model(layers: &[(String, Table)]) -> Table {
    let last = |section: &str, key: &str| {
        layers.iter().rev().find_map(|(_, layer)| layer.get(section)?.get(key).cloned())
    };
    let named = last("model", "path").is_some_and(|path| path.as_str() != Some("tiny"));
    let adapted = last("lora", "rank").and_then(|rank| rank.as_integer()).is_some_and(|r| r > 0);
    let mut table = Table::new();
    for (applies, text) in [(named, OWN_MODEL), (adapted, OWN_ADAPTERS)] {
        if applies {
            for (section, keys) in text.parse::<Table>().expect("TOML") {
                let slot = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                slot.as_table_mut()
                    .expect("a section")
                    .extend(keys.as_table().cloned().into_iter().flatten());
            }
        }
    }
    table
}
