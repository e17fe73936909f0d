//! Workers as processes.

use crate::program::Home;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running worker; killed when it is dropped.
pub struct Worker {
    child: Child,
    /// Its UDP port.
    pub port: u16,
    /// What it has said.
    pub said: Arc<Mutex<Vec<String>>>,
}

/// A UDP port that is free now.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Of this process, so that two of them take different ones.
        let spread = (std::process::id() % 200) as u16 * 100;
        let port = 21_000 + spread + NEXT.fetch_add(1, Ordering::SeqCst) % 100;
        if std::net::UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a worker in `home` that keeps its models in `folder`, and waits until it listens.
pub fn start(home: &Home, folder: &str) -> Worker {
    start_at(home, folder, free_port())
}

/// [`start`] on a port.
pub fn start_at(home: &Home, folder: &str, port: u16) -> Worker {
    let arguments =
        format!("worker --token-file token --device cpu --port {port} --folder {folder}");
    let mut command = home.command(&arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).env("RAYON_NUM_THREADS", "1");
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = Arc::new(Mutex::new(Vec::new()));
    loop {
        let line = lines.next().unwrap_or_else(|| panic!("{:?}", said.lock().unwrap())).unwrap();
        let listens = line.contains("listening on UDP port");
        said.lock().unwrap().push(line);
        if listens {
            break;
        }
    }
    let heard = said.clone();
    thread::spawn(move || lines.map_while(Result::ok).for_each(|l| heard.lock().unwrap().push(l)));
    Worker { child, port, said }
}

impl Worker {
    /// As `--workers` has it.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

/// Starts a run; what it says on standard error is kept.
pub fn spawn(home: &Home, arguments: &str) -> Child {
    let mut command = home.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Asks a run to stop, as Ctrl-C does.
pub fn interrupt(run: &Child) {
    let status = Command::new("kill").args(["-INT", &run.id().to_string()]).status();
    assert!(status.unwrap().success());
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `--workers` and the token of them.
pub fn with(workers: &[&Worker]) -> String {
    let names: Vec<String> = workers.iter().map(|w| w.name()).collect();
    format!("--workers {} --token-file token", names.join(","))
}
