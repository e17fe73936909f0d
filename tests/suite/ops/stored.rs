//! Stored weights: every number of both 16-bit formats, blocks of every type, and products with them.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData, bf16, f16};
use srft::ops::linear::{adapted, linear};
use srft::ops::lm_head::{Head, logits_bytes};
use srft::ops::matmul;
use srft::ops::step::Joined;
use srft::ops::stored::{BlockType, StoredMatrix, reference};
use srft::ops::weight::Weight;
use srft::random::Stream;
use std::sync::Arc;

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

/// A decoding step's product, with a part of the rows: against f64, and each row's bits against those alone.
#[test]
fn products_of_few_rows_match_the_reference_for_every_type() {
    let mut stream = Stream::new(8, 0, 0);
    let (all, part) = (70, 3..68);
    for kind in HALVES.into_iter().chain(QUANTISED) {
        // A row of halves is whole vectors of four numbers, not of four words.
        let widths: &[usize] = if kind.is_quantised() { &[3] } else { &[132, 156] };
        for &blocks in widths {
            let bytes = match kind.is_quantised() {
                true => random_blocks(kind, blocks * all),
                false => every(kind)[40_000..][..2 * blocks * all].to_vec(),
            };
            let k = blocks * kind.elements();
            // Numbers of 16 bits are of all sizes, so an error is measured by the terms' sizes.
            let weight = reference::widen(&bytes, kind);
            let weight = &weight[part.start * k..part.end * k];
            let x: Vec<f32> = (0..65 * k).map(|_| stream.normal()).collect();
            let terms = |map: fn(f64) -> f64| {
                let x: Vec<f64> = x.iter().map(|&x| map(f64::from(x))).collect();
                let weight: Vec<f64> = weight.iter().map(|&w| map(w)).collect();
                matmul::reference::matmul_nt(&x, &weight, k)
            };
            let (expected, sizes) = (terms(|t| t), terms(f64::abs));
            for (device, on) in devices().into_iter().filter(|(name, _)| *name == "vulkan") {
                let matrix = StoredMatrix::new(&bytes, kind, all, &on).unwrap().part(part.clone());
                let matrix = Weight::Frozen(Arc::new(matrix));
                let joined = Joined::new(&[matrix.into()]).expect("whole vectors");
                let n = part.len();
                let product = |rows: std::ops::Range<usize>| {
                    let data = x[rows.start * k..rows.end * k].to_vec();
                    let x = Tensor::from_data(TensorData::new(data, [rows.len(), k]), &on);
                    floats(Tensor::<1>::full([rows.len() * n], f32::NAN, &on));
                    floats(joined.product(x).sum())
                };
                let got = product(0..65);
                for (i, ((&got, &want), size)) in got.iter().zip(&expected).zip(&sizes).enumerate()
                {
                    let error = (f64::from(got) - want).abs() / size.max(1e-30);
                    assert!(error < 2e-6, "{device} {kind:?} {k} [{i}]: {got}, not {want}");
                }
                for rows in [0..1, 7..14, 64..65, 1..65] {
                    let alone = &got[rows.start * n..rows.end * n];
                    assert_eq!(product(rows.clone()), alone, "{kind:?} {k}: rows {rows:?}");
                }
            }
        }
    }
}

/// On the CPU, where a matrix and its adapter are one product. Both sizes of tile, with what is left over; a rank
/// that fills registers and one that doesn't.
#[test]
fn a_product_with_its_adapter_matches_the_reference_and_a_row_has_the_bits_that_it_has_alone() {
    let on = Device::flex();
    let (n, out, columns, scale) = (7, 269, 256, 0.5);
    let mut stream = Stream::new(13, 0, 0);
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| stream.normal()).collect() };
    let f32s = |x: &[f32], columns: usize| {
        let shape = [x.len() / columns, columns];
        Tensor::<2>::from_data(TensorData::new(x.to_vec(), shape), &on)
    };
    let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
    let x = numbers(n * columns);
    let in_half = numbers(out * columns);
    for kind in HALVES.into_iter().chain([BlockType::Q8_0, BlockType::Q4K]) {
        let bytes: Vec<u8> = match kind {
            BlockType::F16 => {
                in_half.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes()).collect()
            }
            BlockType::Bf16 => {
                in_half.iter().flat_map(|&w| bf16::from_f32(w).to_le_bytes()).collect()
            }
            _ => random_blocks(kind, out * columns / kind.elements()),
        };
        let stored = StoredMatrix::new(&bytes, kind, out, &on).unwrap();
        let whole = Weight::Whole(stored.widen());
        let weight = Weight::Frozen(Arc::new(stored));
        for rank in [5, 16] {
            let (down, up) = (numbers(rank * columns), numbers(out * rank));
            let (down_on, up_on) = (f32s(&down, columns), f32s(&up, rank));
            let product = |x: &[f32], weight: &Weight| {
                let low = [&down_on, &up_on];
                floats(adapted(&f32s(x, columns), weight, low, scale).expect("it is large"))
            };
            let got = product(&x, &weight);
            let by = |map: fn(f64) -> f64| {
                let map = |x: &[f64]| -> Vec<f64> { x.iter().map(|&x| map(x)).collect() };
                let x = map(&wide(&x));
                let low = matmul::reference::matmul_nt(&x, &map(&wide(&down)), columns);
                let change = matmul::reference::matmul_nt(&low, &map(&wide(&up)), rank);
                let y = matmul::reference::matmul_nt(
                    &x,
                    &map(&reference::widen(&bytes, kind)),
                    columns,
                );
                y.iter().zip(change).map(|(y, change)| y + scale * change).collect::<Vec<f64>>()
            };
            let (expected, sizes) = (by(|t| t), by(f64::abs));
            for (i, ((&got, want), size)) in got.iter().zip(&expected).zip(&sizes).enumerate() {
                let error = (f64::from(got) - want).abs() / size;
                assert!(error < 2e-6, "{kind:?} {rank} [{i}]: {got}, not {want}");
            }
            assert_eq!(product(&x, &whole), got, "{kind:?}: in f32");
            for (x, alone) in x.chunks(columns).zip(got.chunks(out)) {
                assert_eq!(product(x, &weight), alone, "{kind:?} {rank}");
            }
            let tracked = f32s(&x, columns).autodiff().require_grad();
            assert!(adapted(&tracked, &weight, [&down_on, &up_on], scale).is_none());
        }
    }
}

/// Rows looked up, and a part of a part, are the wide matrix's to the bit.
#[test]
fn rows_are_those_of_the_wide_matrix() {
    let (rows, ids) = (700, [3, 699, 0, 3, 257, 698]);
    for kind in HALVES.into_iter().chain(QUANTISED) {
        let columns = 6 * kind.elements();
        let bytes = match kind.is_quantised() {
            true => random_blocks(kind, 6 * rows),
            false => every(kind)[..2 * rows * columns].to_vec(),
        };
        let wide = reference::widen(&bytes, kind);
        let of = |ids: &[i32]| -> Vec<f32> {
            let row = |&id: &i32| &wide[id as usize * columns..][..columns];
            ids.iter().flat_map(row).map(|&x| x as f32).collect()
        };
        for (device, on) in devices() {
            let matrix = StoredMatrix::new(&bytes, kind, rows, &on).unwrap();
            let select = |matrix: &StoredMatrix, ids: &[i32]| {
                let ids = TensorData::new(ids.to_vec(), [ids.len()]);
                floats(matrix.select(Tensor::from_data(ids, &on)))
            };
            let flushed = |got: Vec<f32>, want: Vec<f32>| {
                let same =
                    |(g, w): (&f32, &f32)| g == w || *g == 0.0 && w.abs() < f32::MIN_POSITIVE;
                got.len() == want.len() && got.iter().zip(&want).all(same)
            };
            assert!(flushed(select(&matrix, &ids), of(&ids)), "{device} {kind:?}: looked up");
            let part = matrix.part(200..699).part(57..499);
            assert_eq!(part.dims(), [442, columns]);
            let ids: Vec<i32> = (257..699).collect();
            assert!(flushed(floats(part.widen()), of(&ids)), "{device} {kind:?}: a part");
            assert!(flushed(select(&part, &[0, 441]), of(&[257, 698])), "{device} {kind:?}: in it");
        }
    }
}

/// The fused head over a frozen matrix in parts: statistics and the gradient at the hidden states.
#[test]
fn the_head_over_blocks_is_the_head_over_the_wide_matrix() {
    let (vocabulary, n) = (300, 20);
    let parts = [0..130, 130..131, 131..300];
    let mut stream = Stream::new(6, 0, 0);
    for kind in HALVES.into_iter().chain(QUANTISED) {
        let columns = 32 * 8; // whole blocks of every type
        let mut bytes = random_blocks(kind, vocabulary * columns / kind.elements());
        for block in bytes.chunks_exact_mut(kind.bytes()) {
            // Scales of 2^-8; halves between -2 and 2.
            let scale = |&at: &usize| block[at + 1] = block[at + 1] & 0x83 | 0x1c;
            kind.scales().iter().for_each(scale);
        }
        let hidden: Vec<f32> = (0..n * columns).map(|_| 0.1 * stream.normal()).collect();
        let targets: Vec<i32> = (0..n).map(|_| stream.below(vocabulary as u32) as i32).collect();
        let coefficients: Vec<f32> = (0..n * 2).map(|_| stream.normal()).collect();
        for (device, on) in devices() {
            let matrix = StoredMatrix::new(&bytes, kind, vocabulary, &on).unwrap();
            let tensor = |values: &[f32], shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &on)
            };
            let run = |blocks: Vec<Weight>, budget: usize| {
                let head = Head::new(blocks, budget);
                let targets = Tensor::from_data(TensorData::new(targets.clone(), [n]), &on);
                let chunk = head.forward(tensor(&hidden, [n, columns]), targets);
                let stats = floats(chunk.stats());
                let d = head.backward(chunk, tensor(&coefficients, [n, 2]), &mut []);
                [stats, floats(d)]
            };
            for budget in [logits_bytes(true), 4 * vocabulary * 5, 1] {
                let stored = parts.clone().map(|part| Arc::new(matrix.part(part)));
                let whole = stored.clone().map(|part| Weight::Whole(part.widen())).to_vec();
                let stored = stored.map(|part| Weight::Frozen(part)).to_vec();
                let [got, want] = [stored, whole].map(|blocks| run(blocks, budget));
                let finite = want.iter().flatten().all(|x| x.is_finite());
                assert!(finite && want[1].iter().any(|&x| x != 0.0), "{device} {kind:?}: a test");
                assert!(got == want, "{device} {kind:?}, {budget} bytes");
            }
        }
    }
}

/// Large matrices are read in strips, small ones by gemm, which takes other ways for one row, few, and many.
#[test]
fn products_are_those_of_the_wide_matrix_to_the_bit() {
    let kind = BlockType::Q8_0;
    let (_, on) = &devices()[0];
    let mut stream = Stream::new(4, 0, 0);
    for (output, input) in
        [(64, 576), (192, 576), (514, 576), (576, 1536), (1000, 64), (2311, 1536)]
    {
        let mut bytes = random_blocks(kind, output * input / 32);
        bytes.chunks_exact_mut(34).for_each(|block| block[..2].copy_from_slice(&[0, 0x1c]));
        let matrix = StoredMatrix::new(&bytes, kind, output, on).unwrap();
        for n in [1, 2, 7, 16, 32, 33] {
            let x: Vec<f32> = (0..n * input).map(|_| stream.normal()).collect();
            let x = Tensor::from_data(TensorData::new(x, [n, input]), on);
            let (got, want) = (matrix.linear(x.clone()), linear(x, matrix.widen()));
            assert!(floats(got) == floats(want), "{n} x {input} -> {output}");
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
