//! What positions mean to attention: rotary tables, and how far a position sees.

use burn::tensor::{Device, Tensor, TensorData};
use srft_formats::model::Scaling;
use std::sync::Arc;

/// Tables of cos and sin of position·frequency, [positions, dh/2].
#[derive(Debug, Clone)]
pub struct Rope {
    /// The host's copy: the CPU kernels read it.
    pub(super) table: Arc<Table>,
    /// The device's copy, cos and then sin, outside autodiff.
    pub(super) turns: Tensor<3>,
    /// Its halves.
    pub(super) cos: Tensor<2>,
    pub(super) sin: Tensor<2>,
    /// How many positions a position sees, its own included.
    pub(super) window: usize,
}

/// cos and sin, [positions, dh/2] each, computed in f64.
#[derive(Debug)]
pub(super) struct Table {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pub half: usize,
}

impl Rope {
    /// Tables for the positions `0..positions` of heads of width `head_dim`, θ = `theta`.
    pub fn new(
        positions: usize,
        head_dim: usize,
        theta: f64,
        scaling: Scaling,
        device: &Device,
    ) -> Self {
        let half = head_dim / 2;
        let frequency = |i: usize| theta.powf(-((2 * i) as f64) / head_dim as f64);
        let frequencies: Vec<f64> = (0..half).map(|i| scaling.apply(frequency(i))).collect();
        let angle = |i: usize| (i / half) as f64 * frequencies[i % half];
        let table = |f: fn(f64) -> f64| -> Vec<f32> {
            (0..positions * half).map(|i| f(angle(i)) as f32).collect()
        };
        let (cos, sin) = (table(f64::cos), table(f64::sin));
        let device = device.clone().without_autodiff();
        let turns = TensorData::new([&cos[..], &sin[..]].concat(), [2, positions, half]);
        let turns = Tensor::<3>::from_data(turns, &device);
        let half_of = |i| turns.clone().narrow(0, i, 1).squeeze_dim(0);
        Self {
            cos: half_of(0),
            sin: half_of(1),
            turns,
            table: Arc::new(Table { cos, sin, half }),
            window: usize::MAX,
        }
    }

    /// The same positions, of which each sees only the nearest `window`, its own included.
    #[must_use]
    pub fn within(self, window: usize) -> Self {
        assert!(window > 0, "a position sees itself");
        Self { window, ..self }
    }

    /// How many positions the tables hold.
    pub fn positions(&self) -> usize {
        self.table.cos.len() / self.table.half
    }

    /// Rotates `x` [.., dh] by its position's `cos` and `sin`, broadcast to [.., dh/2].
    pub(super) fn rotate<const D: usize>(
        x: Tensor<D>,
        cos: Tensor<D>,
        sin: Tensor<D>,
    ) -> Tensor<D> {
        let half = cos.dims()[D - 1];
        let (low, high) = (x.clone().narrow(D - 1, 0, half), x.narrow(D - 1, half, half));
        Tensor::cat(
            vec![low.clone() * cos.clone() - high.clone() * sin.clone(), high * cos + low * sin],
            D - 1,
        )
    }
}

impl Table {
    /// Writes `x` [dh], rotated to `position` and multiplied by `scale`, into `out`. Element i of the
    /// first half is paired with element i of the second (Hugging Face's `rotate_half`).
    #[inline(always)]
    pub fn rotate(&self, position: usize, scale: f32, x: &[f32], out: &mut [f32]) {
        let (x_low, x_high) = x.split_at(self.half);
        let (out_low, out_high) = out.split_at_mut(self.half);
        let outs = out_low.iter_mut().zip(&mut out_high[..self.half]);
        for ((out, (&low, &high)), (&cos, &sin)) in
            outs.zip(x_low.iter().zip(x_high)).zip(self.at(position))
        {
            *out.0 = (low * cos - high * sin) * scale;
            *out.1 = (high * cos + low * sin) * scale;
        }
    }

    /// The inverse of `rotate`, which is its transpose: how gradients pass back through it.
    #[inline(always)]
    pub fn rotate_back(&self, position: usize, scale: f32, x: &[f32], out: &mut [f32]) {
        let (x_low, x_high) = x.split_at(self.half);
        let (out_low, out_high) = out.split_at_mut(self.half);
        let outs = out_low.iter_mut().zip(&mut out_high[..self.half]);
        for ((out, (&low, &high)), (&cos, &sin)) in
            outs.zip(x_low.iter().zip(x_high)).zip(self.at(position))
        {
            *out.0 = (low * cos + high * sin) * scale;
            *out.1 = (high * cos - low * sin) * scale;
        }
    }

    /// The pairs (cos, sin) of a position.
    #[inline(always)]
    fn at(&self, position: usize) -> impl Iterator<Item = (&f32, &f32)> {
        let row = position * self.half..(position + 1) * self.half;
        self.cos[row.clone()].iter().zip(&self.sin[row])
    }
}
