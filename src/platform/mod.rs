//! What differs between a native program and a browser tab: files, the clock, giving way.

#[cfg(not(target_family = "wasm"))]
mod files;
#[cfg(not(target_family = "wasm"))]
pub use files::{
    FolderLock, append_line, lock_folder, mend_folder, mend_folders_in, read, read_text,
    remove_folder_atomic, sync_file, write_atomic, write_folder_atomic,
};

/// Seconds between two calls, for reports only: no number of a run depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(#[cfg(not(target_family = "wasm"))] std::time::Instant);

impl Stopwatch {
    /// Starts counting.
    pub fn start() -> Self {
        #[cfg(not(target_family = "wasm"))]
        return Self(std::time::Instant::now());
        #[cfg(target_family = "wasm")]
        Self()
    }

    /// Seconds since the start; 0 in the browser until its shell brings a clock.
    pub fn elapsed_secs(&self) -> f64 {
        #[cfg(not(target_family = "wasm"))]
        return self.0.elapsed().as_secs_f64();
        #[cfg(target_family = "wasm")]
        0.0
    }
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
