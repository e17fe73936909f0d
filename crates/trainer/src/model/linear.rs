//! A matrix of the model, with its bias and its low-rank adapter where it has them.

use super::{ParameterMut, grow};
use crate::ops::dropout::{Key, dropout};
use crate::ops::linear::{adapted, linear, linear_by};
use crate::ops::matmul::matmul_nt;
use crate::ops::step::Term;
use crate::ops::weight::{FrozenMatrix, Weight};
use crate::platform::READS_MODELS;
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// x·Wᵀ + b, plus scale·x·Aᵀ·Bᵀ of an adapter.
#[derive(Debug, Clone)]
pub struct Linear {
    shape: [usize; 2],       // Out, In
    weight: Weight,          // [Out, In]
    bias: Option<Tensor<2>>, // [1, Out]
    adapter: Option<Adapter>,
}

/// A low-rank change of a matrix (Hu et al., 2021): scale·B·A, never formed while training.
#[derive(Debug, Clone)]
pub struct Adapter {
    down: Tensor<2>, // A, [r, In]
    up: Tensor<2>,   // B, [Out, r]
    scale: f64,
    dropout: Option<Dropout>, // for one forward pass
}

/// Which of its inputs an adapter drops.
#[derive(Debug, Clone)]
pub(super) struct Dropout {
    pub key: Key,
    pub place: u32,
    pub share: f64,
}

impl Linear {
    /// A matrix to be filled: until then it has no memory, and must not be used.
    pub fn empty(input: usize, output: usize, bias: bool, device: &Device) -> Self {
        Self {
            shape: [output, input],
            weight: Weight::Whole(Tensor::zeros([1, 1], device)),
            bias: bias.then(|| Tensor::zeros([1, output], device)),
            adapter: None,
        }
    }

    /// Its shape, [Out, In].
    pub fn dims(&self) -> [usize; 2] {
        self.shape
    }

    /// x [N, In] → [N, Out].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = linear_by(x.clone(), &self.weight);
        let y = match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        };
        if let Some(adapter) = &self.adapter {
            return y + adapter.forward(x);
        }
        y
    }

    /// The same for sampling, without a gradient: on the CPU the adapter's change is then part of the matrix's own sum.
    pub fn step(&self, x: Tensor<2>) -> Tensor<2> {
        let in_one = self.adapter.as_ref().and_then(|adapter| adapter.in_one(&x, &self.weight));
        match (in_one, &self.bias) {
            (Some(y), Some(bias)) => y + bias.clone(),
            (Some(y), None) => y,
            (None, _) => self.forward(x),
        }
    }

    /// The matrix with what it adds to its product, for a decoding step.
    pub fn term(&self) -> Term {
        let of = |a: &Adapter| (a.down.clone(), a.up.clone(), a.scale);
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        Term { weight, bias, adapter: self.adapter.as_ref().map(of) }
    }

    /// Appends weight, if it is in f32, and bias under Hugging Face's names.
    pub fn collect<'a>(&'a mut self, name: &str, list: &mut Vec<ParameterMut<'a>>) {
        let [output, input] = self.dims();
        if let Weight::Whole(weight) = &mut self.weight {
            list.push(ParameterMut {
                name: format!("{name}.weight"),
                shape: vec![output, input],
                first_row: 0,
                block_shape: [output, input],
                tensor: weight,
            });
        }
        grow(list, &format!("{name}.bias"), vec![output], &mut self.bias);
    }
}

/// Adapters.
impl Linear {
    /// Says what the adapter drops of its input, if there is an adapter.
    pub(super) fn set_dropout(&mut self, dropout: Dropout) {
        if let Some(adapter) = &mut self.adapter {
            adapter.dropout = Some(dropout);
        }
    }

    /// Appends the adapter's two matrices under PEFT's names.
    pub fn collect_adapter<'a>(&'a mut self, name: &str, list: &mut Vec<ParameterMut<'a>>) {
        if let Some(Adapter { down, up, .. }) = &mut self.adapter {
            for (matrix, tensor) in [("lora_A", down), ("lora_B", up)] {
                let name = format!("base_model.model.{name}.{matrix}.weight");
                grow(list, &name, tensor.dims().to_vec(), [tensor]);
            }
        }
    }

    /// Adds an adapter of rank `rank`, all zeros.
    pub fn adapt(&mut self, rank: usize, scale: f64, device: &Device) {
        let [output, input] = self.dims();
        let (down, up) =
            (Tensor::zeros([rank, input], device), Tensor::zeros([output, rank], device));
        self.adapter = Some(Adapter { down, up, scale, dropout: None });
    }

    /// Replaces the matrix by a frozen one in a form other than f32.
    pub fn freeze(&mut self, weight: Arc<dyn FrozenMatrix>) {
        self.weight = Weight::Frozen(weight);
    }

    /// Drops the adapter, and with it its change.
    pub fn drop_adapter(&mut self) {
        self.adapter = None;
    }

    /// Adds the adapter's change, if there is one, to the weight (then in f32), and drops the adapter.
    pub fn merge(&mut self) {
        self.weight = Weight::Whole(self.merged());
        self.adapter = None;
    }

    /// The weight in f32 with the adapter's change, if there is one.
    pub fn merged(&self) -> Tensor<2> {
        let weight = self.weight.widen();
        match &self.adapter {
            Some(Adapter { down, up, scale, .. }) => {
                weight + matmul_nt(up.clone(), down.clone().transpose()) * *scale
            }
            None => weight,
        }
    }
}

impl Adapter {
    /// The matrix's product and its change at once, where that can be.
    fn in_one(&self, x: &Tensor<2>, weight: &Weight) -> Option<Tensor<2>> {
        match self.dropout {
            None => adapted(x, weight, [&self.down, &self.up], self.scale),
            Some(_) => None,
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = match &self.dropout {
            Some(Dropout { key, place, share }) if READS_MODELS => dropout(x, key, *place, *share),
            _ => x,
        };
        // [N, r] is the smallest that the scale can act on.
        linear(linear(x, self.down.clone()) * self.scale, self.up.clone())
    }
}
