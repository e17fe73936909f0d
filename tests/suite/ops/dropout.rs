//! Dropout against its oracle: the same mask on every backend, in both directions.

use crate::backends::{devices, floats};
use burn::tensor::{Tensor, TensorData};
use srft::ops::dropout::{Key, dropout, reference};
use srft::random::{DropoutMask, Stream};

#[test]
fn a_mask_is_the_same_everywhere_and_of_its_gradient() {
    const SEED: u64 = 0x0123_4567_89ab_cdef;
    let mut stream = Stream::new(31, 1, 0);
    for shape @ [rows, columns] in [[1, 1], [3, 7], [5, 8], [130, 131]] {
        let values: Vec<f32> = (0..rows * columns).map(|_| stream.normal()).collect();
        let exact: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        for (step, micro_batch, place, share) in [(0, 0, 0, 0.5), (7, 2, 83, 0.05)] {
            let mask = DropoutMask::new(SEED, step, [micro_batch, place], share);
            let wanted = reference::dropout(&exact, &mask);
            let factors = reference::dropout(&vec![1.0; exact.len()], &mask);
            let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
            for (backend, device) in devices() {
                let what = format!("{shape:?}, share {share}, on {backend}");
                let key = Key::new(SEED, step, micro_batch, &device);
                let x = Tensor::<2>::from_data(TensorData::new(values.clone(), shape), &device);
                floats(Tensor::<2>::full(shape, f32::NAN, &device));
                let out = floats(dropout(x.clone(), &key, place, share));
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
                assert!(out.iter().zip(&single(&wanted)).all(near), "{what}: {out:?}");
                let x = x.autodiff().require_grad();
                let gradients = dropout(x.clone(), &key, place, share).sum().backward();
                let by_x = floats(x.grad(&gradients).expect("a gradient"));
                assert_eq!(by_x, single(&factors), "{what}: gradient");
            }
        }
    }
}
