//! What differs between a native program and a browser tab: files, the clock, the adapter's name, and
//! where the built-in model's weights come from.

#[cfg(target_family = "wasm")]
mod browser;
mod bytes;
#[cfg(not(target_family = "wasm"))]
mod disk;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(test, allow(dead_code, reason = "tested natively, used in a tab"))]
mod tab;

pub use bytes::Bytes;
#[cfg(not(target_family = "wasm"))]
pub use disk::*;
#[cfg(target_family = "wasm")]
pub use {browser::*, tab::*};

use crate::error::{Error, Result};
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use web_time::Instant;

/// Whether this is a browser's page: what it never needs is left out of its download.
pub const IS_PAGE: bool = cfg!(target_family = "wasm");

/// What only a native program has: a page has no value of it, so what needs one is not downloaded.
#[cfg(not(target_family = "wasm"))]
#[derive(Debug, Clone, Copy)]
pub struct Native;
/// What only a native program has: a page has no value of it.
#[cfg(target_family = "wasm")]
#[derive(Debug, Clone, Copy)]
pub enum Native {}

/// In a native program the value.
#[cfg(not(target_family = "wasm"))]
pub const NATIVE: Option<Native> = Some(Native);
/// In a native program the value.
#[cfg(target_family = "wasm")]
pub const NATIVE: Option<Native> = None;

/// Whether published models are read: by every native program, and by a page that is built for them (the feature
/// `models`), whose download is larger.
pub const READS_MODELS: bool = cfg!(any(not(target_family = "wasm"), feature = "models"));

/// What only reading published models needs: a page without them has no value of it, so what needs one is not
/// downloaded.
#[cfg(any(not(target_family = "wasm"), feature = "models"))]
#[derive(Debug, Clone, Copy)]
pub struct Models;
/// What only reading published models needs: this page has no value of it.
#[cfg(all(target_family = "wasm", not(feature = "models")))]
#[derive(Debug, Clone, Copy)]
pub enum Models {}

/// Where published models are read, the value.
#[cfg(any(not(target_family = "wasm"), feature = "models"))]
pub const MODELS: Option<Models> = Some(Models);
/// Where published models are read, the value.
#[cfg(all(target_family = "wasm", not(feature = "models")))]
pub const MODELS: Option<Models> = None;

/// The text of a file, which must be UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].split(|&b| b == b'\n').count();
        Error::input("the file is not UTF-8 text")
            .at(format!("{}:{line}", path.display()))
            .next("save it as UTF-8")
    })
}

/// Yields once: whoever drives the future may continue or drop it. The core yields between decoding
/// steps, between micro-batches and between recomputed layers, so work that is no longer wanted ends
/// there. Nothing is changed until a piece of work is complete.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|context| match std::mem::replace(&mut given, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Drives a future to its end; once `stop` is set, drops it where it next yields and returns `None`.
pub async fn unless_stopped<T>(stop: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if stop.load(Ordering::SeqCst) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Seconds since a start, for reports only: no number of a run depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn elapsed_secs(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Peak resident memory of this process in bytes, if the system tells.
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// The machine's memory in bytes, if the system tells.
pub fn memory_bytes() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemTotal:")
}

/// Bytes that this process may still take, if the system tells: what the machine has left, or the container.
pub fn free_memory_bytes() -> Option<u64> {
    let free = kibibytes("/proc/meminfo", "MemAvailable:")?;
    let of_container = |file| {
        let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok()?;
        text.trim().parse::<u64>().ok() // `max` where there is no limit
    };
    let left = of_container("memory.max").zip(of_container("memory.current"));
    Some(left.map_or(free, |(most, taken)| free.min(most.saturating_sub(taken))))
}

#[cfg(target_os = "linux")]
fn kibibytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[cfg(not(target_os = "linux"))]
fn kibibytes(_file: &str, _key: &str) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    #[test]
    fn a_work_is_dropped_where_it_gives_way() {
        let stop = AtomicBool::new(false);
        let work = async |pauses: usize, stopped_at: usize| {
            for pause in 0..pauses {
                stop.fetch_or(pause == stopped_at, Ordering::SeqCst);
                give_way().await;
            }
            pauses
        };
        assert_eq!(block_on(unless_stopped(&stop, work(5, 9))), Some(5));
        assert_eq!(block_on(unless_stopped(&stop, work(5, 3))), None);
        assert_eq!(block_on(unless_stopped(&stop, work(0, 0))), Some(0), "what never waits ends");
    }
}
