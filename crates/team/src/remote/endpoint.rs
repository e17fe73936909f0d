//! How a worker and a coordinator reach each other: by QUIC, at the address that the user gives, without relays.

use iroh::endpoint::{QuicTransportConfig, presets};
use iroh::{Endpoint, RelayMode, SecretKey};
use srft_trainer::error::{Error, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The UDP port of a worker, unless told otherwise.
pub const PORT: u16 = 7117;

/// A side that is silent for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How often either side says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What runs the connections of this process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a process has room for two threads")
    })
}

/// A socket of that identity; on a port, if others are to find it.
pub fn bind(key: &SecretKey, port: Option<u16>) -> Result<Endpoint> {
    let failed = |e: &dyn std::fmt::Display| {
        let place = port.map_or("a UDP port".into(), |port| format!("UDP port {port}"));
        Error::machine(e.to_string()).at(place).next("give another --port")
    };
    let silence = SILENCE.try_into().expect("a short time");
    let quic = QuicTransportConfig::builder()
        .max_idle_timeout(Some(silence))
        .default_path_max_idle_timeout(SILENCE)
        .keep_alive_interval(HEARTBEAT)
        .default_path_keep_alive_interval(HEARTBEAT);
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(key.clone())
        .relay_mode(RelayMode::Disabled)
        .transport_config(quic.build());
    if let Some(port) = port {
        let address = SocketAddr::from(([0, 0, 0, 0], port));
        builder = builder.clear_ip_transports().bind_addr(address).map_err(|e| failed(&e))?;
    }
    runtime().block_on(builder.bind()).map_err(|e| failed(&e))
}

/// The addresses of a worker that a user named: HOST or HOST:PORT.
pub fn addresses(name: &str) -> Result<Vec<SocketAddr>> {
    let is_bare = !name.contains(':') || name.parse::<std::net::Ipv6Addr>().is_ok();
    let found = match is_bare {
        true => (name, PORT).to_socket_addrs(),
        false => name.to_socket_addrs(),
    };
    let found: Vec<SocketAddr> = found
        .map_err(|e| {
            Error::input(e.to_string())
                .at(format!("the worker `{name}`"))
                .next("it is neither a host nor a file that lists workers: give HOST or HOST:PORT; `srft worker` prints its port")
        })?
        .filter(SocketAddr::is_ipv4) // which is what workers listen on
        .collect();
    match found.is_empty() {
        true => Err(Error::input("it has no IPv4 address, on which workers listen")
            .at(format!("the worker `{name}`"))
            .next("give its IPv4 address")),
        false => Ok(found),
    }
}
