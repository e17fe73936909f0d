//! One more token a row, after the keys and values of its past: on a native GPU by the kernels of `ops::step`,
//! elsewhere by the layers' own operations.

use super::layers::{Layer, as_multiplied};
use super::{Llama, ModelConfig};
use crate::config::CacheDtype;
use crate::ops::attention::{
    HeadNorms, KvCache, Packing, Places, decode_parts, fits_in_halves, takes_parts,
};
use crate::ops::cube::runs_on;
use crate::ops::fused::runs_on as runs_on_cpu;
use crate::ops::step::{Embedding, Joined, Norms};
use crate::platform::{MODELS, Models};
use burn::tensor::{Int, Tensor};

/// A model made ready to decode: its weights must stay the same meanwhile.
#[derive(Debug)]
pub struct Decoding<'a> {
    model: &'a Llama,
    step: Option<(Step, Models)>, // None: by the layers' own operations
    cache: CacheDtype,
}

/// What the kernels of a step take.
#[derive(Debug)]
struct Step {
    embedding: Embedding,
    first: Norms, // of what enters the first layer
    layers: Vec<StepOfLayer>,
    head: Joined,
}

#[derive(Debug)]
struct StepOfLayer {
    query_key_value: Joined,
    heads: Option<HeadNorms>,
    output: Joined,
    attended: Norms,
    gate_up: Joined,
    down: Joined,
    gated: Norms,
}

impl<'a> Decoding<'a> {
    /// Joins the matrices that multiply the same rows, where the kernels take this model. Its caches hold numbers as
    /// `cache` says, if such heads can be held so there.
    pub fn new(model: &'a Llama, cache: CacheDtype) -> Self {
        let step = MODELS.and_then(|models| Some((Step::of(model)?, models)));
        let on_gpu = step.is_some() && fits_in_halves(model.config.head_dim);
        let takes_halves = runs_on_cpu(&model.device()) || on_gpu;
        Self { model, step, cache: if takes_halves { cache } else { CacheDtype::F32 } }
    }

    /// By the layers' own operations everywhere: what the kernels are held against.
    pub fn plain(model: &'a Llama) -> Self {
        Self { model, step: None, cache: CacheDtype::F32 }
    }

    /// Reads packed prompts, whose tokens are `[N]`. Each branch of `packing` is a row that goes on from its prompt, which the
    /// caches hold once, and has room for `room` more positions. Logits [B, V] after the rows' prompts, and the caches.
    pub fn prefill(
        &self,
        tokens: Tensor<1, Int>,
        packing: Packing,
        room: usize,
    ) -> (Tensor<2>, Vec<KvCache>) {
        let device = tokens.device();
        let trees = packing.trees.iter().enumerate();
        let prompts = trees.flat_map(|(i, tree)| tree.branches.iter().map(move |_| i as i32));
        let prompts = Tensor::<1, Int>::from_ints(&*prompts.collect::<Vec<_>>(), &device);
        let places = Places::new(packing, &device);
        let (ends, caches) = self.model.prefill(tokens, &places, room, self.cache);
        (self.logits(ends).select(0, prompts), caches)
    }

    /// Whether a step goes by the kernels of `ops::step`.
    pub fn by_kernels(&self) -> bool {
        self.step.is_some()
    }

    /// The model.
    pub fn model(&self) -> &'a Llama {
        self.model
    }

    /// Logits [B, V] after one more token a row, `[B]`, appended to the caches.
    pub fn decode(&self, tokens: Tensor<1, Int>, caches: &mut [KvCache]) -> Tensor<2> {
        self.logits(match &self.step {
            Some((step, _)) => step.hidden(self.model, tokens, caches),
            None => self.model.decode(tokens, caches),
        })
    }

    /// Logits [1, V] after N more tokens of one row, `[N]`, appended to its caches one after the other.
    pub fn extend(&self, tokens: Tensor<1, Int>, caches: &mut [KvCache]) -> Tensor<2> {
        let hidden = match &self.step {
            Some((step, _)) => step.hidden(self.model, tokens, caches),
            None => self.model.extend(tokens, caches),
        };
        let last = hidden.dims()[0] - 1;
        self.logits(hidden.narrow(0, last, 1))
    }

    /// Logits [N, V] of a few hidden states [N, D].
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.step {
            Some((step, _)) => step.head.product(hidden).sum(),
            None => self.model.logits(hidden),
        }
    }
}

impl Step {
    /// None where the kernels don't take the model.
    fn of(model: &Llama) -> Option<Self> {
        let config = &model.config;
        let shape = model.attention_shape();
        if !runs_on(&model.device()) || !config.hidden_size.is_multiple_of(4) {
            return None;
        }
        let after = model.layers.iter().skip(1).map(|layer| &layer.input_norm).chain([&model.norm]);
        let layers = model.layers.iter().zip(after);
        let layers: Option<Vec<_>> =
            layers.map(|(layer, next)| StepOfLayer::of(layer, next, config)).collect();
        let layers = layers?;
        let takes = |layer: &StepOfLayer| takes_parts(shape, layer.query_key_value.low_words());
        let head = model.head_blocks().into_iter().map(Into::into).collect::<Vec<_>>();
        let first = &model.layers.first()?.input_norm;
        layers.iter().all(takes).then_some(Self {
            embedding: Embedding::new(&model.embedding_blocks(), config.embedding_factor as f32),
            first: norms(None, first, config),
            layers,
            head: Joined::new(&head)?,
        })
    }

    /// Hidden states [M, D] after the final norm.
    fn hidden(&self, model: &Llama, tokens: Tensor<1, Int>, caches: &mut [KvCache]) -> Tensor<2> {
        let config = &model.config;
        let [mut x, mut h] = self.first.of(self.embedding.rows(tokens));
        for (index, (layer, cache)) in self.layers.iter().zip(caches).enumerate() {
            let (rope, factor) = (model.rope(index), config.query_factor as f32);
            let qkv = layer.query_key_value.product(h);
            h = decode_parts(&qkv, cache, rope, layer.heads.as_ref(), factor);
            [x, h] = layer.output.product(h).into_stream(x, &layer.attended);
            h = layer.gate_up.product(h).gated(config.activation);
            [x, h] = layer.down.product(h).into_stream(x, &layer.gated);
        }
        h
    }
}

impl StepOfLayer {
    /// `next` is the norm that the layer's output goes through next.
    fn of(layer: &Layer, next: &Tensor<2>, config: &ModelConfig) -> Option<Self> {
        let heads = layer.query_norm.as_ref().zip(layer.key_norm.as_ref()).map(|(query, key)| {
            let weights = Tensor::cat(vec![query.clone(), key.clone()], 0);
            HeadNorms {
                weights: as_multiplied(weights, config),
                epsilon: config.rms_norm_eps as f32,
            }
        });
        Some(Self {
            query_key_value: Joined::new(&[
                layer.query.term(),
                layer.key.term(),
                layer.value.term(),
            ])?,
            heads,
            output: Joined::new(&[layer.output.term()])?,
            attended: norms(layer.attended_norm.as_ref(), &layer.gate_norm, config),
            gate_up: Joined::new(&[layer.gate.term(), layer.up.term()])?,
            down: Joined::new(&[layer.down.term()])?,
            gated: norms(layer.gated_norm.as_ref(), next, config),
        })
    }
}

fn norms(after: Option<&Tensor<2>>, next: &Tensor<2>, config: &ModelConfig) -> Norms {
    let of = |weight: &Tensor<2>| as_multiplied(weight.clone(), config);
    Norms::new(after.map(of), of(next), config.rms_norm_eps as f32)
}
