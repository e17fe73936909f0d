//! AdamW's kernels against their oracle, on every backend.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::ops::adamw::{State, Update, adamw, reference, squared_norm};
use srft::random::Stream;

const TOLERANCE: f64 = 6e-5;

fn numbers(count: usize, spread: f32, stream: &mut Stream) -> Vec<f32> {
    (0..count).map(|_| spread * stream.normal()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn on(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Three updates, the first from moments of zero; what others hold of the state before stays as it was.
#[test]
fn updates_match_the_reference() {
    for (shape, decay) in [([1, 1], 1.0), ([3, 17], 0.9), ([257, 129], 0.99)] {
        let count = shape[0] * shape[1];
        for (backend, device) in devices() {
            let mut stream = Stream::new(21, 1, 0);
            let weights = numbers(count, 1.0, &mut stream);
            let mut exact = [wide(&weights), vec![0.0; count], vec![0.0; count]];
            let zeros = || Tensor::zeros(shape, &device);
            let mut state =
                State { weights: on(&weights, shape, &device), first: zeros(), second: zeros() };
            for t in 1..=3 {
                let gradient = numbers(count, 0.1, &mut stream);
                let correct = |beta: f64| 1.0 - beta.powi(t);
                let update = Update {
                    scale: 0.7,
                    betas: [0.9, 0.95],
                    corrections: [correct(0.9), correct(0.95)],
                    epsilon: 1e-8,
                    decay,
                    rate: 0.01,
                };
                let held = state.first.clone();
                let before = floats(held.clone());
                state = adamw(state, on(&gradient, shape, &device), &update);
                assert_eq!(floats(held), before, "{backend}: another's moments");
                let [w, m, v] = &mut exact;
                reference::adamw([w, m, v], &wide(&gradient), &update);
                let State { weights, first, second } = &state;
                for (what, got, wanted) in [
                    ("weights", weights, &exact[0]),
                    ("m", first, &exact[1]),
                    ("v", second, &exact[2]),
                ] {
                    let what = format!("{what} {shape:?} after {t} on {backend}");
                    compare(&what, &floats(got.clone()), wanted, TOLERANCE).unwrap();
                }
            }
        }
    }
}

/// One workgroup's share, some, and a tensor that begins in the middle of another's; the same bits each time.
#[test]
fn the_norm_is_that_of_all_gradients() {
    let shapes = [[1, 1], [2, 8192], [8193, 1], [77, 333], [1, 5]];
    for (backend, device) in devices() {
        let mut stream = Stream::new(22, 1, 0);
        let gradients = shapes.map(|[r, c]| numbers(r * c, 1.0, &mut stream));
        let exact = gradients.each_ref().map(|g| wide(g));
        let wanted = reference::squared_norm(&exact.each_ref().map(|g| &g[..]));
        let tensors: Vec<_> =
            gradients.iter().zip(shapes).map(|(g, shape)| on(g, shape, &device)).collect();
        floats(Tensor::<2>::full([1, 8], f32::NAN, &device));
        let got = floats(squared_norm(&tensors));
        compare(&format!("squared norm on {backend}"), &got, &[wanted], TOLERANCE).unwrap();
        assert_eq!(floats(squared_norm(&tensors)), got, "{backend}: again");
    }
}
