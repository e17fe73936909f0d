//! Stored weights: every number of both 16-bit formats, blocks of every type, and products with them.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Tensor, TensorData, bf16, f16};
use srft::ops::linear::linear;
use srft::ops::stored::{BlockType, StoredMatrix, reference};
use srft::random::Stream;

const HALVES: [BlockType; 2] = [BlockType::F16, BlockType::Bf16];

const QUANTISED: [BlockType; 8] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
    BlockType::Q4K,
    BlockType::Q5K,
    BlockType::Q6K,
];

/// Every finite number of 16 bits, in rows of two.
fn every(kind: BlockType) -> Vec<u8> {
    let numbers = (0..=u16::MAX).map(u16::to_le_bytes);
    numbers.filter(|bytes| kind.first_not_finite(bytes).is_none()).flatten().collect()
}

/// Blocks of random bytes: every bit of every field occurs both ways.
fn random_blocks(kind: BlockType, count: usize) -> Vec<u8> {
    let mut stream = Stream::new(5, kind.number(), 0);
    let mut bytes: Vec<u8> = (0..count * kind.bytes()).map(|_| stream.next_u32() as u8).collect();
    for block in bytes.chunks_exact_mut(kind.bytes()) {
        for &at in kind.scales() {
            while !f16::from_le_bytes([block[at], block[at + 1]]).is_finite() {
                block[at + 1] = block[at + 1].wrapping_mul(5).wrapping_add(1);
            }
        }
    }
    bytes
}

/// Both backends against the reference, bit for bit.
fn assert_widened(kind: BlockType, bytes: &[u8], rows: usize, columns: usize) {
    let expected = reference::widen(bytes, kind);
    assert_eq!(expected.len(), rows * columns);
    for (device, on) in devices() {
        let matrix = StoredMatrix::new(bytes, kind, rows, &on).unwrap();
        assert_eq!(matrix.dims(), [rows, columns]);
        let got = floats(matrix.widen());
        for (index, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            // An adapter may flush what is below f32's own normal range.
            let flushed = got == 0.0 && expected.abs() < f64::from(f32::MIN_POSITIVE);
            let same = got == expected as f32;
            assert!(same || flushed, "{device} {kind:?} [{index}]: {got:e}, not {expected:e}");
        }
    }
}

#[test]
fn every_finite_number_is_widened_exactly() {
    for (kind, count) in [(BlockType::F16, 63_488), (BlockType::Bf16, 65_280)] {
        let bytes = every(kind);
        let library: Vec<f64> = bytes
            .chunks_exact(2)
            .map(|b| match kind {
                BlockType::F16 => f16::from_le_bytes([b[0], b[1]]).to_f64(),
                _ => bf16::from_le_bytes([b[0], b[1]]).to_f64(),
            })
            .collect();
        assert_eq!(reference::widen(&bytes, kind), library);
        assert_widened(kind, &bytes, count / 2, 2);
    }
}

/// More than one workgroup and one task; an odd number of blocks, so that not all begin at a word.
#[test]
fn blocks_of_every_type_are_widened_exactly() {
    for kind in QUANTISED {
        let bytes = random_blocks(kind, 3 * 201);
        assert_widened(kind, &bytes, 3, 201 * kind.elements());
    }
}

#[test]
fn products_and_gradients_are_those_of_the_wide_matrix() {
    let (n, output) = (5, 33);
    let mut stream = Stream::new(3, 0, 0);
    let mut normals = |count: usize| -> Vec<f32> { (0..count).map(|_| stream.normal()).collect() };
    let weight = normals(output * 70);
    let halves = |kind: BlockType| -> Vec<u8> {
        let bits = weight.iter().map(|&w| match kind {
            BlockType::Bf16 => bf16::from_f32(w).to_bits(),
            _ => f16::from_f32(w).to_bits(),
        });
        bits.flat_map(u16::to_le_bytes).collect()
    };
    // Scales of 1/16, so that the products are of the size of 1.
    let mut cases: Vec<_> = HALVES.into_iter().map(|kind| (kind, halves(kind))).collect();
    for kind in QUANTISED {
        let mut bytes = random_blocks(kind, 2 * output);
        for block in bytes.chunks_exact_mut(kind.bytes()) {
            kind.scales().iter().for_each(|&at| block[at..at + 2].copy_from_slice(&[0, 0x2c]));
        }
        cases.push((kind, bytes));
    }
    for (kind, bytes) in cases {
        let input = bytes.len() / output / kind.bytes() * kind.elements();
        let (x, upstream) = (normals(n * input), normals(n * output));
        for (device, on) in devices() {
            let tensor = |values: &[f32], shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &on)
            };
            let matrix = StoredMatrix::new(&bytes, kind, output, &on).unwrap();
            let run = |product: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                let x = tensor(&x, [n, input]).autodiff().require_grad();
                let y = product(x.clone());
                let plain = product(x.clone().inner());
                assert_eq!(floats(y.clone().inner()), floats(plain), "{device}: with a graph");
                let loss = (y.clone() * tensor(&upstream, [n, output]).autodiff()).sum();
                let dx = x.grad(&loss.backward()).unwrap();
                [floats(y.inner()), floats(dx)].map(|v| v.into_iter().map(f64::from).collect())
            };
            let got: [Vec<f64>; 2] = run(&|x| matrix.linear(x));
            let want: [Vec<f64>; 2] = run(&|x| linear(x, matrix.widen()));
            for (what, got, want) in [("y", &got[0], &want[0]), ("dx", &got[1], &want[1])] {
                let got: Vec<f32> = got.iter().map(|&v| v as f32).collect();
                compare(&format!("{device} {kind:?} {what}"), &got, want, 1e-6).unwrap();
            }
        }
    }
}

#[test]
fn rows_that_are_not_whole_blocks_are_not_taken() {
    let (_, device) = &devices()[0];
    for (kind, bytes, rows) in [
        (BlockType::F16, 6, 1),
        (BlockType::F16, 12, 2),
        (BlockType::F16, 8, 3),
        (BlockType::F16, 4, 0),
        (BlockType::F32, 8, 1),
        (BlockType::Q8_0, 33, 1),
        (BlockType::Q8_0, 68, 4),
    ] {
        let matrix = StoredMatrix::new(&vec![0; bytes], kind, rows, device);
        assert!(matrix.is_none(), "{kind:?}: {bytes} bytes in {rows} rows");
    }
}
