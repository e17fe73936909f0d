//! Weights in half precision: every number of both formats, and products with them.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Tensor, TensorData, bf16, f16};
use srft::ops::half::{Half, HalfMatrix, reference};
use srft::ops::linear::linear;
use srft::random::Stream;

/// Every finite number of 16 bits, in rows of two.
fn every(half: Half) -> Vec<u16> {
    (0..=u16::MAX).filter(|&bits| half.is_finite(bits)).collect()
}

fn bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[test]
fn every_finite_number_is_widened_exactly() {
    for (half, count) in [(Half::F16, 63_488), (Half::Bf16, 65_280)] {
        let numbers = every(half);
        assert_eq!(numbers.len(), count);
        let words: Vec<u32> =
            numbers.chunks_exact(2).map(|n| u32::from(n[0]) | u32::from(n[1]) << 16).collect();
        let expected = reference::widen(&words, half);
        let library: Vec<f64> = numbers
            .iter()
            .map(|&bits| match half {
                Half::F16 => f16::from_bits(bits).to_f64(),
                Half::Bf16 => bf16::from_bits(bits).to_f64(),
            })
            .collect();
        assert_eq!(expected, library);
        for (device, on) in devices() {
            let matrix = HalfMatrix::new(&bytes(&numbers), half, count / 2, &on).unwrap();
            assert_eq!(matrix.dims(), [count / 2, 2]);
            let got = floats(matrix.widen());
            for (index, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
                // An adapter may flush what is below f32's own normal range.
                let flushed = got == 0.0 && expected.abs() < f64::from(f32::MIN_POSITIVE);
                let same = f64::from(got) == expected;
                assert!(same || flushed, "{device} {half:?} [{index}]: {got:e}, not {expected:e}");
            }
        }
    }
}

#[test]
fn products_and_gradients_are_those_of_the_wide_matrix() {
    let (n, output, input) = (5, 33, 70);
    let mut stream = Stream::new(3, 0, 0);
    let mut normals = |count: usize| -> Vec<f32> { (0..count).map(|_| stream.normal()).collect() };
    let (x, weight, upstream) = (normals(n * input), normals(output * input), normals(n * output));
    for half in [Half::F16, Half::Bf16] {
        let numbers: Vec<u16> = weight
            .iter()
            .map(|&w| match half {
                Half::F16 => f16::from_f32(w).to_bits(),
                Half::Bf16 => bf16::from_f32(w).to_bits(),
            })
            .collect();
        for (device, on) in devices() {
            let tensor = |values: &[f32], shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &on)
            };
            let matrix = HalfMatrix::new(&bytes(&numbers), half, output, &on).unwrap();
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
                compare(&format!("{device} {half:?} {what}"), &got, want, 1e-6).unwrap();
            }
        }
    }
}

#[test]
fn rows_that_do_not_fill_words_are_not_taken() {
    let (_, device) = &devices()[0];
    for (bytes, rows) in [(6, 1), (12, 2), (8, 3), (4, 0)] {
        assert!(HalfMatrix::new(&vec![0; bytes], Half::F16, rows, device).is_none());
    }
}
