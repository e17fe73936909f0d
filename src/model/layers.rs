//! A decoder layer: norm, attention, norm, SwiGLU, each added to the residual stream.

use super::{ModelConfig, ParameterMut};
use crate::ops::linear::linear;
use crate::ops::rms_norm::rms_norm;
use crate::ops::swiglu::swiglu;
use burn::tensor::{Device, Tensor};

/// A matrix in Hugging Face's layout with an optional bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor<2>,       // [Out, In]
    bias: Option<Tensor<2>>, // [1, Out]
}

impl Linear {
    fn empty(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        Self {
            weight: Tensor::zeros([output, input], device),
            bias: bias.then(|| Tensor::zeros([1, output], device)),
        }
    }

    /// x·Wᵀ for x [N, In] and W [Out, In].
    pub fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        linear(x, weight)
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = linear(x, self.weight.clone());
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor<2>> {
        std::iter::once(&self.weight).chain(&self.bias)
    }

    fn collect<'a>(&'a mut self, name: &str, list: &mut Vec<ParameterMut<'a>>) {
        let [output, input] = self.weight.dims();
        grow(list, &format!("{name}.weight"), vec![output, input], [&mut self.weight]);
        grow(list, &format!("{name}.bias"), vec![output], &mut self.bias);
    }
}

/// Appends the blocks of one weight to a parameter list.
pub fn grow<'a>(
    list: &mut Vec<ParameterMut<'a>>,
    name: &str,
    shape: Vec<usize>,
    blocks: impl IntoIterator<Item = &'a mut Tensor<2>>,
) {
    let mut first_row = 0;
    for tensor in blocks {
        let block_shape = tensor.dims();
        list.push(ParameterMut {
            name: name.into(),
            shape: shape.clone(),
            first_row,
            block_shape,
            tensor,
        });
        first_row += block_shape[0];
    }
}

/// The weights of a decoder layer.
#[derive(Debug, Clone)]
pub struct Layer {
    input_norm: Tensor<2>, // [1, D]
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    post_norm: Tensor<2>, // [1, D]
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Layer {
    /// All weights zero.
    pub fn empty(config: &ModelConfig, device: &Device) -> Self {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let (attention, mlp) = (config.attention_bias, config.mlp_bias);
        Self {
            input_norm: Tensor::zeros([1, d], device),
            query: Linear::empty(d, q, attention, device),
            key: Linear::empty(d, kv, attention, device),
            value: Linear::empty(d, kv, attention, device),
            output: Linear::empty(q, d, attention, device),
            post_norm: Tensor::zeros([1, d], device),
            gate: Linear::empty(d, f, mlp, device),
            up: Linear::empty(d, f, mlp, device),
            down: Linear::empty(f, d, mlp, device),
        }
    }

    /// x [N, D] → [N, D]; `attend` turns queries, keys and values into [N, heads·head_dim].
    pub fn forward(
        &self,
        x: Tensor<2>,
        config: &ModelConfig,
        attend: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let norm = |x: Tensor<2>, weight: &Tensor<2>| {
            rms_norm(x, weight.clone().squeeze_dim(0), config.rms_norm_eps as f32)
        };
        let h = norm(x.clone(), &self.input_norm);
        let (q, k) = (self.query.forward(h.clone()), self.key.forward(h.clone()));
        let x = x + self.output.forward(attend(q, k, self.value.forward(h)));
        let h = norm(x.clone(), &self.post_norm);
        let h = swiglu(self.gate.forward(h.clone()), self.up.forward(h));
        x + self.down.forward(h)
    }

    /// The weights in the order of [`Layer::collect`].
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor<2>> {
        std::iter::once(&self.input_norm)
            .chain(
                [&self.query, &self.key, &self.value, &self.output]
                    .map(Linear::tensors)
                    .into_iter()
                    .flatten(),
            )
            .chain(std::iter::once(&self.post_norm))
            .chain([&self.gate, &self.up, &self.down].map(Linear::tensors).into_iter().flatten())
    }

    /// Appends the weights under Hugging Face's names.
    pub fn collect<'a>(&'a mut self, layer: &str, list: &mut Vec<ParameterMut<'a>>) {
        let width = self.input_norm.dims()[1];
        grow(list, &format!("{layer}.input_layernorm.weight"), vec![width], [&mut self.input_norm]);
        self.query.collect(&format!("{layer}.self_attn.q_proj"), list);
        self.key.collect(&format!("{layer}.self_attn.k_proj"), list);
        self.value.collect(&format!("{layer}.self_attn.v_proj"), list);
        self.output.collect(&format!("{layer}.self_attn.o_proj"), list);
        let post = format!("{layer}.post_attention_layernorm.weight");
        grow(list, &post, vec![width], [&mut self.post_norm]);
        self.gate.collect(&format!("{layer}.mlp.gate_proj"), list);
        self.up.collect(&format!("{layer}.mlp.up_proj"), list);
        self.down.collect(&format!("{layer}.mlp.down_proj"), list);
    }
}
