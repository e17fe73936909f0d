//! The shape of the model that is measured: of a well-known name, or of a model's folder.

use crate::config;
use crate::error::{Error, Result};
use crate::hub::{Kind, Name, located};
use crate::model::ModelConfig;
use crate::platform::exists;
use crate::run::open_model;
use serde_json::{Map, Value};

/// Longest text: positions beyond it cost memory and are never reached.
const POSITIONS: usize = 1024;

/// A model's shape and what it is called.
#[derive(Debug, Clone)]
pub struct Shape {
    /// A name of [`names`], or the folder.
    pub name: String,
    /// The shape.
    pub config: ModelConfig,
}

fn known() -> Map<String, Value> {
    let tiny = serde_json::from_str(srft_assets::TINY_CONFIG).expect("valid JSON");
    let mut all = Map::from_iter([("tiny".to_string(), tiny)]);
    let shapes: Map<_, _> = serde_json::from_str(srft_assets::SHAPES).expect("valid JSON");
    all.extend(shapes);
    all
}

/// The names of well-known shapes.
pub fn names() -> Vec<String> {
    known().into_iter().map(|(name, _)| name).collect()
}

/// Whether it is a well-known shape, for which nothing has to be read.
pub fn is_named(name: &str) -> bool {
    known().contains_key(&name.to_lowercase())
}

/// The shape of that name, else of the model at that path or in the hub's cache; its weights are not read.
pub fn shape(model: &config::Model) -> Result<Shape> {
    let name = &model.path;
    let mut config = match known().get(&name.to_lowercase()) {
        Some(shape) => ModelConfig::from_json(shape.to_string().as_bytes(), name)?,
        None if Name::of(name).is_none() && !exists(&located(name, Kind::Model)) => {
            return Err(Error::input(format!("no shape and no model here is called `{name}`"))
                .at("--model")
                .next(format!("name one of {}, or a model's folder", names().join(", "))));
        }
        None => open_model(model)?.text_and_shape()?.1,
    };
    config.max_positions = config.max_positions.min(POSITIONS);
    Ok(Shape { name: name.clone(), config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_shape_is_one_that_srft_trains() {
        let millions = |name: String| {
            let model = config::Model { path: name.to_uppercase(), ..config::Model::default() };
            let c = shape(&model).unwrap().config;
            let d = c.hidden_size;
            let attention = 2 * d * c.head_dim * (c.heads + c.kv_heads);
            let layer = attention + 3 * d * c.intermediate_size;
            ((c.layers * layer + c.vocab_size * d) as f64 / 1e6).round() as u64
        };
        let millions: Vec<u64> = names().into_iter().map(millions).collect();
        // As their authors count them, but for norms and biases.
        assert_eq!(millions, [1, 134, 362, 494, 596, 1236, 1544]);
    }
}
