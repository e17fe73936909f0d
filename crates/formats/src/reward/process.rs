//! A child process that answers questions line by line. Two threads serve its pipes, so that neither
//! side can block the other, however much is written before anything is read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes of a line; a longer one comes in pieces.
const MAX_LINE: u64 = 1 << 20;
/// Lines that may wait to be read before the process is blocked.
const MAX_WAITING: usize = 16;
/// How long the process may take to end after its standard input or output is closed.
const GRACE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);

/// Lines, and the index from which they are for the process.
type Questions = (Arc<[String]>, usize);

/// A running program. When dropped, its standard input is closed and it has a second to end by itself.
#[derive(Debug)]
pub struct Process {
    child: Child,
    questions: Option<Sender<Questions>>,
    answers: Receiver<String>,
    due: usize,
}

/// Why no answer came.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// The time limit passed.
    TimedOut,
    /// The process ended, as described.
    Ended(String),
}

impl Process {
    /// Starts a program that shares our standard error.
    pub fn start(program: &str, arguments: &[String]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        set_apart(&mut command);
        let mut child = command.spawn()?;
        let input = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (question_sender, questions) = channel();
        let (answer_sender, answers) = sync_channel(MAX_WAITING);
        let process = Self { child, questions: Some(question_sender), answers, due: 0 };
        let spawn = |work: Box<dyn FnOnce() + Send>| thread::Builder::new().spawn(work);
        spawn(Box::new(|| write(input, questions)))?;
        spawn(Box::new(|| read(output, answer_sender)))?;
        Ok(process)
    }

    /// The number of answers that are due.
    pub fn due(&self) -> usize {
        self.due
    }

    /// A line that was not asked for, if there is one.
    pub fn unasked(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }

    /// Asks for an answer to each line from index `from` on; every line ends in a line break.
    pub fn ask(&mut self, lines: Arc<[String]>, from: usize) {
        self.due += lines.len() - from;
        if let Some(questions) = &self.questions {
            // If the process no longer reads, the missing answer will be reported.
            let _ = questions.send((lines, from));
        }
    }

    /// The next answer, without its line break.
    pub fn answer(&mut self, time_limit: Duration) -> Result<String, Silence> {
        self.due = self.due.saturating_sub(1);
        self.answers.recv_timeout(time_limit).map_err(|e| match e {
            RecvTimeoutError::Timeout => Silence::TimedOut,
            RecvTimeoutError::Disconnected => Silence::Ended(match self.end(GRACE) {
                Some(status) => status.to_string(),
                None => "it had closed its output".into(),
            }),
        })
    }

    /// Closes standard input, and kills the process unless it ends by itself within `grace`.
    pub fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        self.questions = None;
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if start.elapsed() >= grace {
                break;
            }
            thread::sleep(POLL);
        }
        kill(&mut self.child);
        // Collects the exit status, so that no zombie is left.
        let _ = self.child.wait();
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(GRACE);
    }
}

/// Writes questions until there are no more or the process stops reading; then closes the pipe.
fn write(mut input: ChildStdin, questions: Receiver<Questions>) {
    for (lines, from) in questions {
        for line in &lines[from..] {
            if input.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Reads answers until there are no more, or nobody wants any.
fn read(output: ChildStdout, answers: SyncSender<String>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = output.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        if answers.send(text.trim_end_matches(['\r', '\n']).into()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Takes the process out of the terminal's foreground group: Ctrl-C makes us finish the step, which
/// still needs its answers.
#[cfg(unix)]
fn set_apart(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(any(unix, windows)))]
fn set_apart(_: &mut Command) {}

#[cfg(windows)]
fn set_apart(command: &mut Command) {
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
}

/// Kills the process and its children: what a shell or `uv run` starts is the real program.
#[cfg(unix)]
fn kill(child: &mut Child) {
    use nix::{sys::signal, unistd::Pid};
    // The id can't have been reused, since the child hasn't been waited for.
    let _ = signal::killpg(Pid::from_raw(child.id().cast_signed()), signal::SIGKILL);
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    let _ = child.kill();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use nix::{sys::signal, unistd::Pid};

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Process {
        Process::start("sh", &["-c".into(), script.into()]).unwrap()
    }

    #[test]
    fn lines_come_as_they_were_written() {
        let ended = Err(Silence::Ended("exit status: 0".into()));
        for (script, expected) in [
            (r"printf 'a\r\n\nb c'", vec!["a".into(), "".into(), "b c".into()]),
            (r"printf '\303\251\377\n'", vec!["é\u{FFFD}".into()]),
            ("head -c 1048580 /dev/zero", vec!["\0".repeat(1 << 20), "\0".repeat(4)]),
            ("exit 0", vec![]),
        ] {
            let mut process = sh(script);
            for line in expected {
                assert!(process.answer(LONG).as_ref() == Ok(&line), "{script}");
            }
            assert_eq!(process.answer(LONG), ended, "{script}");
        }
    }

    #[test]
    fn what_is_asked_is_due() {
        let mut process = sh("cat");
        process.ask(["a\n".into(), "b\n".into(), "c\n".into()].into(), 1);
        for (due, line) in [(2, "b"), (1, "c")] {
            assert_eq!(process.due(), due);
            assert_eq!(process.answer(LONG).as_deref(), Ok(line));
        }
        assert_eq!((process.due(), process.unasked()), (0, None));
    }

    #[test]
    fn a_process_whose_input_is_closed_may_end_by_itself() {
        let status = sh("cat; exit 5").end(LONG).expect("it ended by itself");
        assert_eq!(status.code(), Some(5));
        assert_eq!(sh("sleep 60").end(Duration::ZERO), None);
        let mut endless = sh("yes");
        assert_eq!(endless.answer(LONG).as_deref(), Ok("y"));
        assert_eq!(endless.end(Duration::ZERO), None);
    }

    #[test]
    fn nothing_is_left_running() {
        let mut process = sh("sleep 60 & echo $!; echo $$; wait");
        let ids = [process.answer(LONG).unwrap(), process.answer(LONG).unwrap()];
        let [child, shell] = ids.map(|id| Pid::from_raw(id.parse().unwrap()));
        assert!(signal::kill(child, None).is_ok() && signal::kill(shell, None).is_ok());
        drop(process);
        assert!(signal::kill(shell, None).is_err(), "not even a zombie");
        // Its new parent has to collect the child.
        let is_zombie = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat"));
            state.is_ok_and(|state| state.contains(") Z "))
        };
        let is_gone = || signal::kill(child, None).is_err() || is_zombie();
        let waits_for_it = (0..2000).any(|_| {
            thread::sleep(POLL);
            is_gone()
        });
        assert!(waits_for_it, "{child} runs on");
    }
}
