//! AdamW's kernels against their oracle, on every backend.

use crate::backends::{compare, devices, devices_and_subgroups, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::ops::adamw::{State, Step, Update, adamw, reference, squared_norm};
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

/// Three updates of three tensors, a pair and one alone, the first from moments of zero; what others hold of the state
/// before stays as it was.
#[test]
fn updates_match_the_reference() {
    let tensors = [([1, 1], 1.0), ([257, 129], 0.99), ([3, 17], 0.9)];
    for (backend, device) in devices() {
        let mut stream = Stream::new(21, 1, 0);
        let zeros = |shape: [usize; 2]| Tensor::zeros(shape, &device);
        let weights = tensors.map(|([r, c], _)| numbers(r * c, 1.0, &mut stream));
        let mut exact =
            weights.each_ref().map(|w| [wide(w), vec![0.0; w.len()], vec![0.0; w.len()]]);
        let mut states: Vec<State> = weights
            .iter()
            .zip(tensors)
            .map(|(w, (shape, _))| State {
                weights: on(w, shape, &device),
                first: zeros(shape),
                second: zeros(shape),
            })
            .collect();
        for t in 1..=3 {
            let correct = |beta: f64| 1.0 - beta.powi(t);
            let update = Update {
                scale: 0.7,
                betas: [0.9, 0.95],
                corrections: [correct(0.9), correct(0.95)],
                epsilon: 1e-8,
                rate: 0.01,
            };
            let gradients = tensors.map(|([r, c], _)| numbers(r * c, 0.1, &mut stream));
            let held = states.iter().map(|s| s.first.clone()).collect::<Vec<_>>();
            let read = |held: &[Tensor<2>]| held.iter().cloned().map(floats).collect::<Vec<_>>();
            let before = read(&held);
            let steps = states.into_iter().zip(&gradients).zip(tensors);
            let steps = steps.map(|((state, gradient), (shape, decay))| Step {
                state,
                gradient: on(gradient, shape, &device),
                decay,
            });
            states = adamw(steps.collect(), &update);
            assert_eq!(read(&held), before, "{backend}: another's moments");
            for (i, (shape, decay)) in tensors.into_iter().enumerate() {
                let [w, m, v] = &mut exact[i];
                reference::adamw([w, m, v], &wide(&gradients[i]), decay, &update);
                let State { weights, first, second } = &states[i];
                for (what, got, wanted) in
                    [("weights", weights, &*w), ("m", first, &*m), ("v", second, &*v)]
                {
                    let what = format!("{what} {shape:?} after {t} on {backend}");
                    compare(&what, &floats(got.clone()), wanted, TOLERANCE).unwrap();
                }
            }
        }
    }
}

/// One workgroup's share, some, and more tensors than a dispatch takes; the same bits each time.
#[test]
fn the_norm_is_that_of_all_gradients() {
    let shapes =
        [[1, 1], [2, 8192], [8193, 1], [77, 333], [1, 5], [2, 2], [5, 8192], [16, 1024], [3, 1]];
    for (backend, device) in devices_and_subgroups() {
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
