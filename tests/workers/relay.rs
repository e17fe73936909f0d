//! A wire between a coordinator and a worker that a test can cut.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Passes datagrams on between whoever sends to its port and a worker.
pub struct Relay {
    /// Its UDP port.
    pub port: u16,
    is_cut: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Relay {
    /// To the worker on that port.
    pub fn new(port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let own = socket.local_addr().unwrap().port();
        let (is_cut, is_over) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (cut, over) = (is_cut.clone(), is_over.clone());
        let worker = SocketAddr::from(([127, 0, 0, 1], port));
        thread::spawn(move || {
            let (mut buffer, mut coordinator) = ([0; 65_536], None);
            while !over.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let to = match from == worker {
                    true => coordinator,
                    false => {
                        coordinator = Some(from);
                        Some(worker)
                    }
                };
                if let Some(to) = to.filter(|_| !cut.load(Ordering::SeqCst)) {
                    let _ = socket.send_to(&buffer[..length], to);
                }
            }
        });
        Self { port: own, is_cut, is_over }
    }

    /// Cuts the wire, or mends it.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}
