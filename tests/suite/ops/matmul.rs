//! The browser's matrix product, a batch's, a decoding step's and burn's own: both backends against an f64 loop.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::ops::adapter::Kind;
use srft::ops::linear::linear;
use srft::ops::matmul::{Product, Tile, Way, few, matmul_nt, matmul_nt_by, reference};
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

fn one_kernel<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    matmul_nt_by(a, b, Way::OneKernel)
}

/// x [lines, k], or the same as a view of [k, lines].
fn lying(x: &[f32], k: usize, by_k: bool, device: &Device) -> Tensor<2> {
    let lines = x.len() / k;
    match by_k {
        true => tensor(&turned(x, k), [k, lines], device).transpose(),
        false => tensor(x, [lines, k], device),
    }
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
                    close(&what, one_kernel(a.clone(), b.clone()), &expected);
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
        close(
            &format!("{device_name}: views"),
            one_kernel(a_view.clone(), b_view.clone()),
            &expected,
        );
        let dense = |x: Tensor<4>| x * 1.0;
        close(
            &format!("{device_name}: dense"),
            one_kernel(dense(a_view), dense(b_view)),
            &expected,
        );
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
        for (how, product) in [
            ("one kernel", one_kernel::<3> as fn(Tensor<3>, Tensor<3>) -> Tensor<3>),
            ("by shape", matmul_nt),
        ] {
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

/// Both tiles, each matrix whichever way round it lies: one tile and several, all but empty and all but full; slabs of 16
/// and of 32; a sum in one part and in several. A dimension is odd wherever the shader allows it.
#[test]
fn products_of_many_rows_match_the_reference_whichever_way_the_matrices_lie() {
    const SIZES: [[usize; 3]; 8] = [
        [1, 4, 4],
        [129, 132, 36],
        [64, 64, 64],
        [128, 256, 31],
        [127, 60, 20],
        [260, 72, 1],
        [68, 136, 1100],
        [8, 128, 2061],
    ];
    let turns = [[false, false], [false, true], [true, true], [true, false]];
    for (device_name, device) in devices() {
        let mut tested = [0; 4];
        for [m, n, k] in SIZES {
            let (a, b) = (numbers(m * k, 12), numbers(n * k, 13));
            let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
            for (turn, &[a_by_k, b_by_k]) in turns.iter().enumerate() {
                if !(Product { rows: m, columns: n, depth: k, a_by_k, b_by_k }).in_fours() {
                    continue;
                }
                tested[turn] += 1;
                for tile in [Tile::Large, Tile::Small] {
                    let product = || {
                        // What outputs and parts get as memory: a number that is left is no 0.
                        for elements in [1, 2, 4, 7, 8].map(|parts| parts * m * n) {
                            floats(Tensor::<1>::full([elements], f32::NAN, &device));
                        }
                        let (a, b) = (lying(&a, k, a_by_k, &device), lying(&b, k, b_by_k, &device));
                        floats(matmul_nt_by(a, b, Way::Tiles(tile)))
                    };
                    let what = format!("{device_name}: {m}×{n}×{k}, {a_by_k} {b_by_k}, {tile:?}");
                    let got = product();
                    compare(&what, &got, &expected, TOLERANCE).unwrap();
                    assert_eq!(product(), got, "{what}: again");
                }
            }
        }
        assert_eq!(tested, [5, 5, 5, 2], "{device_name}: layouts");
    }
}

#[test]
fn what_the_shader_for_many_rows_cant_read_is_copied_or_refused() {
    for (device_name, device) in devices() {
        let (m, n, k) = (70, 68, 40);
        let (a, b) = (numbers(2 * m * 3 * k, 14), numbers(n * k, 15));
        let b = tensor(&b, [n, k], &device);
        // Every second row, and the middle third of its columns.
        let view = tensor(&a, [m, 6 * k], &device).slice([0..m, k..2 * k]);
        let dense = tensor(&floats(view.clone()), [m, k], &device);
        let of = |a| floats(matmul_nt_by(a, b.clone(), Way::Tiles(Tile::Small)));
        compare(device_name, &of(view), &wide(&of(dense)), TOLERANCE).unwrap();
        // One row for all.
        let row = tensor(&a[..k], [1, k], &device);
        let expected = wide(&of(row.clone()).repeat(m));
        compare(device_name, &of(row.expand([m, k])), &expected, TOLERANCE).unwrap();
        // A number short of a vector.
        if device_name == "vulkan" {
            let odd = |lines| tensor(&a[..lines * 39], [lines, 39], &device);
            let product = || matmul_nt_by(odd(3), odd(8), Way::Tiles(Tile::Small));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(product)).is_err());
        }
    }
}

/// A model's sizes on a GPU of each kind.
#[test]
fn a_products_kernel_depends_on_its_shape_and_the_adapters_kind() {
    let way = |rows, columns, depth, [a_by_k, b_by_k]: [bool; 2], kind| {
        Product { rows, columns, depth, a_by_k, b_by_k }.way(kind, None)
    };
    const NT: [bool; 2] = [false, false];
    const NN: [bool; 2] = [false, true];
    const TN: [bool; 2] = [true, true];
    let (large, small) = (Way::Tiles(Tile::Large), Way::Tiles(Tile::Small));
    for (m, n, k, layout, discrete, integrated) in [
        (4096, 4864, 896, NT, large, small), // gate
        (4096, 896, 4864, NT, large, small), // down
        (4096, 896, 4864, NN, large, small), // the gradient of gate's input
        (4864, 896, 4096, TN, large, small), // of gate
        (512, 896, 896, NT, small, small),
        (64, 896, 896, NT, Way::Few, Way::Few),
        (4096, 16, 896, NT, Way::Few, Way::Few), // an adapter's A
        (4096, 896, 16, NT, small, small),       // its B: 224 large tiles of one slab
        (16, 896, 4096, TN, small, small),       // the gradient of A
        (64, 896, 896, NN, small, small),
        (512, 897, 896, NT, Way::Burn, Way::Burn),
        (512, 896, 895, NT, Way::Burn, Way::Burn),
        (512, 896, 895, TN, small, small),
        (513, 896, 895, TN, Way::Burn, Way::Burn),
    ] {
        let got = [Kind::Discrete, Kind::Integrated, Kind::Software]
            .map(|kind| way(m, n, k, layout, kind));
        assert_eq!(got, [discrete, integrated, Way::Burn], "{m} × {n} × {k}, {layout:?}");
    }
}

/// In each way, with both factors in the graph, with one, and with the other a plain tensor, as a frozen weight is.
#[test]
fn gradients_of_matrices_match_the_reference_and_differences() {
    let (m, n, k) = (36, 72, 20);
    let (a, b, g) = (numbers(m * k, 16), numbers(n * k, 17), numbers(m * n, 18));
    let by_a = reference::matmul_nt(&wide(&g), &wide(&turned(&b, k)), n);
    let by_b = reference::matmul_nt(&wide(&turned(&g, n)), &wide(&turned(&a, k)), m);
    let ways =
        [Way::ByShape, Way::Burn, Way::OneKernel, Way::Tiles(Tile::Large), Way::Tiles(Tile::Small)];
    for (device_name, device) in devices() {
        for way in ways {
            let what = |of: &str| format!("{device_name}, {way:?}: {of}");
            let plain = |x: &[f32], lines| tensor(x, [lines, k], &device);
            let of_graph = |x: &[f32], lines| tensor(x, [lines, k], &device.clone().autodiff());
            let upstream = || tensor(&g, [m, n], &device.clone().autodiff());
            let loss = |a, b| (matmul_nt_by(a, b, way) * upstream()).sum();
            let a_leaf = of_graph(&a, m).require_grad();
            let b_leaf = of_graph(&b, n).require_grad();

            let gradients = loss(a_leaf.clone(), b_leaf.clone()).backward();
            close(&what("a"), a_leaf.grad(&gradients).expect("a gradient"), &by_a);
            close(&what("b"), b_leaf.grad(&gradients).expect("a gradient"), &by_b);
            let gradients = loss(a_leaf.clone(), plain(&b, n)).backward();
            close(&what("a alone"), a_leaf.grad(&gradients).expect("a gradient"), &by_a);
            let gradients = loss(of_graph(&a, m), b_leaf.clone()).backward();
            close(&what("b alone"), b_leaf.grad(&gradients).expect("a gradient"), &by_b);

            // The loss is linear in each: a difference of any size is the gradient's.
            let steps = numbers(m * k, 19);
            let at = |sign: f32| {
                let moved: Vec<f32> = a.iter().zip(&steps).map(|(a, s)| a + sign * s).collect();
                f64::from(floats(loss(of_graph(&moved, m), of_graph(&b, n)))[0])
            };
            let slope = (at(1.0) - at(-1.0)) / 2.0;
            let expected: f64 = by_a.iter().zip(&steps).map(|(g, s)| g * f64::from(*s)).sum();
            assert!((slope - expected).abs() < 1e-3 * expected.abs().max(1.0), "{}", what("slope"));
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
