//! A decoder layer: attention and a gated layer, each after a norm and added to the residual stream; where
//! the architecture has it, through another norm.

use super::linear::Linear;
use super::{ModelConfig, ParameterMut, grow};
use crate::ops::glu::glu;
use crate::ops::rms_norm::rms_norm;
use burn::tensor::{Device, Tensor};

/// The weights of a decoder layer.
#[derive(Debug, Clone)]
pub struct Layer {
    pub(super) input_norm: Tensor<2>, // [1, D]
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    pub(super) query_norm: Option<Tensor<2>>,    // [1, dh]
    pub(super) key_norm: Option<Tensor<2>>,      // [1, dh]
    pub(super) attended_norm: Option<Tensor<2>>, // [1, D], of what attention gives
    pub(super) gate_norm: Tensor<2>,             // [1, D]
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) gated_norm: Option<Tensor<2>>, // [1, D], of what the gated layer gives
}

impl Layer {
    /// All weights zero.
    pub fn empty(config: &ModelConfig, device: &Device) -> Self {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let (qkv_bias, mlp_bias) = (config.qkv_bias, config.mlp_bias);
        let head_norm = || config.qk_norm.then(|| Tensor::zeros([1, config.head_dim], device));
        let norm_after = || config.norms_after.then(|| Tensor::zeros([1, d], device));
        Self {
            input_norm: Tensor::zeros([1, d], device),
            query: Linear::empty(d, q, qkv_bias, device),
            key: Linear::empty(d, kv, qkv_bias, device),
            value: Linear::empty(d, kv, qkv_bias, device),
            output: Linear::empty(q, d, config.output_bias, device),
            query_norm: head_norm(),
            key_norm: head_norm(),
            attended_norm: norm_after(),
            gate_norm: Tensor::zeros([1, d], device),
            gate: Linear::empty(d, f, mlp_bias, device),
            up: Linear::empty(d, f, mlp_bias, device),
            down: Linear::empty(f, d, mlp_bias, device),
            gated_norm: norm_after(),
        }
    }

    /// x [N, D] → [N, D], its matrices multiplied by `product`; `attend` turns queries, keys and values into
    /// [N, heads·head_dim].
    pub fn forward(
        &self,
        x: Tensor<2>,
        config: &ModelConfig,
        product: fn(&Linear, Tensor<2>) -> Tensor<2>,
        attend: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let norm = |x: Tensor<2>, weight: &Tensor<2>| norm(x, weight, config);
        let after = |x: Tensor<2>, weight: &Option<Tensor<2>>| match weight {
            Some(weight) => norm(x, weight),
            None => x,
        };
        let of_heads = |x: Tensor<2>, weight: &Option<Tensor<2>>| match weight {
            Some(weight) => {
                let [n, width] = x.dims();
                let heads = x.reshape([n * width / config.head_dim, config.head_dim]);
                norm(heads, weight).reshape([n, width])
            }
            None => x,
        };
        let h = norm(x.clone(), &self.input_norm);
        let q = of_heads(product(&self.query, h.clone()), &self.query_norm);
        let q = if config.query_factor == 1.0 { q } else { q * config.query_factor };
        let k = of_heads(product(&self.key, h.clone()), &self.key_norm);
        let attended = product(&self.output, attend(q, k, product(&self.value, h)));
        let x = x + after(attended, &self.attended_norm);
        let h = norm(x.clone(), &self.gate_norm);
        let h = glu(product(&self.gate, h.clone()), product(&self.up, h), config.activation);
        x + after(product(&self.down, h), &self.gated_norm)
    }

    /// The matrices under Hugging Face's names within the layer.
    pub fn matrices(&mut self) -> [(&'static str, &mut Linear); 7] {
        [
            ("self_attn.q_proj", &mut self.query),
            ("self_attn.k_proj", &mut self.key),
            ("self_attn.v_proj", &mut self.value),
            ("self_attn.o_proj", &mut self.output),
            ("mlp.gate_proj", &mut self.gate),
            ("mlp.up_proj", &mut self.up),
            ("mlp.down_proj", &mut self.down),
        ]
    }

    /// Appends the weights under Hugging Face's names.
    pub fn collect<'a>(&'a mut self, layer: &str, list: &mut Vec<ParameterMut<'a>>) {
        let norm = |name: &str, tensor: Option<&'a mut Tensor<2>>, list: &mut Vec<_>| {
            if let Some(tensor) = tensor {
                let shape = vec![tensor.dims()[1]];
                grow(list, &format!("{layer}.{name}.weight"), shape, [tensor]);
            }
        };
        norm("input_layernorm", Some(&mut self.input_norm), list);
        self.query.collect(&format!("{layer}.self_attn.q_proj"), list);
        self.key.collect(&format!("{layer}.self_attn.k_proj"), list);
        self.value.collect(&format!("{layer}.self_attn.v_proj"), list);
        self.output.collect(&format!("{layer}.self_attn.o_proj"), list);
        norm("self_attn.q_norm", self.query_norm.as_mut(), list);
        norm("self_attn.k_norm", self.key_norm.as_mut(), list);
        let before_gate = match self.attended_norm {
            Some(_) => "pre_feedforward_layernorm",
            None => "post_attention_layernorm",
        };
        norm("post_attention_layernorm", self.attended_norm.as_mut(), list);
        norm(before_gate, Some(&mut self.gate_norm), list);
        self.gate.collect(&format!("{layer}.mlp.gate_proj"), list);
        self.up.collect(&format!("{layer}.mlp.up_proj"), list);
        self.down.collect(&format!("{layer}.mlp.down_proj"), list);
        norm("post_feedforward_layernorm", self.gated_norm.as_mut(), list);
    }
}

/// RMSNorm of x [N, W] with a weight [1, W] as it is stored.
pub(super) fn norm(x: Tensor<2>, weight: &Tensor<2>, config: &ModelConfig) -> Tensor<2> {
    let weight = as_multiplied(weight.clone(), config).squeeze_dim(0);
    rms_norm(x, weight, config.rms_norm_eps as f32)
}

/// A norm's weight as it multiplies.
pub(super) fn as_multiplied(weight: Tensor<2>, config: &ModelConfig) -> Tensor<2> {
    if config.norm_offset == 0.0 { weight } else { weight + config.norm_offset }
}
