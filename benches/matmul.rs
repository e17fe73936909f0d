//! burn's matrix product against `shaders/matmul_nt.wgsl`, on the shapes of Qwen2.5-0.5B: equality with
//! sampled entries in f64 first, then time.
//!
//!     cargo bench --bench matmul [-- --device vulkan] [--tokens 64,4096]      (--device as srft has it)
//!
//! out [M, N] = a [M, K]·b [N, K]ᵀ for M tokens: a decoding step of 64 rows, a micro-batch of 4,096.
//! Each time is the shortest of five, after one that compiles, ending when the device is done;
//! TFLOP/s count 2·M·N·K.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use srft::ops::matmul::kernel;
use srft::random::Stream;

/// What multiplies, and N and K of its matrix.
const SHAPES: [(&str, usize, usize); 5] = [
    ("q, o", 896, 896),
    ("k, v", 128, 896),
    ("gate, up", 4864, 896),
    ("down", 896, 4864),
    // A block of the head's rows, as they are held: 64 MiB.
    ("head, a block", 18_724, 896),
];

fn main() {
    let selected = common::device("vulkan");
    let device = selected.device;
    println!("{} ({})", selected.name, selected.backend);
    println!(
        "{:<14} {:>5}  {:>9} TFLOP/s  {:>9} TFLOP/s  time of ours to burn's",
        "", "M", "burn", "ours"
    );
    let wanted = common::value("--tokens").unwrap_or("64,4096".into());
    for tokens in wanted.split(',') {
        let m: usize = tokens.parse().expect("--tokens takes numbers, parted by commas");
        for (name, n, k) in SHAPES {
            let input = Input::new([m, n, k], &device);
            let burn = input.measure(|a, b| a.matmul(b.transpose()));
            let ours = input.measure(kernel);
            let teraflops = |secs: f64| 2e-12 * (m * n * k) as f64 / secs;
            println!(
                "{name:<14} {m:>5}  {:>6.3} ms {:>7.2}  {:>6.3} ms {:>7.2}  {:.2}",
                1e3 * burn,
                teraflops(burn),
                1e3 * ours,
                teraflops(ours),
                ours / burn
            );
        }
    }
}

struct Input {
    shape: [usize; 3],
    values: [Vec<f32>; 2],
    a: Tensor<2>,
    b: Tensor<2>,
}

impl Input {
    fn new([m, n, k]: [usize; 3], device: &Device) -> Self {
        let matrix = |index: u32, rows: usize| {
            let mut stream = Stream::new(1, 1, index);
            (0..rows * k).map(|_| stream.normal()).collect::<Vec<f32>>()
        };
        let values = [matrix(0, m), matrix(1, n)];
        let tensor = |values: &Vec<f32>, rows| {
            Tensor::from_data(TensorData::new(values.clone(), [rows, k]), device)
        };
        let (a, b) = (tensor(&values[0], m), tensor(&values[1], n));
        Self { shape: [m, n, k], values, a, b }
    }

    /// Seconds of a product, which is right.
    fn measure(&self, product: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> f64 {
        let run = || product(self.a.clone(), self.b.clone());
        self.verify(run());
        let device = self.a.device();
        let time = || {
            device.sync().expect("an idle device");
            let start = Instant::now();
            // Several in a row: one alone is mostly its launch.
            let outs: Vec<_> = (0..8).map(|_| run()).collect();
            device.sync().expect("a device that finishes");
            drop(outs);
            start.elapsed().as_secs_f64() / 8.0
        };
        (0..5).map(|_| time()).fold(f64::INFINITY, f64::min)
    }

    /// A thousand entries against sums in f64.
    fn verify(&self, out: Tensor<2>) {
        let [m, n, k] = self.shape;
        let out = out.into_data().try_into_vec::<f32>().expect("f32");
        let mut stream = Stream::new(2, 1, 0);
        for _ in 0..1000 {
            let (row, column) = (stream.below(m as u32) as usize, stream.below(n as u32) as usize);
            let [a, b] = [(&self.values[0], row), (&self.values[1], column)]
                .map(|(values, line)| &values[line * k..(line + 1) * k]);
            let sum: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let off = (f64::from(out[row * n + column]) - sum).abs() / (k as f64).sqrt();
            assert!(
                off < 1e-4,
                "[{row}, {column}] is {} where {sum} is right",
                out[row * n + column]
            );
        }
    }
}
