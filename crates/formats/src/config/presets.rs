//! Defaults that depend on the model: the table's suit the built-in model, these suit a pretrained one.

use crate::hub::{Kind, located};
use crate::names::{ADAPTER_CONFIG, CONFIG};
use crate::platform::{exists, read};
use toml::{Table, Value};

/// Smaller steps, longer responses, fewer at a time, and only as many layers' activations as there is memory for.
const OWN_MODEL: &str = r#"
[rollout]
prompts = 8
max_new_tokens = 512
slots = 64
[optimizer]
lr = 1e-5
[train]
checkpointing = "auto"
"#;

/// Adapters are small and begin at zero: their rate is far higher (Schulman et al., 2025). At rank 16 SmolLM2-135M
/// learned faster at twice this rate, and fell apart at four times (docs/recipes.md).
const OWN_ADAPTERS: &str = "
[optimizer]
lr = 5e-4
";

/// The fields of `config.json` that must equal the built-in model's.
const SHAPE: [&str; 7] = [
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
];

/// The defaults for the model that the layers name; every layer overrides them. They depend on the
/// model's shape and not on its path: weights trained from the built-in model keep its defaults.
pub fn of_model(layers: &[(String, Table)]) -> Table {
    let last = |section: &str, key: &str| {
        layers.iter().rev().find_map(|(_, layer)| layer.get(section)?.get(key).cloned())
    };
    let path = last("model", "path");
    let path = path.as_ref().and_then(Value::as_str).unwrap_or("tiny");
    let named = !is_builtin(path);
    let rank = last("lora", "rank").and_then(|rank| rank.as_integer());
    let adapted =
        rank.is_some_and(|r| r > 0) || exists(&located(path, Kind::Model).join(ADAPTER_CONFIG));
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

/// Whether a model has the built-in one's shape: it is the built-in model, trained from it, or an
/// adapter over it.
fn is_builtin(path: &str) -> bool {
    let json = |name: &str| -> Option<serde_json::Value> {
        serde_json::from_slice(&read(&located(path, Kind::Model).join(name)).ok()?).ok()
    };
    let builtin = || -> serde_json::Value {
        serde_json::from_str(srft_assets::TINY_CONFIG).expect("the built-in model's")
    };
    match (path, json(ADAPTER_CONFIG), json(CONFIG)) {
        ("tiny", ..) => true,
        (_, Some(adapter), _) => adapter["base_model_name_or_path"] == "tiny",
        (_, None, Some(config)) => {
            let builtin = builtin();
            SHAPE.iter().all(|field| config[field] == builtin[field])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Checkpointing, Config};

    /// `tiny` and the folder of the same model once had different defaults.
    #[test]
    fn defaults_are_the_models_and_not_the_paths() {
        let home = tempfile::tempdir().unwrap();
        let lr_of = |name: &str, file: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(file), text).unwrap();
            let layer = format!("[model]\npath = {:?}", path.display().to_string());
            let config = Config::resolve(&[Config::layer(&layer, "test").unwrap()]).unwrap();
            (config.optimizer.lr, config.rollout.max_new_tokens, config.train.checkpointing)
        };
        let builtin = Config::default();
        let builtin = (builtin.optimizer.lr, builtin.rollout.max_new_tokens, Checkpointing::None);
        let tiny = srft_assets::TINY_CONFIG;
        assert_eq!(lr_of("same", "config.json", tiny), builtin);
        let other = tiny.replace("\"hidden_size\":", "\"hidden_size\": 1, \"other\":");
        assert_eq!(lr_of("other", "config.json", &other), (1e-5, 512, Checkpointing::Auto));
        let adapter = |base| format!("{{\"base_model_name_or_path\": \"{base}\"}}");
        let file = "adapter_config.json";
        assert_eq!(lr_of("adapter", file, &adapter("tiny")), (5e-4, builtin.1, builtin.2));
        assert_eq!(
            lr_of("far", file, &adapter("Qwen/Qwen2.5-0.5B")),
            (5e-4, 512, Checkpointing::Auto)
        );
    }
}
