//! How a command that saves is asked to stop: by Ctrl-C, by SIGTERM (Slurm, Kubernetes, `docker stop`,
//! `kill`), or by SIGHUP (the terminal was closed) unless that is ignored, as under `nohup`.

use super::note;
use srft::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run says to the first Ctrl-C.
pub const SAVING: &str = "\nfinishing this step and saving; press Ctrl-C again to stop at once";

/// A flag set by these signals; `told` is what the first Ctrl-C is answered with. A second one, while the
/// flag is set, ends the program.
pub fn stop_on_interrupt(told: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            // The user will not wait, for a step for example. The last checkpoint remains.
            std::process::exit(130);
        }
        note(told);
    })
    .map_err(|e| Error::machine(format!("cannot listen for Ctrl-C: {e}")))?;
    #[cfg(unix)]
    termination::ask(&stop, told);
    Ok(stop)
}

#[cfg(unix)]
pub use termination::hold as hold_signals;

/// These signals exist only on Unix.
#[cfg(not(unix))]
pub fn hold_signals() {}

#[cfg(unix)]
mod termination {
    use super::note;
    use nix::sys::signal::{SigSet, Signal, raise};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, OnceLock};

    /// The flag that asks a run to stop, and what is said then; empty until there is something to save.
    static STOP: OnceLock<(Arc<AtomicBool>, &'static str)> = OnceLock::new();

    /// Blocks the signals in every thread but one, which waits for them. Must be called before any
    /// other thread starts, since threads inherit the mask. Child processes get the default mask from
    /// the standard library.
    pub fn hold() {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        if !is_ignored(Signal::SIGHUP) {
            signals.add(Signal::SIGHUP);
        }
        if signals.thread_block().is_ok() {
            std::thread::spawn(move || wait(signals));
        }
    }

    fn wait(signals: SigSet) {
        while let Ok(signal) = signals.wait() {
            match STOP.get() {
                // A second signal changes nothing: `timeout` and others send two.
                Some((stop, _)) if stop.swap(true, Ordering::SeqCst) => {}
                Some((_, told)) => note(format_args!("{signal}: {told}")),
                None => {
                    // Nothing to save yet: let the signal take its default action.
                    let _ = signals.thread_unblock().and_then(|()| raise(signal));
                }
            }
        }
    }

    /// Of what Ctrl-C is answered with, what is about Ctrl-C itself is left out.
    pub fn ask(stop: &Arc<AtomicBool>, told: &'static str) {
        let told = told.trim_start().split(';').next().unwrap_or_default();
        let _ = STOP.set((stop.clone(), told));
    }

    /// Whether the parent process had the signal ignored. If that can't be told, assume so, and leave
    /// the signal alone.
    fn is_ignored(signal: Signal) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        mask.is_none_or(|mask| mask >> (signal as u32 - 1) & 1 == 1)
    }
}
