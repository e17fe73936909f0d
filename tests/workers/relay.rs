//! A wire to a worker that a test can cut.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Passes datagrams on between whoever sends to its port and a worker. The worker sees each sender at a port of
/// its own, as behind a router.
pub struct Relay {
    /// Its UDP port.
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    is_over: AtomicBool,
}

impl Relay {
    /// To the worker on that port.
    pub fn new(port: u16) -> Self {
        Self::of_senders(port, usize::MAX)
    }

    /// [`Relay::new`] that lets no more than the first few senders through, as a firewall might.
    pub fn of_senders(port: u16, most: usize) -> Self {
        let (front, worker) = (Arc::new(bound()), SocketAddr::from(([127, 0, 0, 1], port)));
        let (own, state) = (front.local_addr().unwrap().port(), Arc::new(State::default()));
        let wire = state.clone();
        thread::spawn(move || {
            let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            pass(&front.clone(), &wire, |datagram, from| {
                if senders.len() == most && !senders.contains_key(&from) {
                    return;
                }
                let back = senders.entry(from).or_insert_with(|| {
                    let back = Arc::new(bound());
                    let (heard, front, wire) = (back.clone(), front.clone(), wire.clone());
                    thread::spawn(move || {
                        pass(&heard, &wire, |datagram, _| {
                            let _ = front.send_to(datagram, from);
                        });
                    });
                    back
                });
                let _ = back.send_to(datagram, worker);
            });
        });
        Self { port: own, state }
    }

    /// Cuts the wire, or mends it.
    pub fn cut(&self, is_cut: bool) {
        self.state.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

fn bound() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

/// Has `send` pass on what arrives, unless the wire is cut.
fn pass(socket: &UdpSocket, wire: &State, mut send: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = [0; 65_536];
    while !wire.is_over.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if !wire.is_cut.load(Ordering::SeqCst) {
            send(&buffer[..length], from);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
    }
}
