//! The transformer: embedding, layers, final norm, head. The head's product with the vocabulary
//! is `ops::lm_head`'s, in chunks; this file ends at the hidden states.

use super::layers::{Layer, norm};
use super::linear::Linear;
use super::lora::Lora;
use super::table::Table;
use super::{Local, ModelConfig, Parameter, ParameterMut, Scaling, grow};
use crate::config::CacheDtype;
use crate::ops::attention::{AttentionShape, KvCache, Places, Rope, attention, decode_attention};
use crate::ops::fused::{in_pool, runs_on};
use crate::ops::linear::linear_by;
use crate::ops::weight::Weight;
use crate::random::{Stream, purpose};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Hugging Face's name of an untied head.
pub const HEAD: &str = "lm_head.weight";
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";

/// The model. Its weights are plain tensors; [`Llama::tracked`] gives a copy that records gradients.
#[derive(Debug, Clone)]
pub struct Llama {
    /// Its shape.
    pub config: ModelConfig,
    embedding: Table,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor<2>, // [1, D]
    head: Option<Table>,        // None when tied
    rope: Rope,
    local_rope: Option<Rope>, // of the layers that see a window
    lora: Option<Lora>,       // None: the whole model trains
}

impl Llama {
    /// All weights zero, to be filled.
    pub fn empty(config: ModelConfig, device: &Device) -> Self {
        let table = || Table::empty([config.vocab_size, config.hidden_size], device);
        let rope = |theta, scaling| {
            Rope::new(config.max_positions, config.head_dim, theta, scaling, device)
        };
        let local_rope = |local: &Local| rope(local.rope_theta, Scaling::None).within(local.window);
        Self {
            embedding: table(),
            layers: (0..config.layers).map(|_| Layer::empty(&config, device)).collect(),
            norm: Tensor::zeros([1, config.hidden_size], device),
            head: (!config.tied).then(table),
            rope: rope(config.rope_theta, config.rope_scaling),
            local_rope: config.local.as_ref().map(local_rope),
            lora: None,
            config,
        }
    }

    /// Fresh weights: normal with standard deviation 0.02 (as GPT-2), the two matrices that write
    /// to the residual stream divided by √(2·layers); norms multiply by 1, biases are 0.
    pub fn random(config: ModelConfig, seed: u64, device: &Device) -> Self {
        let mut model = Self::empty(config, device);
        let residual = 1.0 / (2.0 * model.config.layers as f32).sqrt();
        let gain = 1.0 - model.config.norm_offset as f32;
        for (index, p) in model.weights_mut().into_iter().enumerate() {
            let mut stream = Stream::new(seed, purpose::WEIGHTS, index as u32);
            let count = p.block_shape[0] * p.block_shape[1];
            let values: Vec<f32> = if p.shape.len() == 1 {
                vec![if p.name.ends_with("bias") { 0.0 } else { gain }; count]
            } else {
                let writes = p.name.contains("o_proj") || p.name.contains("down_proj");
                let std = 0.02 * if writes { residual } else { 1.0 };
                (0..count).map(|_| std * stream.normal()).collect()
            };
            *p.tensor = Tensor::from_data(TensorData::new(values, p.block_shape), device);
        }
        model
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.norm.device()
    }

    /// A model that shares these weights and records gradients of those that train.
    pub fn tracked(&self) -> Self {
        let mut twin = self.clone();
        for p in twin.parameters_mut() {
            *p.tensor = p.tensor.clone().autodiff().require_grad();
        }
        twin
    }

    /// A copy that shares these weights and of which layer `index` alone records gradients.
    pub(super) fn tracked_layer(&self, index: usize) -> Self {
        let mut twin = self.clone();
        let (layer, mut list) = (&mut twin.layers[index], Vec::new());
        match self.lora {
            Some(_) => {
                layer.matrices().into_iter().for_each(|(_, m)| m.collect_adapter("", &mut list))
            }
            None => layer.collect("", &mut list),
        }
        for p in list {
            *p.tensor = p.tensor.clone().autodiff().require_grad();
        }
        twin
    }

    /// The adapters' settings, if it has adapters.
    pub fn lora(&self) -> Option<&Lora> {
        self.lora.as_ref()
    }

    /// The head's parts, [V, D] in all: the embedding itself when tied.
    pub fn head(&self) -> Vec<Weight> {
        self.head.as_ref().unwrap_or(&self.embedding).parts()
    }

    /// The embedding as it is held, [V, D] in all.
    pub(super) fn embedding_blocks(&self) -> Vec<Weight> {
        self.embedding.blocks()
    }

    /// The head as it is held, [V, D] in all: the embedding itself when tied.
    pub(super) fn head_blocks(&self) -> Vec<Weight> {
        self.head.as_ref().unwrap_or(&self.embedding).blocks()
    }

    /// The head as it trains: in blocks, each with a gradient if it does.
    pub fn head_in_training(&self) -> Vec<Weight> {
        if self.head_trains() {
            return self.head_blocks();
        }
        self.head()
    }

    /// The head's name among the weights.
    pub(super) fn head_name(&self) -> &'static str {
        if self.head.is_some() { HEAD } else { EMBEDDING }
    }

    /// Whether the head trains; it doesn't where only adapters train.
    pub fn head_trains(&self) -> bool {
        self.lora.is_none()
    }

    /// What trains, in a fixed order: every weight's blocks, or the adapters.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.clone().parameters_mut().into_iter().map(Parameter::from).collect()
    }

    /// [`Llama::parameters`], to update.
    pub fn parameters_mut(&mut self) -> Vec<ParameterMut<'_>> {
        if self.lora.is_some() {
            return self.adapters_mut();
        }
        self.weights_mut()
    }

    /// The blocks of every weight that is held in f32, in a fixed order.
    pub fn weights(&self) -> Vec<Parameter> {
        self.clone().weights_mut().into_iter().map(Parameter::from).collect()
    }

    /// [`Llama::weights`], to fill.
    pub fn weights_mut(&mut self) -> Vec<ParameterMut<'_>> {
        let mut list = Vec::new();
        let hidden = self.config.hidden_size;
        self.embedding.collect(EMBEDDING, &mut list);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.collect(&format!("model.layers.{index}"), &mut list);
        }
        grow(&mut list, "model.norm.weight", vec![hidden], [&mut self.norm]);
        if let Some(head) = &mut self.head {
            head.collect(HEAD, &mut list);
        }
        list
    }

    /// How many numbers the weights held in f32 have.
    pub fn count(&self) -> usize {
        self.weights().iter().map(|p| p.tensor.dims().iter().product::<usize>()).sum()
    }

    /// What enters the first layer, [N, D], for tokens [N].
    pub(super) fn embed(&self, tokens: Tensor<1, Int>) -> Tensor<2> {
        let rows = self.embedding.select(tokens);
        match self.config.embedding_factor {
            1.0 => rows,
            factor => rows * factor,
        }
    }

    /// Hidden states after the final norm, [R, D], of a packed batch's tokens `[R]`.
    pub fn hidden(&self, tokens: Tensor<1, Int>, places: &Places) -> Tensor<2> {
        let mut x = self.embed(tokens);
        for index in 0..self.layers.len() {
            x = self.layer(index, x, places);
        }
        self.final_norm(x)
    }

    /// What positions mean to layer `index`.
    pub(super) fn rope(&self, index: usize) -> &Rope {
        let is_local = |local: &Local| local.layers[index];
        let local = self.local_rope.as_ref();
        local.filter(|_| self.config.local.as_ref().is_some_and(is_local)).unwrap_or(&self.rope)
    }

    /// The residual stream [R, D] after layer `index`.
    pub(super) fn layer(&self, index: usize, x: Tensor<2>, places: &Places) -> Tensor<2> {
        let (shape, rope) = (self.attention_shape(), self.rope(index));
        let attend = |q, k, v| attention(q, k, v, shape, places, rope);
        self.layers[index].forward(x, &self.config, Linear::forward, attend)
    }

    /// Hidden states [P, D] at the ends of packed prompts, whose tokens are `[N]`, leaving their keys and values in fresh
    /// caches, one a layer: a row for each branch of `places`, with room for `room` more positions.
    pub fn prefill(
        &self,
        tokens: Tensor<1, Int>,
        places: &Places,
        room: usize,
        cache: CacheDtype,
    ) -> (Tensor<2>, Vec<KvCache>) {
        let shape = self.attention_shape();
        let mut caches = Vec::with_capacity(self.layers.len());
        let ends = places.ends();
        let mut x = self.embed(tokens);
        for (index, layer) in self.layers.iter().enumerate() {
            let rope = self.rope(index);
            x = layer.forward(x, &self.config, Linear::step, |q, k, v| {
                let kv = [k.clone(), v.clone()];
                caches.push(KvCache::new(kv, shape.head_dim, places, room, cache, rope));
                attention(q, k, v, shape, places, rope)
            });
        }
        (self.final_norm(x.select(0, ends)), caches)
    }

    /// Hidden states [B, D] of one more token a row, `[B]`, appended to the caches.
    pub fn decode(&self, tokens: Tensor<1, Int>, caches: &mut [KvCache]) -> Tensor<2> {
        in_pool(&self.device(), || {
            let mut x = self.embed(tokens);
            for (index, (layer, cache)) in self.layers.iter().zip(caches).enumerate() {
                let rope = self.rope(index);
                let attend = |q, k, v| decode_attention(q, k, v, cache, rope);
                x = layer.forward(x, &self.config, Linear::step, attend);
            }
            self.final_norm(x)
        })
    }

    /// Hidden states [N, D] of N more tokens of one row, `[N]`, appended to its caches one after the other.
    pub fn extend(&self, tokens: Tensor<1, Int>, caches: &mut [KvCache]) -> Tensor<2> {
        let mut x = self.embed(tokens);
        for (index, (layer, cache)) in self.layers.iter().zip(caches).enumerate() {
            let rope = self.rope(index);
            x = layer.forward(x, &self.config, Linear::step, |q, k, v| {
                let at = |x: &Tensor<2>, i| x.clone().narrow(0, i, 1);
                let one = |i| decode_attention(at(&q, i), at(&k, i), at(&v, i), cache, rope);
                Tensor::cat((0..q.dims()[0]).map(one).collect(), 0)
            });
        }
        self.final_norm(x)
    }

    /// Logits [N, V] of hidden states [N, D]: for decoding, where N is a batch's rows.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        // The CPU's product takes a block as it is held: only others are widened by parts.
        let on_cpu = runs_on(&self.device());
        let parts = if on_cpu { self.head_blocks() } else { self.head() };
        if let [whole] = parts.as_slice() {
            return linear_by(hidden, whole);
        }
        let parts = parts.iter().map(|part| linear_by(hidden.clone(), part)).collect();
        Tensor::cat(parts, 1)
    }

    pub(super) fn final_norm(&self, x: Tensor<2>) -> Tensor<2> {
        norm(x, &self.norm, &self.config)
    }

    pub(super) fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
        }
    }
}

/// Adapters; a page has none.
impl Llama {
    fn adapters_mut(&mut self) -> Vec<ParameterMut<'_>> {
        let mut list = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (name, matrix) in layer.matrices() {
                matrix.collect_adapter(&format!("model.layers.{index}.{name}"), &mut list);
            }
        }
        list
    }

    /// Freezes the weights and adds fresh adapters to the matrices that `lora` names: A uniform within
    /// ±1/√In, as in PEFT, B zero, so that the model's outputs stay the same.
    pub fn adapt(&mut self, lora: Lora, seed: u64) {
        let device = self.device();
        for (_, matrix) in
            self.layers.iter_mut().flat_map(Layer::matrices).filter(|(name, _)| lora.adapts(name))
        {
            matrix.adapt(lora.rank, lora.scale(), &device);
        }
        self.lora = Some(lora);
        for (index, p) in self.parameters_mut().into_iter().enumerate() {
            if p.name.ends_with("lora_A.weight") {
                let mut stream = Stream::new(seed, purpose::ADAPTERS, index as u32);
                let [rank, input] = p.block_shape;
                let bound = 1.0 / (input as f32).sqrt();
                let values: Vec<f32> =
                    (0..rank * input).map(|_| bound * (2.0 * stream.unit() - 1.0)).collect();
                *p.tensor = Tensor::from_data(TensorData::new(values, [rank, input]), &device);
            }
        }
    }

    /// Embedding and head, if it is another, under Hugging Face's names; they can be held as they are stored.
    pub fn tables_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Table)> {
        let head = self.head.as_mut().map(|head| (HEAD, head));
        [(EMBEDDING, &mut self.embedding)].into_iter().chain(head)
    }

    /// Every layer's matrices under Hugging Face's names; these can be held as they are stored.
    pub fn matrices_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear)> {
        self.layers.iter_mut().enumerate().flat_map(|(index, layer)| {
            let named = |(name, matrix)| (format!("model.layers.{index}.{name}.weight"), matrix);
            layer.matrices().map(named)
        })
    }

    /// The model under the adapters; its weights are shared, not copied.
    pub fn without_adapters(&self) -> Self {
        let mut bare = Self { lora: None, ..self.clone() };
        bare.layers.iter_mut().flat_map(Layer::matrices).for_each(|(_, m)| m.drop_adapter());
        bare
    }

    /// Adds the adapters' changes to the weights, all of them then in f32; the whole model trains again.
    pub fn merge(&mut self) {
        let device = self.device();
        self.tables_mut().for_each(|(_, table)| table.widen(&device));
        self.layers.iter_mut().flat_map(Layer::matrices).for_each(|(_, matrix)| matrix.merge());
        self.lora = None;
    }
}
