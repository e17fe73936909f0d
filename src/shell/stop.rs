//! How a command that saves is asked to stop: by Ctrl-C, by SIGTERM (Slurm, Kubernetes, `docker stop`,
//! `kill`), by SIGHUP (the terminal went away), unless that is ignored as under `nohup`.

use super::note;
use srft::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that those set; a second Ctrl-C ends the program.
pub fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            // A second Ctrl-C: the user will not wait for the step. The last checkpoint stands.
            std::process::exit(130);
        }
        note("\nfinishing this step and saving; press Ctrl-C again to stop at once");
    })
    .map_err(|e| Error::machine(format!("cannot listen for Ctrl-C: {e}")))?;
    #[cfg(unix)]
    termination::ask(&stop);
    Ok(stop)
}

#[cfg(unix)]
pub use termination::hold as hold_signals;

/// Without these signals there is nothing to hold.
#[cfg(not(unix))]
pub fn hold_signals() {}

#[cfg(unix)]
mod termination {
    use super::note;
    use nix::sys::signal::{SigSet, Signal, raise};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, OnceLock};

    /// What a stopped run is asked by; empty before it can save.
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

    /// Keeps the signals from every thread but one, which waits for them. Called before any other thread
    /// begins, since each has the mask of the one that began it. Programs that are started get the usual
    /// mask from the standard library.
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
                // A second one changes nothing: `timeout` and others send two.
                Some(stop) if stop.swap(true, Ordering::SeqCst) => {}
                Some(_) => note(format_args!("{signal}: finishing this step and saving")),
                None => {
                    // Nothing to save yet: the signal does what it does.
                    let _ = signals.thread_unblock().and_then(|()| raise(signal));
                }
            }
        }
    }

    pub fn ask(stop: &Arc<AtomicBool>) {
        let _ = STOP.set(stop.clone());
    }

    /// Whether the one who started us had a signal ignored; where that cannot be told, yes: it is then
    /// left alone.
    fn is_ignored(signal: Signal) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        mask.is_none_or(|mask| mask >> (signal as u32 - 1) & 1 == 1)
    }
}
