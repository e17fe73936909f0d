//! What differs between a native program and a browser tab: files, the clock, an adapter's name,
//! and how the built-in model's weights come along.

mod bytes;
#[cfg(not(target_family = "wasm"))]
mod files;
#[cfg(not(target_family = "wasm"))]
mod hidden;
#[cfg(any(target_family = "wasm", test))]
#[cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "tested natively, used in a tab")
)]
mod memory;
#[cfg(not(target_family = "wasm"))]
mod out;
#[cfg(not(target_family = "wasm"))]
use files as system;
#[cfg(target_family = "wasm")]
use memory as system;

pub use bytes::Bytes;
#[cfg(not(target_family = "wasm"))]
pub use files::is_held;
#[cfg(not(target_family = "wasm"))]
pub use out::{OutFile, require_folder};
pub use system::{
    FileWriter, FolderLock, FolderWriter, append_line, create_folder, exists, is_folder,
    lock_folder, map, mend_folder, mend_folders_in, mend_older, names_in, read, remove_file,
    remove_folder_atomic, sync_file, write_atomic,
};

use crate::error::{Error, Result};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
#[cfg(not(target_family = "wasm"))]
use std::time::Instant;
#[cfg(target_family = "wasm")]
use web_time::Instant;

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

/// Gives way once: whoever drives the future that awaits this may go on, or drop it. The core gives way
/// between decoding steps, between micro-batches, and between layers that are computed again, so work
/// that is no longer wanted ends there. Nothing is changed before such a work is whole.
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

/// Drives a work to its end, or drops it where it next gives way once `stop` is set: then `None`.
pub async fn unless_stopped<T>(stop: &AtomicBool, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if stop.load(Ordering::SeqCst) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The path from the root, so that it means the same after a program has changed its folder.
#[cfg(not(target_family = "wasm"))]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// A tab has one folder.
#[cfg(target_family = "wasm")]
pub fn absolute(path: &Path) -> PathBuf {
    path.into()
}

/// Seconds between two calls, for reports only: no number of a run depends on it.
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

/// The weights of the built-in model, part of the program.
#[cfg(not(target_family = "wasm"))]
pub fn tiny_weights() -> Vec<u8> {
    include_bytes!("../../../../assets/tiny/model.safetensors").to_vec()
}

/// The weights of the built-in model, which a tab fetches beside the program; empty before
/// [`set_tiny_weights`].
#[cfg(target_family = "wasm")]
pub fn tiny_weights() -> Vec<u8> {
    TINY_WEIGHTS.with_borrow(Clone::clone)
}

#[cfg(target_family = "wasm")]
thread_local! {
    static TINY_WEIGHTS: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Hands over what the tab has fetched.
#[cfg(target_family = "wasm")]
pub fn set_tiny_weights(bytes: Vec<u8>) {
    TINY_WEIGHTS.set(bytes);
}

/// What a browser says of its adapter, which wgpu does not pass on; native adapters have names.
#[cfg(not(target_family = "wasm"))]
pub async fn adapter_name() -> Option<String> {
    None
}

/// The vendor, architecture and description of the browser's WebGPU adapter, as far as it tells.
#[cfg(target_family = "wasm")]
pub async fn adapter_name() -> Option<String> {
    use wasm_bindgen::{JsCast, JsValue};
    let get = |object: &JsValue, key: &str| js_sys::Reflect::get(object, &key.into()).ok();
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let request: js_sys::Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let promise: js_sys::Promise = request.call0(&gpu).ok()?.dyn_into().ok()?;
    let adapter = wasm_bindgen_futures::JsFuture::from(promise).await.ok()?;
    let info = get(&adapter, "info")?;
    let words = ["vendor", "architecture", "device", "description"]
        .map(|key| get(&info, key).and_then(|v| v.as_string()).unwrap_or_default());
    let words: Vec<String> = words.into_iter().filter(|w| !w.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Peak resident memory of this process in bytes, where the system tells it.
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// The machine's memory in bytes, where the system tells it.
pub fn memory_bytes() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemTotal:")
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
