//! A training step of the default recipe: `cargo bench --bench step [-- --device vulkan]`.
//!
//! Prints medians of ten steps after three, and what share of an update the objective takes.
//! `benches/torch_step.py` does the same work in torch eager; run both on a quiet machine and quote
//! the ratio.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use burn::tensor::{Tensor, TensorData};
use common::{device, median};
use srft::config::Config;
use srft::objective::assemble;
use srft::objective::loss::{BatchEntropy, switches};
use srft::ops::objective::{GIVEN, Row, objective};
use srft::records::Role;
use srft::run::{Parts, trainer};
use std::time::Instant;

fn main() {
    let selected = device("cpu");
    let config = Config::resolve(&[]).expect("the default config");
    let Parts { mut trainer, .. } = trainer(config, &selected.device).expect("the built-in model");
    let (mut rollout, mut train, mut tokens) = (Vec::new(), Vec::new(), [0, 0]);
    for index in 0..13 {
        let (report, _) = pollster::block_on(trainer.step()).expect("a step");
        if index >= 3 {
            rollout.push(1e3 * report.rollout_secs);
            train.push(1e3 * report.train_secs);
            tokens[0] += report.rollout_tokens;
            tokens[1] += report.trained_tokens;
        }
    }
    let sums = [rollout.iter().sum::<f64>(), train.iter().sum::<f64>()];
    println!(
        "{} ({}), 32 prompts, 8 rollouts and a demonstration",
        selected.name, selected.backend
    );
    for (name, times, sum, tokens) in
        [("rollout", rollout, sums[0], tokens[0]), ("update", train, sums[1], tokens[1])]
    {
        let rate = tokens as f64 / (sum / 1e3);
        println!(
            "{name}: {:.0} ms, {} tokens a step, {rate:.0} tokens/s",
            median(times),
            tokens / 10
        );
    }

    // The objective alone, over one update's tokens in one call, waiting for its result.
    let examples = trainer.source.examples(0, trainer.step, 32);
    let groups = pollster::block_on(trainer.groups(examples)).expect("rollouts");
    let update = assemble(&groups, &trainer.objective());
    let mut start = 0;
    let rows: Vec<Row> = update
        .sequences
        .iter()
        .map(|s| {
            let len = s.response.len() as u32;
            start += len;
            let demonstration = s.role == Role::Demonstration;
            Row { start: start - len, len, demonstration, terms: s.terms }
        })
        .collect();
    let n = start as usize;
    let plain = selected.device.clone().inner();
    let stats = TensorData::new([[-0.5f32, 0.7]; 1].repeat(n).concat(), [n, 2]);
    let switches = switches(&trainer.learner.config.objective, BatchEntropy::default());
    let times = (0..20).map(|_| {
        let stats = Tensor::<2>::from_data(stats.clone(), &plain);
        let given = Tensor::<2>::zeros([n, GIVEN], &plain);
        let clock = Instant::now();
        let result = objective(stats, given, &rows, &switches);
        result.sums.into_data().try_into_vec::<f32>().expect("f32");
        1e3 * clock.elapsed().as_secs_f64()
    });
    let alone = median(times.collect());
    let clock = Instant::now();
    let _ = pollster::block_on(trainer.learner.gradient(&update, 0)).expect("a gradient");
    let whole = 1e3 * clock.elapsed().as_secs_f64();
    println!(
        "objective and its sums: {alone:.2} ms, {:.1}% of the update's {whole:.0} ms",
        100.0 * alone / whole
    );
}
