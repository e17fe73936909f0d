//! An adapter's own figures: what a launch and a wait cost, how fast memory and large products are.

use super::clock::Clock;
use super::product::{By, Matrix};
use super::record::Machine;
use crate::error::Result;
use crate::ops::fused::runs_on;
use crate::ops::readback::{floats, wait};
use crate::platform::Stopwatch;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::hint::black_box;

/// Small operations in a queue, and waits.
const LAUNCHES: usize = 1000;
const WAITS: usize = 100;

/// A buffer that no cache holds.
const BUFFER_BYTES: usize = 256 << 20;

/// Square products, until one takes this long.
const SIDES: [usize; 5] = [256, 512, 1024, 2048, 4096];
const LARGE_SECS: f64 = 0.05;

/// Measures them within `secs`, buffers being at most `max_bytes`.
pub async fn machine(
    clock: &Clock<'_>,
    device: &Device,
    max_bytes: u64,
    secs: f64,
    told: &dyn Fn(&str),
) -> Result<Machine> {
    told("launches and waits");
    let each = secs / 8.0;
    let us = |secs: f64, count: usize| 1e6 * secs / count as f64;
    let small = Tensor::<1>::zeros([64], device);
    let mut x = small.clone();
    let launch = || {
        x = x.clone() + 1.0;
        Ok(())
    };
    let launch_us = us(repeated(clock, device, each, LAUNCHES, launch).await?, LAUNCHES);
    let number = TensorData::new(vec![1.0f32; 4], [4]);
    let write = || {
        drop(Tensor::<1>::from_data(number.clone(), device));
        Ok(())
    };
    let host_write_us = us(repeated(clock, device, each, LAUNCHES, write).await?, LAUNCHES);
    let launch_and_wait = || {
        drop(small.clone() + 1.0);
        wait(device)
    };
    let wait_us = us(repeated(clock, device, each, WAITS, launch_and_wait).await?, WAITS);
    let read = async || {
        let run = async {
            for _ in 0..WAITS {
                black_box(floats(small.clone() + 1.0).await?);
            }
            Ok(())
        };
        clock.once(run).await
    };
    read().await?;
    let readback_us = us(clock.median(each, read).await?, WAITS);

    told("memory bandwidth");
    let bytes = BUFFER_BYTES.min(max_bytes as usize);
    let bandwidth = match runs_on(device) {
        true => reading(clock, bytes, each).await?,
        false => scaling(clock, device, bytes, each).await?,
    };
    let peak = peak(clock, device, max_bytes, 3.0 * each, told).await?;
    Ok(Machine {
        launch_us,
        host_write_us,
        wait_us,
        readback_us,
        bandwidth_gb_per_sec: 1e-9 * bandwidth,
        peak_gflop_per_sec: 1e-9 * peak,
    })
}

/// Seconds of `count` calls in a row, waited for.
async fn repeated(
    clock: &Clock<'_>,
    device: &Device,
    secs: f64,
    count: usize,
    mut one: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let mut all = async |count: usize| {
        let run = async {
            (0..count).try_for_each(|_| one())?;
            wait(device)
        };
        clock.once(run).await
    };
    all(count.div_ceil(10)).await?; // compiles
    clock.median(secs, async || all(count).await).await
}

/// Bytes a second of x · 1.5: each number is read and written.
async fn scaling(clock: &Clock<'_>, device: &Device, bytes: usize, secs: f64) -> Result<f64> {
    let x = Tensor::<1>::ones([bytes / 4], device);
    let scale = || drop(x.clone() * 1.5);
    Ok(2.0 * bytes as f64 / clock.queued(device, secs, scale).await?)
}

/// Bytes a second that all threads read.
async fn reading(clock: &Clock<'_>, bytes: usize, secs: f64) -> Result<f64> {
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let read = || {
        let parts = words.par_chunks(1 << 16).map(|part| part.iter().fold(0, |a, b| a ^ b));
        black_box(parts.reduce(|| 0, |a, b| a ^ b));
        Ok(())
    };
    let once = async || clock.once(async { read() }).await;
    once().await?;
    // The shortest: on a CPU that does other work too, the median is of that.
    Ok(bytes as f64 / clock.sorted(secs, once).await?[0])
}

/// Operations a second of the fastest large product in f32.
async fn peak(
    clock: &Clock<'_>,
    device: &Device,
    max_bytes: u64,
    secs: f64,
    told: &dyn Fn(&str),
) -> Result<f64> {
    let (mut best, whole) = (0.0f64, Stopwatch::start());
    for side in SIDES {
        if (4 * side * side) as u64 > max_bytes {
            break;
        }
        told(&format!("a product of {side} × {side}"));
        let matrix = Matrix::new([side, side], false, 0.0, device);
        let (x, mut longest) = (matrix.rows(side), 0.0f64);
        for by in [By::Burn, By::Srft] {
            let Some(time) = matrix.measure(clock, &x, by, secs / 4.0).await? else { continue };
            best = best.max(matrix.work(side, by).flop / time);
            longest = longest.max(time);
        }
        // The next takes eight times as long, in several ways and turns.
        if longest > LARGE_SECS || whole.elapsed_secs() + 64.0 * longest > secs {
            break;
        }
    }
    Ok(best)
}
