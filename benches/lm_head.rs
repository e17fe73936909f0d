//! The fused LM head against burn's own operations, forward and backward: first equality, then
//! time and peak memory of each, in a process of its own.
//!
//!     cargo bench --bench lm_head [-- --device cpu]        (default: llvmpipe, software Vulkan)
//!
//! Both take hidden states [N, D] and a head [V, D] to the gradients of
//! L = Σ (−0.3·ln p + 0.05·H²)/N. Times are the shortest of three runs, each after one that compiles
//! the pipelines and each ending when the device is done; CPU seconds (all threads, Linux) tell on a
//! software adapter even when the machine is busy with other things. Device memory is what burn's
//! pools hold at the end (they only grow here); beside it the process's peak resident memory, where
//! a software adapter's and the CPU's tensors live.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use std::process::Command;
use std::time::Instant;

use burn::backend::wgpu::CubeBackend;
use burn::cubecl::MemoryScope;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use srft::ops::fused::runs_on;
use srft::ops::lm_head::{Head, logits_bytes};
use srft::random::Stream;

const N: usize = 2048;
/// Qwen2.5-0.5B's.
const D: usize = 896;
const V: usize = 151_936;
/// Rows of a block of the head: 64 MiB.
const BLOCK: usize = (64 << 20) / (4 * D);
/// Lavapipe's name for itself.
const SOFTWARE: &str = "llvmpipe";
/// Tokens in a sequence, hence the smallest chunk.
const SEQUENCE: usize = 64;
/// Rows of logits in one tensor of the stock operations: 128 MiB, WebGPU's largest binding.
const STOCK_ROWS: usize = (128 << 20) / (4 * V);

fn main() {
    let part = |run: fn(&Input) -> Gradients| measure(&common::device(SOFTWARE).device, run);
    match common::value("--measure").as_deref() {
        Some("equality") => verify(&common::device(SOFTWARE).device),
        Some("stock") => part(stock),
        Some("fused") => part(fused),
        _ => compare(&common::value("--device").unwrap_or(SOFTWARE.into())),
    }
}

/// Runs the parts in processes of their own and prints the ratios.
fn compare(device: &str) {
    let part = |name: &str| -> Vec<f64> {
        let output = Command::new(std::env::current_exe().expect("this program's path"))
            .args(["--device", device, "--measure", name])
            .output()
            .expect("the part runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} failed:\n{text}{errors}");
        text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
    };
    println!("{device}: N {N}, D {D}, V {V}, forward + backward");
    let difference = part("equality");
    println!("largest relative difference of gradients {:.1e}", difference[0]);
    // In turns, so that other work on the machine doesn't fall on one of them alone.
    let least = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a.min(b)).collect();
    let turns = (0..3).map(|_| (part("stock"), part("fused")));
    let best = turns.reduce(|best, turn| (least(best.0, turn.0), least(best.1, turn.1)));
    let (stock, fused): (Vec<f64>, Vec<f64>) = best.expect("three turns");
    for (i, what) in
        ["seconds", "CPU seconds", "device MiB", "resident MiB"].into_iter().enumerate()
    {
        let ratio = fused[i] / stock[i];
        println!("{what:>13}: stock {:9.3}, fused {:9.3}, ratio {ratio:.3}", stock[i], fused[i]);
    }
}

struct Input {
    hidden: Tensor<2>,
    /// In blocks, as a model holds it: not every adapter binds more.
    head: Vec<Tensor<2>>,
    targets: Tensor<1, Int>,
}

impl Input {
    fn new(device: &Device) -> Self {
        let mut stream = Stream::new(1, 1, 0);
        let mut matrix = |rows: usize, scale: f32| {
            let values: Vec<f32> = (0..rows * D).map(|_| scale * stream.normal()).collect();
            Tensor::from_data(TensorData::new(values, [rows, D]), device)
        };
        let hidden = matrix(N, 1.0);
        let blocks = (0..V).step_by(BLOCK).map(|first| BLOCK.min(V - first));
        let head = blocks.map(|rows| matrix(rows, 0.1)).collect();
        let targets: Vec<i32> = (0..N).map(|_| stream.below(V as u32) as i32).collect();
        Self { hidden, head, targets: Tensor::from_data(TensorData::new(targets, [N]), device) }
    }
}

/// dL/dhidden, and dL/dhead in blocks.
type Gradients = (Tensor<2>, Vec<Tensor<2>>);

fn stock(input: &Input) -> Gradients {
    let hidden = input.hidden.clone().autodiff().require_grad();
    let leaf = |block: &Tensor<2>| block.clone().autodiff().require_grad();
    let head: Vec<Tensor<2>> = input.head.iter().map(leaf).collect();
    let targets = input.targets.clone().split(STOCK_ROWS, 0);
    let parts = hidden.clone().split(STOCK_ROWS, 0).into_iter().zip(targets);
    let losses = parts.map(|(hidden, targets)| {
        let block = |block: &Tensor<2>| hidden.clone().matmul(block.clone().transpose());
        let logits = Tensor::cat(head.iter().map(block).collect(), 1);
        let log_p = activation::log_softmax(logits, 1);
        let entropy = -(log_p.clone().exp() * log_p.clone()).sum_dim(1);
        let picked = log_p.gather(1, targets.unsqueeze_dim(1));
        (picked * -0.3 + entropy.powi_scalar(2) * 0.05).sum()
    });
    let loss = losses.reduce(|a, b| a + b).expect("a loss") / N as f32;
    let gradients = loss.backward();
    let of = |x: Tensor<2>| x.grad(&gradients).expect("a gradient");
    (of(hidden), head.into_iter().map(of).collect())
}

fn fused(input: &Input) -> Gradients {
    let on_cpu = runs_on(&input.hidden.device());
    let blocks = input.head.iter().cloned().map(Into::into);
    let head = Head::new(blocks.collect(), logits_bytes(on_cpu));
    let mut d_head = head.no_gradient();
    let tokens = (head.tokens() / SEQUENCE).max(1) * SEQUENCE;
    let hidden = input.hidden.clone().split(tokens, 0).into_iter();
    let d_hidden = hidden.zip(input.targets.clone().split(tokens, 0)).map(|(hidden, targets)| {
        let chunk = head.forward(hidden, targets);
        let entropy = chunk.stats().narrow(1, 1, 1);
        let (g_logp, g_entropy) = (entropy.zeros_like() - 0.3, entropy * 0.1);
        let coefficients = Tensor::cat(vec![g_logp, g_entropy], 1) / N as f32;
        head.backward(chunk, coefficients, &mut d_head)
    });
    let d_hidden = Tensor::cat(d_hidden.collect(), 0);
    let d_head = d_head.into_iter().map(|block| block.expect("the head's gradient"));
    (d_hidden, d_head.collect())
}

/// Prints the largest difference, relative to the largest gradient; fails beyond 5e-4: sums over the vocabulary, in f32 and in other orders.
fn verify(device: &Device) {
    let input = Input::new(device);
    let (ours, stock) = (fused(&input), stock(&input));
    let mut worst = 0.0f32;
    let pairs = std::iter::once((ours.0, stock.0)).chain(ours.1.into_iter().zip(stock.1));
    for (a, b) in pairs {
        let [a, b] = [a, b].map(|x| x.into_data().try_into_vec::<f32>().expect("f32"));
        let scale = b.iter().fold(0.0f32, |top, x| top.max(x.abs()));
        let difference = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
        worst = worst.max(difference.fold(0.0, |top, x| if x <= top { top } else { x }) / scale);
    }
    assert!(worst <= 5e-4, "gradients differ by {worst:.1e} of the largest");
    println!("{worst}");
}

/// Prints seconds, CPU seconds, device MiB, resident MiB.
fn measure(device: &Device, run: fn(&Input) -> Gradients) {
    let input = Input::new(device);
    let time = || {
        device.sync().expect("an idle device");
        let (start, cpu_start) = (Instant::now(), cpu_secs());
        let gradients = run(&input);
        device.sync().expect("a device that finishes");
        let secs = [start.elapsed().as_secs_f64(), cpu_secs() - cpu_start];
        drop(gradients);
        secs
    };
    time();
    let [secs, cpu] = time();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let reserved = input
        .hidden
        .try_into_primitive::<CubeBackend>()
        .ok()
        .map(|tensor| tensor.client.memory_report(MemoryScope::Device).usage().bytes_reserved);
    println!("{secs} {cpu} {} {}", reserved.map_or(f64::NAN, mib), mib(peak_resident_bytes()));
}

/// CPU time of all threads so far, from Linux's process table (ticks of 10 ms); 0 elsewhere.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are fields 14 and 15; the name in field 2 may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Linux's high-water mark; 0 elsewhere.
fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}
