//! The browser's matrix product, a decoding step's and burn's own: both backends against an f64 loop.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::ops::linear::linear;
use srft::ops::matmul::{few, kernel, matmul_nt, reference};
use srft::ops::step::Joined;
use srft::ops::weight::Weight;
use srft::random::Stream;

const TOLERANCE: f64 = 6e-5;

fn numbers(count: usize, index: u32) -> Vec<f32> {
    let mut stream = Stream::new(11, 1, index);
    (0..count).map(|_| stream.normal()).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// x [lines, k] → [k, lines], row by row.
fn turned(x: &[f32], k: usize) -> Vec<f32> {
    (0..k).flat_map(|j| x.iter().skip(j).step_by(k).copied()).collect()
}

#[track_caller]
fn close<const D: usize>(what: &str, got: Tensor<D>, expected: &[f64]) {
    compare(what, &floats(got), expected, TOLERANCE).unwrap();
}

/// Around the tiles of 32 and 64, the slices of 16, and where sums are split (K ≥ 512).
const SIZES: [[usize; 3]; 11] = [
    [1, 1, 1],
    [3, 5, 7],
    [31, 33, 16],
    [32, 32, 17],
    [33, 64, 15],
    [65, 63, 64],
    [1, 300, 48],
    [130, 1, 31],
    [700, 700, 20],
    [20, 24, 512],
    [5, 40, 3001],
];

#[test]
fn products_of_every_shape_and_layout_match_the_reference() {
    for (device_name, device) in devices() {
        for [m, n, k] in SIZES {
            let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
            let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
            let layouts = |x: &[f32], lines| {
                [
                    ("dense", tensor(x, [lines, k], &device)),
                    ("transposed", tensor(&turned(x, k), [k, lines], &device).transpose()),
                ]
            };
            for (a_layout, a) in layouts(&a, m) {
                for (b_layout, b) in layouts(&b, n) {
                    let what = format!("{device_name}: {m}×{n}×{k}, {a_layout}, {b_layout}");
                    close(&what, kernel(a.clone(), b.clone()), &expected);
                    close(&what, matmul_nt(a.clone(), b), &expected);
                }
            }
        }
    }
}

#[test]
fn batches_are_separate_products_also_of_views_that_must_be_copied() {
    let (batch, heads, m, n, k) = (3, 2, 37, 21, 12);
    for (device_name, device) in devices() {
        // [batch, lines, heads, k] with heads before lines, as attention has them: no one stride
        // leads through batch and heads.
        let (a, b) = (numbers(batch * heads * m * k, 3), numbers(batch * heads * n * k, 4));
        let of = |x: &[f32], lines| tensor(x, [batch, lines, heads, k], &device).swap_dims(1, 2);
        let (a_view, b_view) = (of(&a, m), of(&b, n));
        let matrix = |x: &[f32], lines: usize, i: usize, head: usize| -> Vec<f64> {
            let rows =
                (0..lines).flat_map(|line| &x[((i * lines + line) * heads + head) * k..][..k]);
            rows.map(|&x| f64::from(x)).collect()
        };
        let mut expected = Vec::new();
        for i in 0..batch {
            for head in 0..heads {
                let (a, b) = (matrix(&a, m, i, head), matrix(&b, n, i, head));
                expected.extend(reference::matmul_nt(&a, &b, k));
            }
        }
        close(&format!("{device_name}: views"), kernel(a_view.clone(), b_view.clone()), &expected);
        let dense = |x: Tensor<4>| x * 1.0;
        close(&format!("{device_name}: dense"), kernel(dense(a_view), dense(b_view)), &expected);
    }
}

#[test]
fn gradients_match_the_reference_and_burns_own() {
    let (batch, m, n, k) = (2, 34, 19, 23);
    let (a, b) = (numbers(batch * m * k, 5), numbers(batch * n * k, 6));
    let upstream = numbers(batch * m * n, 7);
    let mut by_a = Vec::new();
    let mut by_b = Vec::new();
    for i in 0..batch {
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * n * k..][..n * k]);
        let g = &upstream[i * m * n..][..m * n];
        // g·b = g·(bᵀ)ᵀ, and gᵀ·a.
        by_a.extend(reference::matmul_nt(&wide(g), &wide(&turned(b, k)), n));
        by_b.extend(reference::matmul_nt(&wide(&turned(g, n)), &wide(&turned(a, k)), m));
    }
    for (device_name, device) in devices() {
        let device = device.autodiff();
        for (how, product) in
            [("kernel", kernel::<3> as fn(Tensor<3>, Tensor<3>) -> Tensor<3>), ("burn", matmul_nt)]
        {
            let a = tensor(&a, [batch, m, k], &device).require_grad();
            let b = tensor(&b, [batch, n, k], &device).require_grad();
            let loss = product(a.clone(), b.clone()) * tensor(&upstream, [batch, m, n], &device);
            let gradients = loss.sum().backward();
            let what = |of: &str| format!("{device_name}, {how}: by {of}");
            close(&what("a"), a.grad(&gradients).expect("a gradient"), &by_a);
            close(&what("b"), b.grad(&gradients).expect("a gradient"), &by_b);
            // Only one of them takes part.
            let loss =
                product(a.clone().detach(), b.clone()) * tensor(&upstream, [batch, m, n], &device);
            let gradients = loss.sum().backward();
            close(&what("b alone"), b.grad(&gradients).expect("a gradient"), &by_b);
        }
    }
}

/// N and K around tiles of 32, 64 and 128 columns and slabs of 32; sums in one part and in many.
/// 1 to 70 rows, which take each size of tile, with one tile and with two.
#[test]
fn products_of_few_rows_match_the_reference_and_a_row_has_the_bits_that_it_has_alone() {
    for (device_name, device) in devices().into_iter().filter(|(name, _)| *name == "vulkan") {
        for [n, k] in
            [[1, 4], [33, 8], [5, 60], [129, 12], [31, 36], [66, 128], [16, 900], [3, 4100]]
        {
            let (x, weight) = (numbers(70 * k, 9), numbers(n * k, 10));
            let on = Weight::from(tensor(&weight, [n, k], &device));
            let joined = Joined::new(&[on.into()]).expect("whole vectors");
            let product = |rows: std::ops::Range<usize>| {
                let count = rows.len();
                // What outputs and parts get as memory: a number that is left is no 0.
                for elements in [1, 2, 4, 7, 32].map(|parts| parts * count * n) {
                    floats(Tensor::<1>::full([elements], f32::NAN, &device));
                }
                let x = tensor(&x[rows.start * k..rows.end * k], [count, k], &device);
                floats(joined.product(x).sum())
            };
            let all = product(0..70);
            let expected = reference::matmul_nt(&wide(&x), &wide(&weight), k);
            let what = format!("{device_name}: {n}×{k}");
            compare(&what, &all, &expected, TOLERANCE).unwrap();
            for rows in [0..1, 69..70, 3..7, 4..9, 0..7, 20..36, 5..22, 1..65] {
                let alone = &all[rows.start * n..rows.end * n];
                assert_eq!(product(rows.clone()), alone, "{what}: rows {rows:?}");
            }
        }
    }
}

/// Tiles of 4 × 3 and 1 × 8 with what is left over, strips and tasks that end early, columns that fill no vector,
/// and more rows than a block of x.
#[test]
fn products_by_a_large_matrix_match_the_reference_and_a_row_has_the_bits_that_it_has_alone() {
    for [n, rows, columns] in [[1, 1024, 64], [7, 643, 131], [6, 41, 1600], [130, 129, 700]] {
        let (x, weight) = (numbers(n * columns, 7), numbers(rows * columns, 8));
        let matrix = few::InF32 { values: &weight, dims: [rows, columns] };
        assert!(few::suits(matrix.dims));
        let out = few::product(&x, &matrix);
        let expected = reference::matmul_nt(&wide(&x), &wide(&weight), columns);
        compare(&format!("{n}×{rows}×{columns}"), &out, &expected, TOLERANCE).unwrap();
        for (x, out) in x.chunks(columns).zip(out.chunks(rows)) {
            assert_eq!(few::product(x, &matrix), out);
        }
        let cpu = Device::flex();
        let linear = linear(tensor(&x, [n, columns], &cpu), tensor(&weight, [rows, columns], &cpu));
        assert_eq!(floats(linear), out, "what layers call");
    }
}
