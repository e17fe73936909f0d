//! Times within a budget: medians, and as many repetitions as fit.

use crate::error::{Error, Result};
use crate::ops::readback::wait;
use crate::platform::{Stopwatch, unless_stopped};
use burn::tensor::Device;
use std::sync::atomic::{AtomicBool, Ordering};

/// Repetitions that make a median, if they took this long together.
const ENOUGH: usize = 7;
const ENOUGH_SECS: f64 = 0.1;
/// Short work is queued so often in a row that one repetition takes this long: alone, it would be mostly the wait.
const ROW_SECS: f64 = 5e-3;
/// Most of a row.
const ROW: f64 = 64.0;

/// What is left of the time that a bench may take.
pub struct Clock<'a> {
    began: Stopwatch,
    secs: f64,
    stop: &'a AtomicBool,
}

impl<'a> Clock<'a> {
    /// Starts; once `stop` is set, what is being measured ends with [`Kind::Interrupted`](crate::error::Kind).
    pub fn start(secs: f64, stop: &'a AtomicBool) -> Self {
        Self { began: Stopwatch::start(), secs, stop }
    }

    /// Seconds since the start.
    pub fn elapsed_secs(&self) -> f64 {
        self.began.elapsed_secs()
    }

    /// Seconds that are left, perhaps fewer than none.
    pub fn left_secs(&self) -> f64 {
        self.secs - self.elapsed_secs()
    }

    /// Seconds that `work` takes, once.
    pub async fn once(&self, work: impl Future<Output = Result<()>>) -> Result<f64> {
        let one = Stopwatch::start();
        let stopped = || {
            let next = "run it again, with fewer --seconds or --only one part";
            Error::interrupted("stopped before everything was measured").next(next)
        };
        if self.stop.load(Ordering::SeqCst) {
            return Err(stopped());
        }
        unless_stopped(self.stop, work).await.ok_or_else(stopped)??;
        Ok(one.elapsed_secs())
    }

    /// The median seconds of `one`, which measures itself: at least one, and as many as fit in `secs`.
    pub async fn median(&self, secs: f64, one: impl AsyncFnMut() -> Result<f64>) -> Result<f64> {
        let times = self.sorted(secs, one).await?;
        Ok(times[times.len() / 2])
    }

    /// The seconds of each, the shortest first.
    pub async fn sorted(
        &self,
        secs: f64,
        mut one: impl AsyncFnMut() -> Result<f64>,
    ) -> Result<Vec<f64>> {
        let (all, mut times) = (Stopwatch::start(), Vec::new());
        loop {
            times.push(one().await?);
            let (spent, count) = (all.elapsed_secs(), times.len());
            let is_enough = count >= ENOUGH && spent > ENOUGH_SECS;
            if is_enough || spent + spent / count as f64 > secs {
                break;
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }

    /// The median seconds of `work` among others in a queue, after a first time, which compiles. `work` only queues.
    pub async fn queued(&self, device: &Device, secs: f64, mut work: impl FnMut()) -> Result<f64> {
        let mut row = async |count: usize| {
            let run = async {
                (0..count).for_each(|_| work());
                wait(device)
            };
            self.once(run).await
        };
        let compiling = row(1).await?;
        let alone = row(1).await?;
        let count = (ROW_SECS / alone).clamp(1.0, ROW) as usize;
        let left = secs - compiling - alone;
        let whole = self.median(left, async || row(count).await).await?;
        Ok(whole / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use pollster::block_on;

    /// How many pieces of work that say they take so long are done, and what comes of it.
    fn repeated(secs: f64, each: f64, stop: &AtomicBool) -> (usize, Result<f64>) {
        let (clock, mut count) = (Clock::start(1.0, stop), 0);
        let one = async || {
            count += 1;
            let sleep = async {
                std::thread::sleep(std::time::Duration::from_secs_f64(each));
                Ok(())
            };
            clock.once(sleep).await
        };
        let median = block_on(clock.median(secs, one));
        (count, median)
    }

    #[test]
    fn what_does_not_fit_is_done_once_and_short_work_often_enough() {
        let go = AtomicBool::new(false);
        let (count, median) = repeated(-1.0, 0.02, &go);
        assert_eq!(count, 1);
        assert!(median.unwrap() >= 0.02);
        assert!((1..=5).contains(&repeated(0.1, 0.02, &go).0));
        let short = repeated(100.0, 0.001, &go).0;
        assert!((ENOUGH..=250).contains(&short), "{short} times");
    }

    #[test]
    fn a_stop_ends_it_before_the_next_piece() {
        let (count, median) = repeated(100.0, 0.02, &AtomicBool::new(true));
        assert_eq!((count, median.unwrap_err().kind), (1, Kind::Interrupted));
    }
}
