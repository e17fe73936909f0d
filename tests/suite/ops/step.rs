//! The kernels of a decoding step against plain loops in f64; a step whole is in `model/decoding.rs`. A CPU has none.

use crate::backends::{compare, devices, devices_and_subgroups, floats};
use burn::tensor::{Device, Int, Tensor, TensorData};
use srft::model::Activation;
use srft::ops::glu::reference::glu;
use srft::ops::rms_norm::reference::rms_norm;
use srft::ops::step::{Embedding, Joined, Norms, Term, reference};
use srft::ops::stored::{BlockType, StoredMatrix};
use srft::ops::weight::Weight;
use srft::random::Stream;
use std::sync::Arc;

const TOLERANCE: f64 = 6e-5;
const SCALE: f64 = 1.5;

fn gpu() -> Device {
    let found = devices().into_iter().find(|(backend, _)| *backend == "vulkan");
    found.expect("a software adapter").1
}

/// Normal numbers, so large that a product with a row of them stays near 1, and a tensor of them.
fn numbers(shape: [usize; 2], stream: &mut Stream, device: &Device) -> (Vec<f64>, Tensor<2>) {
    let size = 1.0 / (shape[1] as f32).sqrt();
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| size * stream.normal()).collect();
    let wide = values.iter().map(|&x| f64::from(x)).collect();
    (wide, Tensor::from_data(TensorData::new(values, shape), device))
}

/// Normal numbers near 1.
fn input(shape: [usize; 2], stream: &mut Stream, device: &Device) -> (Vec<f64>, Tensor<2>) {
    let (values, _) = numbers([shape[0] * shape[1], 1], stream, device);
    let on: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    (values, Tensor::from_data(TensorData::new(on, shape), device))
}

/// Fills freed memory with what shows when it is read.
fn poison(elements: usize, device: &Device) {
    floats(Tensor::<1>::full([elements], f32::NAN, device));
}

/// A matrix with or without bias and adapter, and what it makes of `x`, by column.
struct Made {
    term: Term,
    product: Vec<Vec<f64>>, // [N][M]
}

fn made(
    [n, k]: [usize; 2],
    biased: bool,
    rank: usize,
    x: &[f64],
    stream: &mut Stream,
    device: &Device,
) -> Made {
    let (weight, on) = numbers([n, k], stream, device);
    let (bias, bias_on) = numbers([1, n], stream, device);
    let (down, down_on) = numbers([rank.max(1), k], stream, device);
    let (up, up_on) = numbers([n, rank.max(1)], stream, device);
    let bias: &[f64] = if biased { &bias } else { &[] };
    let down = if rank > 0 { &down[..] } else { &[] };
    let up = if rank > 0 { &up[..] } else { &[] };
    let rows = reference::product(x, &weight, bias, (down, up, SCALE), k);
    Made {
        term: Term {
            weight: on.into(),
            bias: biased.then_some(bias_on),
            adapter: (rank > 0).then_some((down_on, up_on, SCALE)),
        },
        product: (0..n).map(|i| rows.iter().skip(i).step_by(n).copied().collect()).collect(),
    }
}

/// (N of gate, K, has gate a bias, rank of gate, rank of up): a sum in one part and in several, all rows of a tile.
const GLUS: [(usize, usize, bool, usize, usize); 4] =
    [(300, 64, false, 0, 0), (257, 1024, true, 0, 3), (33, 260, false, 5, 5), (6, 8, true, 1, 0)];

#[test]
fn a_gated_product_matches_the_reference() {
    let device = gpu();
    let mut stream = Stream::new(21, 0, 0);
    for (gates, k, biased, of_gate, of_up) in GLUS {
        for (rows, act) in
            [(1, Activation::Silu), (5, Activation::GeluTanh), (33, Activation::Silu)]
        {
            let (x, on) = input([rows, k], &mut stream, &device);
            let gate = made([gates, k], biased, of_gate, &x, &mut stream, &device);
            let up = made([gates, k], false, of_up, &x, &mut stream, &device);
            let joined = Joined::new(&[gate.term, up.term]).unwrap();
            poison(16 * rows * gates, &device);
            let got = floats(joined.product(on).gated(act));
            let at = |i: usize| [&gate.product, &up.product].map(|p| p[i % gates][i / gates]);
            let want: Vec<f64> =
                (0..rows * gates).map(at).map(|[gate, up]| glu(gate, up, act)).collect();
            compare(&format!("{rows} rows, {gates} gates of {k}"), &got, &want, TOLERANCE).unwrap();
        }
    }
}

/// (D, K, bias, rank, is the product normed first)
const NORMS: [(usize, usize, bool, usize, bool); 4] = [
    (576, 1536, false, 16, false),
    (12, 20, true, 0, true),
    (300, 640, true, 2, true),
    (8, 4, false, 0, false),
];

#[test]
fn a_product_added_to_the_stream_and_its_norm_match_the_reference() {
    for (_, device) in devices_and_subgroups().into_iter().skip(1) {
        added_and_normed(&device);
    }
}

fn added_and_normed(device: &Device) {
    let mut stream = Stream::new(22, 0, 0);
    for (width, k, biased, rank, normed) in NORMS {
        for rows in [1, 4, 19] {
            let (x, on) = input([rows, k], &mut stream, device);
            let matrix = made([width, k], biased, rank, &x, &mut stream, device);
            let (mut residual, residual_on) = input([rows, width], &mut stream, device);
            let (after, after_on) = input([1, width], &mut stream, device);
            let (next, next_on) = input([1, width], &mut stream, device);
            let norms = Norms::new(normed.then_some(after_on), next_on, 1e-5);
            let what = format!("{rows} rows of {width}, from {k}");

            poison(16 * rows * width, device);
            let [same, got] = norms.of(residual_on.clone()).map(floats);
            let kept: Vec<f64> = same.iter().map(|&x| f64::from(x)).collect();
            assert_eq!(kept, residual, "{what}: nothing was added");
            compare(&what, &got, &rms_norm(&residual, &next, 1e-5), TOLERANCE).unwrap();

            let product: Vec<f64> = (0..rows)
                .flat_map(|m| matrix.product.iter().map(move |column| column[m]))
                .collect();
            let added = if normed { rms_norm(&product, &after, 1e-5) } else { product };
            residual.iter_mut().zip(&added).for_each(|(x, y)| *x += y);
            let joined = Joined::new(&[matrix.term]).unwrap();
            let parts = joined.product(on);
            let [stream_got, got] = parts.into_stream(residual_on, &norms).map(floats);
            compare(&what, &stream_got, &residual, TOLERANCE).unwrap();
            compare(&what, &got, &rms_norm(&residual, &next, 1e-5), TOLERANCE).unwrap();
        }
    }
}

/// Blocks of a table in f32 and as files store them, and tokens in each, first and last ones among them.
#[test]
fn an_embedding_looks_each_token_up_in_its_block() {
    let device = gpu();
    let mut stream = Stream::new(23, 0, 0);
    let width = 64;
    let (values, whole) = numbers([40, width], &mut stream, &device);
    let bytes: Vec<u8> = (0..17 * width / 32)
        .flat_map(|block| (0..34).map(move |i| if i == 1 { 0x2c } else { (7 * i + block) as u8 }))
        .collect();
    let stored = StoredMatrix::new(&bytes, BlockType::Q8_0, 17, &device).unwrap().part(3..17);
    let of_stored = floats(stored.widen());
    let blocks: [Weight; 3] = [
        whole.clone().slice(0..25).into(),
        Weight::Frozen(Arc::new(stored)),
        whole.slice(25..40).into(),
    ];
    let tokens = [0, 24, 25, 38, 39, 53, 7, 25, 53];
    let want: Vec<f64> = tokens
        .iter()
        .flat_map(|&token| match token {
            25..39 => {
                let row = &of_stored[(token - 25) * width..][..width];
                row.iter().map(|&x| 2.5 * f64::from(x)).collect::<Vec<_>>()
            }
            _ => {
                let row = if token < 25 { token } else { token - 14 };
                values[row * width..][..width].iter().map(|x| 2.5 * x).collect()
            }
        })
        .collect();
    poison(tokens.len() * width, &device);
    let ids = tokens.map(|token| token as i32);
    let got = floats(Embedding::new(&blocks, 2.5).rows(Tensor::<1, Int>::from_ints(ids, &device)));
    compare("embedding", &got, &want, TOLERANCE).unwrap();
}

/// Matrices of different types, more than a dispatch binds, are one product all the same.
#[test]
fn matrices_of_several_types_are_one_product() {
    let device = gpu();
    let mut stream = Stream::new(24, 0, 0);
    let k = 64;
    let (x, on) = input([3, k], &mut stream, &device);
    let mut terms: Vec<Term> = Vec::new();
    let mut want = vec![Vec::new(); 3];
    for kind in [None, None, Some(BlockType::Bf16), Some(BlockType::Q8_0), None, None, None, None] {
        let (weight, whole) = numbers([37, k], &mut stream, &device);
        let (weight, matrix) = match kind {
            None => (weight, Weight::from(whole)),
            Some(kind) => {
                let mut bytes = Vec::new();
                let values: Vec<f32> = weight.iter().map(|&x| x as f32).collect();
                srft::model::quantise::append(&values, kind, &mut bytes).unwrap();
                let stored = StoredMatrix::new(&bytes, kind, 37, &device).unwrap();
                let wide = floats(stored.widen()).iter().map(|&x| f64::from(x)).collect();
                (wide, Weight::Frozen(Arc::new(stored)))
            }
        };
        terms.push(matrix.into());
        let product = reference::product(&x, &weight, &[], (&[], &[], 0.0), k);
        want.iter_mut().zip(product.chunks(37)).for_each(|(row, of)| row.extend(of));
    }
    poison(8 * 3 * 37 * 8, &device);
    let got = floats(Joined::new(&terms).unwrap().product(on).sum());
    compare("eight matrices", &got, &want.concat(), TOLERANCE).unwrap();
}
