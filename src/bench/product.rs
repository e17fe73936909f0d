//! One product x [M, K] · Wᵀ [K, N], in each way that there is: first whether it is right, then how long it takes.

use super::clock::Clock;
use super::noise;
use super::record::Work;
use crate::error::{Error, Result};
use crate::ops::adapter::{Units, units_of};
use crate::ops::cube;
use crate::ops::fused::runs_on;
use crate::ops::linear::linear_by;
use crate::ops::matmul::{Product, Tile, Way, matmul_nt_by};
use crate::ops::readback;
use crate::ops::step::Joined;
use crate::ops::weight::Weight;
use crate::platform::Stopwatch;
use burn::tensor::{Device, Int, Tensor};

/// Each product takes the next of so many copies of its matrix that no cache holds them all: in a model, too, each
/// matrix comes from memory.
const COPIES_BYTES: usize = 64 << 20;
const COPIES: usize = 1024;

/// So many rows are taken for those of a decoding step, more for a prompt or a micro-batch.
const DECODED: usize = 64;

/// Columns that are compared with sums in f64, of up to three rows.
const COMPARED: usize = 512;

/// Who computes a product.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum By {
    /// burn's own product.
    Burn,
    /// What the model uses for a matrix in f32.
    Srft,
    /// What it uses for a matrix in bfloat16.
    SrftBf16,
    /// The shader for many rows, with each of its tiles.
    Tiles(Tile),
    /// The shader that a page has for all products.
    Page,
}

impl By {
    /// Those that an adapter has.
    pub fn all(device: &Device) -> Vec<Self> {
        match runs_on(device) {
            true => vec![Self::Burn, Self::Srft, Self::SrftBf16], // the page's is burn's there
            false => vec![
                Self::Burn,
                Self::Srft,
                Self::SrftBf16,
                Self::Tiles(Tile::Large),
                Self::Tiles(Tile::Small),
                Self::Page,
            ],
        }
    }

    /// As it is called in tables and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Burn => "burn",
            Self::Srft => "srft",
            Self::SrftBf16 => "srft bf16",
            Self::Tiles(Tile::Large) => "tiles 128",
            Self::Tiles(Tile::Small) => "tiles 64",
            Self::Page => "page",
        }
    }

    /// Whether it is worth measuring: tiles are for many rows, and for whole vectors.
    fn suits(self, rows: usize, [columns, depth]: [usize; 2]) -> bool {
        let product = Product { rows, columns, depth, a_by_k: false, b_by_k: false };
        !matches!(self, Self::Tiles(_)) || rows >= DECODED && product.in_fours()
    }

    /// Bytes of a number of its matrix.
    fn bytes(self) -> usize {
        if self == Self::SrftBf16 { 2 } else { 4 }
    }

    fn product(self, x: Tensor<2>, weight: &Weight) -> Tensor<2> {
        match (self, weight) {
            (Self::Burn, Weight::Whole(weight)) => x.matmul(weight.clone().transpose()),
            (Self::Tiles(tile), Weight::Whole(weight)) => {
                matmul_nt_by(x, weight.clone(), Way::Tiles(tile))
            }
            (Self::Page, Weight::Whole(weight)) => matmul_nt_by(x, weight.clone(), Way::OneKernel),
            _ if x.dims()[0] <= DECODED && cube::runs_on(&x.device()) => {
                let joined = Joined::new(&[weight.clone().into()]);
                joined.expect("a named shape's rows are whole vectors").product(x).sum()
            }
            _ => linear_by(x, weight),
        }
    }
}

/// A matrix [N, K], often enough.
pub struct Matrix {
    dims: [usize; 2],
    whole: Vec<Weight>,
    bf16: Vec<Weight>,
    device: Device,
}

impl Matrix {
    /// A random one, its copies made within about `secs`; in bfloat16 too if that is measured.
    pub fn new(dims: [usize; 2], with_bf16: bool, secs: f64, device: &Device) -> Self {
        let first = noise::matrix(dims, 1.0, device);
        let halves = noise::halves(dims[0] * dims[1], 1.0);
        let copies = (COPIES_BYTES / (4 * dims[0] * dims[1])).clamp(1, COPIES);
        let mut matrix = Self { dims, whole: Vec::new(), bf16: Vec::new(), device: device.clone() };
        let making = Stopwatch::start();
        for copy in 0..copies {
            if copy > 0 && making.elapsed_secs() > secs {
                break;
            }
            // An operation's result is a buffer of its own.
            matrix.whole.push(Weight::Whole(first.clone() + 0.0));
            if with_bf16 {
                matrix.bf16.extend(noise::in_bf16(&halves, dims[0], device));
            }
        }
        matrix
    }

    /// What a product with `m` rows must do.
    pub fn work(&self, m: usize, by: By) -> Work {
        let [n, k] = self.dims;
        let bytes = by.bytes() * n * k + 4 * m * (n + k);
        Work { bytes: bytes as f64, flop: 2.0 * (m * n * k) as f64 }
    }

    /// `m` random rows to multiply it by.
    pub fn rows(&self, m: usize) -> Tensor<2> {
        noise::matrix([m, self.dims[1]], 1.0, &self.device)
    }

    /// Seconds of a product with these rows, within `secs`; `None` if it can't be computed so.
    pub async fn measure(
        &self,
        clock: &Clock<'_>,
        x: &Tensor<2>,
        by: By,
        secs: f64,
    ) -> Result<Option<f64>> {
        let weights = if by == By::SrftBf16 { &self.bf16 } else { &self.whole };
        let Some(first) = weights.first() else { return Ok(None) };
        let ([n, k], m) = (self.dims, x.dims()[0]);
        if !by.suits(m, self.dims) {
            return Ok(None);
        }
        self.verify(by.product(x.clone(), first), m)
            .await
            .map_err(|e| e.at(format!("{} product of {m} × {k} by {n} × {k}", by.name())))?;
        let mut next = weights.iter().cycle();
        let work = || drop(by.product(x.clone(), next.next().expect("it goes round")));
        clock.queued(&self.device, secs, work).await.map(Some)
    }

    /// The first, the middle and the last row against sums in f64.
    async fn verify(&self, out: Tensor<2>, m: usize) -> Result<()> {
        let [n, k] = self.dims;
        let mut rows = vec![0, m / 2, m - 1];
        rows.dedup();
        let columns: Vec<usize> = (0..n).step_by(n.div_ceil(COMPARED)).collect();
        let picked = |indices: &[usize]| -> Tensor<1, Int> {
            let indices: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
            Tensor::from_ints(indices.as_slice(), &self.device)
        };
        let got =
            readback::floats(out.select(0, picked(&rows)).select(1, picked(&columns))).await?;
        let bound = match units_of(&self.device) {
            Some(Units { split: false, .. }) => 1e-2, // of 11 bits
            _ => 1e-4,
        };
        let number = |line: usize, i: usize| f64::from(noise::number(line * k + i));
        let places = rows.iter().flat_map(|&row| columns.iter().map(move |&column| [row, column]));
        for ([row, column], got) in places.zip(got) {
            let sum: f64 = (0..k).map(|i| number(row, i) * number(column, i)).sum();
            // x's rows are W's first ones: a row by itself has a sum of squares, which rounds by its size.
            let off = (f64::from(got) - sum).abs() / (k as f64).sqrt().max(sum.abs());
            if off.is_nan() || off >= bound {
                let what = format!("[{row}, {column}] is {got} where {sum} is right");
                return Err(Error::numbers(what).next("update the driver, or use --device cpu"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    #[test]
    fn every_way_is_right_and_one_wrong_number_is_found() {
        let device = Device::flex();
        let matrix = Matrix::new([300, 258], true, 1.0, &device);
        let x = matrix.rows(5);
        for by in [By::Burn, By::Srft, By::SrftBf16, By::Page] {
            let weights = if by == By::SrftBf16 { &matrix.bf16 } else { &matrix.whole };
            let out = by.product(x.clone(), &weights[0]);
            block_on(matrix.verify(out.clone(), 5)).unwrap();
            for wrong in [0.01, f32::NAN] {
                let spoiled = out
                    .clone()
                    .slice_assign([4..5, 299..300], Tensor::full([1, 1], wrong, &device));
                let error = block_on(matrix.verify(spoiled, 5)).unwrap_err();
                assert!(error.what.starts_with("[4, 299] is"), "{error}");
            }
        }
    }
}
