//! Products by matrix units: by a twin with loops on every adapter, and by the units themselves where there are some.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use srft::config::{Config, Precision};
use srft::device::{find, open_in, select};
use srft::ops::adapter::{Kind, Units, units_of, use_units};
use srft::ops::matmul::{Product, Tile, Way, matmul_nt, matmul_nt_by, reference};
use srft::random::Stream;
use srft::run::trainer;
use srft::selftest;

/// Largest error relative to the sum's size: of 22 bits, as of f32; of 11.
const TOLERANCES: [(bool, f64); 2] = [(true, 2e-6), (false, 2e-3)];

fn twin(split: bool, size: usize) -> Units {
    Units { split, size, subgroup: [32, 32], twin: true }
}

fn numbers(count: usize, index: u32) -> Vec<f32> {
    let mut stream = Stream::new(12, 1, index);
    (0..count).map(|_| stream.normal()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// x [lines, k], or the same as a view of [k, lines].
fn lying(x: &[f32], k: usize, by_k: bool, device: &Device) -> Tensor<2> {
    let on = |x: Vec<f32>, shape| Tensor::from_data(TensorData::new(x, shape), device);
    let lines = x.len() / k;
    match by_k {
        false => on(x.to_vec(), [lines, k]),
        true => {
            let turned = (0..k).flat_map(|j| x.iter().skip(j).step_by(k).copied());
            on(turned.collect(), [k, lines]).transpose()
        }
    }
}

/// The largest error of a product of numbers of size 1, relative to the size of such a sum, √K, or to the sum.
fn error(got: &[f32], expected: &[f64], k: usize) -> f64 {
    assert_eq!(got.len(), expected.len());
    let size = (k as f64).sqrt();
    let errors =
        got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - e).abs() / e.abs().max(size));
    errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
}

fn vulkan() -> Option<Device> {
    devices().into_iter().find(|(name, _)| *name == "vulkan").map(|(_, device)| device)
}

/// One tile and several, all but empty and all but full; K below a matrix, and in several parts; both sizes of matrices,
/// each factor whichever way round it lies.
#[test]
fn the_twin_matches_the_reference_at_every_shape_and_in_every_layout() {
    let Some(device) = vulkan() else { return };
    for [m, n, k] in
        [[1, 1, 1], [33, 31, 17], [64, 96, 48], [130, 65, 100], [5, 200, 1030], [35, 18, 2065]]
    {
        let (a, b) = (numbers(m * k, 1), numbers(n * k, 2));
        let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
        for (split, tolerance) in TOLERANCES {
            for (size, by_k) in [
                (16, [false, false]),
                (16, [false, true]),
                (16, [true, true]),
                (16, [true, false]),
                (8, [false, true]),
            ] {
                let product = || {
                    // What outputs and parts get as memory: a number that is left is no 0.
                    for elements in [1, 2, 4, 8].map(|parts| parts * m * n) {
                        floats(Tensor::<1>::full([elements], f32::NAN, &device));
                    }
                    let of = |x: &[f32], by_k| lying(x, k, by_k, &device);
                    let (a, b) = (of(&a, by_k[0]), of(&b, by_k[1]));
                    floats(matmul_nt_by(a, b, Way::Units(twin(split, size))))
                };
                let (got, what) = (product(), format!("{m}×{n}×{k} {split} {size} {by_k:?}"));
                let error = error(&got, &expected, k);
                assert!(error <= tolerance, "{what}: {error:e}");
                assert_eq!(product(), got, "{what}: again");
            }
        }
    }
}

/// The table of docs/gpu.md, "Matrix units".
#[test]
fn the_accuracy_is_what_is_documented() {
    let Some(device) = vulkan() else { return };
    let (m, n) = (96, 160);
    let guide = include_str!("../../../docs/gpu.md");
    let mut wrong = Vec::new();
    for k in [576, 896, 4864] {
        let row = guide.lines().find_map(|line| line.strip_prefix(&format!("| {k} |")));
        let row = row.expect("a row of K").split('|').filter_map(|cell| cell.trim().parse().ok());
        let documented: Vec<f64> = row.collect();
        let (a, b) = (numbers(m * k, 3), numbers(n * k, 4));
        let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
        let by = |way| {
            let of = |x: &[f32]| lying(x, k, false, &device);
            error(&floats(matmul_nt_by(of(&a), of(&b), way)), &expected, k)
        };
        let units = |split| Way::Units(twin(split, 16));
        let errors = [Way::Tiles(Tile::Large), units(true), units(false)].map(by);
        let holds = errors.iter().zip(&documented).all(|(error, most)| *error < 1.5 * most);
        if !holds || documented.len() != errors.len() {
            let errors = errors.map(|error| format!("{error:.1e}")).join(" | ");
            wrong.push(format!("| {k} | {errors} | where {documented:?} is documented"));
        }
        assert!(errors[2] > 100.0 * errors[1], "f16x3 and f16 are alike: {errors:?}");
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Far beyond what f16 holds, either way: each line has a scale of its own. What isn't finite is seen.
#[test]
fn numbers_of_any_size_are_multiplied_and_what_is_not_finite_shows() {
    let Some(device) = vulkan() else { return };
    let (m, n, k) = (40, 33, 50);
    let scales = [1.0, 1e-30, 3e30, 1e-6, 7e4f32];
    let scaled = |x: Vec<f32>, shift: usize| -> Vec<f32> {
        let of = |(i, x): (usize, f32)| x * scales[(i / k + shift) % scales.len()];
        x.into_iter().enumerate().map(of).collect()
    };
    let (mut a, b) = (scaled(numbers(m * k, 5), 0), scaled(numbers(n * k, 6), 2));
    for (split, tolerance) in TOLERANCES {
        let product = |a: &[f32]| {
            let of = |x: &[f32]| lying(x, k, false, &device);
            floats(matmul_nt_by(of(a), of(&b), Way::Units(twin(split, 16))))
        };
        let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
        for (i, (got, expected)) in product(&a).iter().zip(&expected).enumerate() {
            let by = |line: usize, shift| f64::from(scales[(line + shift) % scales.len()]);
            let size = by(i / n, 0) * by(i % n, 2) * (k as f64).sqrt();
            if expected.abs() > f64::from(f32::MAX) {
                assert!(got.is_infinite(), "[{i}]: got {got} where f32 ends");
            } else if size > 1e-36 {
                let error = (f64::from(*got) - expected).abs() / expected.abs().max(size);
                assert!(error <= tolerance, "[{i}]: got {got}, expected {expected}, {error:e}");
            }
        }
        // Zeros alone; an infinity; a NaN.
        let before = a.clone();
        a[..k].fill(0.0);
        a[k] = f32::INFINITY;
        a[2 * k + 7] = f32::NAN;
        let got = product(&a);
        assert!(got[..n].iter().all(|&x| x == 0.0), "a line of zeros: {:?}", &got[..n]);
        assert!(got[n..3 * n].iter().all(|x| !x.is_finite()), "{:?}", &got[n..3 * n]);
        assert_eq!(got[3 * n..], product(&before)[3 * n..], "the lines below");
        a = before;
    }
}

#[test]
fn only_large_products_are_for_matrix_units() {
    let units = twin(true, 16);
    let way = |rows, columns, depth| {
        let product = Product { rows, columns, depth, a_by_k: false, b_by_k: true };
        product.way(Kind::Discrete, Some(units))
    };
    for (m, n, k, is_theirs) in [
        (4096, 4864, 896, true),
        (200, 576, 576, true),
        (201, 577, 575, true), // no multiples
        (64, 4864, 896, false),
        (4096, 16, 896, false),
        (4096, 896, 16, false),
        (4096, 18_724, 16_384, false), // packed it has more than 128 MiB
    ] {
        assert_eq!(way(m, n, k) == Way::Units(units), is_theirs, "{m} × {n} × {k}");
    }
}

#[test]
fn gradients_by_the_twin_match_those_by_burn() {
    let Some(device) = vulkan() else { return };
    let (m, n, k) = (70, 45, 39);
    let (a, b, g) = (numbers(m * k, 7), numbers(n * k, 8), numbers(m * n, 9));
    let device = device.autodiff();
    let gradients = |way| {
        let [a, b] =
            [lying(&a, k, false, &device), lying(&b, k, true, &device)].map(|x| x.require_grad());
        let loss = matmul_nt_by(a.clone(), b.clone(), way) * lying(&g, n, false, &device);
        let gradients = loss.sum().backward();
        [a, b].map(|x| floats(x.grad(&gradients).expect("a gradient")))
    };
    let (by_units, by_burn) = (gradients(Way::Units(twin(true, 16))), gradients(Way::Burn));
    for (got, expected) in by_units.iter().zip(by_burn) {
        compare("gradient", got, &wide(&expected), 1e-5).unwrap();
    }
}

/// On an adapter without any (lavapipe before Mesa 26) asking for them is an error that helps; with them, the self-test and a
/// model's products go by them.
#[test]
fn matrix_units_compute_or_are_refused_in_plain_words() {
    let setting = Config::setting("run.precision=f16").unwrap();
    let refused = trainer(Config::resolve(&[setting]).unwrap(), &Device::flex()).err().unwrap();
    assert_eq!(refused.place.as_deref(), Some("run.precision = f16"), "{refused}");
    if vulkan().is_none() {
        return;
    }
    for (precision, bound) in [(Precision::F16x3, 2e-6), (Precision::F16, 2e-3)] {
        let (adapter, reason) = block_on(find("vulkan")).unwrap();
        let opened = block_on(open_in(&adapter, reason, precision));
        let Some(size) = adapter.matrix_units else {
            let error = opened.unwrap_err().to_string();
            for words in ["no matrix units", "run.precision", "leave it at f32"] {
                assert!(error.contains(words), "{error}");
            }
            continue;
        };
        let selected = opened.unwrap();
        assert_eq!(units_of(&selected.device).map(|units| units.size), Some(size));
        let report = block_on(selftest::require(&selected)).unwrap();
        assert!(report.passed.contains(&"matrix units"), "{report}");
        for [m, n, k] in [[130, 200, 257], [128, 129, 2065], [301, 130, 128]] {
            let (a, b) = (numbers(m * k, 10), numbers(n * k, 11));
            let expected = reference::matmul_nt(&wide(&a), &wide(&b), k);
            for by_k in [[false, false], [false, true], [true, true]] {
                let of = |x: &[f32], by_k| lying(x, k, by_k, &selected.device);
                let got = floats(matmul_nt(of(&a, by_k[0]), of(&b, by_k[1])));
                let error = error(&got, &expected, k);
                assert!(error <= bound, "{m}×{n}×{k} {precision:?} {by_k:?}: {error:e}");
            }
        }
    }
}

#[test]
fn the_self_test_refuses_matrix_units_that_multiply_wrong() {
    if vulkan().is_none() {
        return;
    }
    let device = block_on(select("vulkan")).unwrap().device;
    use_units(&device, twin(true, 16));
    let spoil = |check: &str, values: &mut Vec<f32>| {
        if check == "matrix units" {
            values[0] += 0.01;
        }
    };
    let report = block_on(selftest::run_tampered(&device, spoil)).unwrap();
    assert_eq!(report.failures.len(), 1, "{report}");
    let error = report.require_passed("Vulkan").unwrap_err().to_string();
    for words in ["matrix units: worst at index 0", "leave run.precision at f32"] {
        assert!(error.contains(words), "{error}");
    }
}
