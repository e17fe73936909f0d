//! Products of matrices, and the matrices that they read.

use super::{Checks, FORWARD, MATRIX_UNITS, peaky, wide};
use crate::error::Result;
use crate::ops::adapter::Units;
use crate::ops::matmul::{Tile, Way, matmul_nt, matmul_nt_by, reference as matmul_reference};
use crate::ops::readback::floats as read;
use crate::ops::step::Joined;
use crate::ops::stored::{BlockType, StoredMatrix, reference as stored_reference};
use crate::ops::weight::Weight;
use burn::tensor::Tensor;
use std::sync::Arc;

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    /// More than one tile in each direction, and long enough for the sum to be split.
    pub(super) async fn matrix_products(&mut self) -> Result<()> {
        let (m, n, k) = (70, 33, 600);
        let (a, b) = (peaky(m * k, 8), peaky(n * k, 9));
        let b: Vec<f32> = b.iter().map(|x| 0.1 * x).collect();
        self.poison(&[m * n, 2 * m * n]).await?;
        let product = matmul_nt(self.floats(&a, [m, k]), self.floats(&b, [n, k]));
        let expected = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k);
        self.compare("matmul_nt", read(product).await?, &expected, FORWARD);
        Ok(())
    }

    /// A decoding step's products: each size of its tile, and a sum in parts that are not whole.
    pub(super) async fn few_rows(&mut self) -> Result<()> {
        let (n, k) = (33, 604);
        let b: Vec<f32> = peaky(n * k, 11).iter().map(|x| 0.1 * x).collect();
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for m in [2, 9, 70] {
            let a = peaky(m * k, 10);
            self.poison(&[m * n, 4 * m * n]).await?;
            got.extend(self.few(&a, self.floats(&b, [n, k]).into()).await?);
            expected.extend(matmul_reference::matmul_nt(&wide(&a), &wide(&b), k));
        }
        self.compare("matmul_few", got, &expected, FORWARD);
        Ok(())
    }

    /// x·Wᵀ as a decoding step has it.
    async fn few(&self, x: &[f32], weight: Weight) -> Result<Vec<f32>> {
        let k = weight.dims()[1];
        let x = self.floats(x, [x.len() / k, k]);
        read(Joined::new(&[weight.into()]).expect("whole vectors").product(x).sum()).await
    }

    /// A batch's products: both tiles, several of each, the matrices as forward and backward pass have them, and a
    /// sum in parts.
    pub(super) async fn many_rows(&mut self) -> Result<()> {
        let (m, n, k) = (132, 68, 600);
        let a = peaky(m * k, 13);
        let b: Vec<f32> = peaky(n * k, 14).iter().map(|x| 0.1 * x).collect();
        let product = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k);
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for tile in [Tile::Large, Tile::Small] {
            for [a_by_k, b_by_k] in [[false, false], [false, true], [true, true]] {
                let (a, b) = (self.lying(&a, k, a_by_k), self.lying(&b, k, b_by_k));
                self.poison(&[m * n, 2 * m * n]).await?;
                got.extend(read(matmul_nt_by(a, b, Way::Tiles(tile))).await?);
                expected.extend(&product);
            }
        }
        self.compare("matmul_many", got, &expected, FORWARD);
        Ok(())
    }

    /// Large products: broken tiles, a sum in parts, the matrices as forward and backward pass have them, lines of sizes
    /// that f16 doesn't hold.
    pub(super) async fn matrix_units(&mut self, units: Units) -> Result<()> {
        let (m, n, k) = (132, 140, 600);
        let size = |line: usize| [1.0, f32::powi(2.0, -60), f32::powi(2.0, 30)][line % 3];
        let a: Vec<f32> =
            peaky(m * k, 15).iter().enumerate().map(|(i, x)| x * size(i / k)).collect();
        let b: Vec<f32> = peaky(n * k, 16).iter().map(|x| 0.004 * x).collect(); // sums of the size of 1
        let to_ones = |i: usize| 1.0 / size(i / n);
        let product = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k).into_iter();
        let product = product.enumerate().map(|(i, x)| x * f64::from(to_ones(i)));
        let product: Vec<f64> = product.collect();
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for [a_by_k, b_by_k] in [[false, false], [false, true], [true, true]] {
            let (a, b) = (self.lying(&a, k, a_by_k), self.lying(&b, k, b_by_k));
            self.poison(&[m * n, 2 * m * n]).await?;
            let out = read(matmul_nt_by(a, b, Way::Units(units))).await?;
            got.extend(out.into_iter().enumerate().map(|(i, x)| x * to_ones(i)));
            expected.extend(&product);
        }
        let bound = if units.split { FORWARD } else { 4e-3 };
        self.compare(MATRIX_UNITS, got, &expected, bound);
        Ok(())
    }

    /// [lines, k], or the same as a view of [k, lines].
    fn lying(&self, x: &[f32], k: usize, by_k: bool) -> Tensor<2> {
        let turned = || (0..k).flat_map(|j| x.iter().skip(j).step_by(k).copied());
        match by_k {
            true => self.floats(&turned().collect::<Vec<_>>(), [k, x.len() / k]).transpose(),
            false => self.floats(x, [x.len() / k, k]),
        }
    }

    /// Every exponent and sign of both 16-bit formats, in more than one workgroup; a block of each quantised
    /// type, whose bytes count up and whose scales are 1/16.
    pub(super) async fn stored_weights(&mut self) -> Result<()> {
        for (kind, name) in [(BlockType::F16, "widen, f16"), (BlockType::Bf16, "widen, bf16")] {
            let is_normal = |bits: &u16| {
                kind.first_not_finite(&bits.to_le_bytes()).is_none() && bits & 0x7f80 != 0
            };
            let numbers = (0..u16::MAX).step_by(31).filter(is_normal);
            let mut bytes: Vec<u8> = numbers.flat_map(u16::to_le_bytes).collect();
            bytes.truncate(bytes.len() / 4 * 4);
            self.widened(name, kind, &bytes).await?;
        }
        for (kind, name) in [
            (BlockType::Q4_0, "widen, Q4_0"),
            (BlockType::Q4_1, "widen, Q4_1"),
            (BlockType::Q5_0, "widen, Q5_0"),
            (BlockType::Q5_1, "widen, Q5_1"),
            (BlockType::Q8_0, "widen, Q8_0"),
            (BlockType::Q4K, "widen, Q4_K"),
            (BlockType::Q5K, "widen, Q5_K"),
            (BlockType::Q6K, "widen, Q6_K"),
        ] {
            let mut bytes: Vec<u8> = (0..kind.bytes()).map(|i| (37 * i + 11) as u8).collect();
            kind.scales().iter().for_each(|&at| bytes[at..at + 2].copy_from_slice(&[0, 0x2c]));
            self.widened(name, kind, &bytes).await?;
        }
        Ok(())
    }

    /// A decoding step's product with two rows of every type of block, of numbers of the size of 1.
    pub(super) async fn few_stored_rows(&mut self) -> Result<()> {
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for kind in [
            BlockType::F16,
            BlockType::Bf16,
            BlockType::Q4_0,
            BlockType::Q4_1,
            BlockType::Q5_0,
            BlockType::Q5_1,
            BlockType::Q8_0,
            BlockType::Q4K,
            BlockType::Q5K,
            BlockType::Q6K,
        ] {
            let k = kind.elements().max(8);
            let count = 2 * k / kind.elements() * kind.bytes();
            let mut bytes: Vec<u8> = (0..count).map(|i| (37 * i + 11) as u8).collect();
            for block in bytes.chunks_exact_mut(kind.bytes()) {
                for &at in kind.scales() {
                    block[at + 1] = match kind {
                        BlockType::F16 => block[at + 1] & 0x83 | 0x38,
                        BlockType::Bf16 => block[at + 1] & 0x80 | 0x3f,
                        _ => 0x2c,
                    };
                }
            }
            let x: Vec<f32> = peaky(3 * k, 12).iter().map(|x| 0.001 * x).collect();
            let matrix = StoredMatrix::new(&bytes, kind, 2, &self.device).expect("whole blocks");
            self.poison(&[3 * 2]).await?;
            got.extend(self.few(&x, Weight::Frozen(Arc::new(matrix))).await?);
            let matrix = stored_reference::widen(&bytes, kind);
            expected.extend(matmul_reference::matmul_nt(&wide(&x), &matrix, k));
        }
        self.compare("matmul_few, stored", got, &expected, FORWARD);
        Ok(())
    }

    async fn widened(&mut self, name: &'static str, kind: BlockType, bytes: &[u8]) -> Result<()> {
        let matrix = StoredMatrix::new(bytes, kind, 1, &self.device).expect("whole blocks");
        self.poison(&matrix.dims()).await?;
        let expected = stored_reference::widen(bytes, kind);
        self.compare(name, read(matrix.widen()).await?, &expected, 0.0);
        Ok(())
    }
}
