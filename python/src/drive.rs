//! Drives the core's futures to their end, and hears signals on the way: the core gives way between
//! decoding steps and between micro-batches, and a future that is dropped there has changed nothing.

use crate::error::OrRaise;
use pyo3::prelude::*;
use srft::error::{Error, Result};
use std::pin::pin;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Time between two looks for signals.
const LOOK: Duration = Duration::from_millis(50);

/// Wakes the thread that drives.
struct Driver {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// What came of a future.
pub enum Driven<T> {
    /// It came to its end, and nothing was raised.
    Done(T),
    /// It came to its end after a signal's handler had raised something (KeyboardInterrupt, as a rule).
    DoneAnd(T, PyErr),
}

/// Drives a future to its end, or until a signal's handler raises.
pub fn drive<T>(future: impl Future<Output = Result<T>>) -> PyResult<T> {
    match drive_with(Duration::ZERO, future)? {
        Driven::Done(value) => Ok(value),
        Driven::DoneAnd(_, raised) => Err(raised),
    }
}

/// The same, where a signal leaves the future `grace` to come to its end; a second one does not.
pub fn drive_with<T>(
    grace: Duration,
    future: impl Future<Output = Result<T>>,
) -> PyResult<Driven<T>> {
    require_own_process().or_raise()?;
    let driver = Arc::new(Driver { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(driver.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut looked = Instant::now();
    let mut raised: Option<(PyErr, Instant)> = None;
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            let value = outcome.or_raise();
            return match raised.map(|(e, _)| e).or_else(heard) {
                Some(e) => Ok(Driven::DoneAnd(value?, e)),
                None => Ok(Driven::Done(value?)),
            };
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            match (heard(), raised.take()) {
                (Some(second), Some(_)) => return Err(second),
                (Some(first), None) if grace.is_zero() => return Err(first),
                (Some(first), None) => raised = Some((first, looked)),
                (None, Some((first, since))) if since.elapsed() >= grace => return Err(first),
                (None, still) => raised = still,
            }
        }
        if !driver.is_woken.swap(false, Ordering::SeqCst) {
            thread::park_timeout(LOOK);
        }
    }
}

/// What the handler of a signal that came in raises.
fn heard() -> Option<PyErr> {
    // None where the interpreter is going down.
    Python::try_attach(|py| py.check_signals())?.err()
}

/// The process in which something was computed first.
static OWNER: OnceLock<u32> = OnceLock::new();

/// Refuses a child that was forked after its parent computed: the threads that compute are not in it, and
/// it would wait for them for ever.
pub fn require_own_process() -> Result<()> {
    match *OWNER.get_or_init(process::id) == process::id() {
        true => Ok(()),
        false => Err(Error::machine("this process was forked from one in which srft had computed")
            .next("start processes with multiprocessing.get_context(\"spawn\"), or fork before the first call")),
    }
}
