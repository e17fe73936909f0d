//! Workers on other machines, over burn's remote backend: QUIC and TLS by Iroh, and two custom operations that
//! carry our messages: one asks for work, the other takes what is kept for the next in a chain. Nothing else of burn's goes over the line, so a worker computes what the coordinator
//! would, by the same code on its own device.
//!
//! | module | holds |
//! |---|---|
//! | `message` | what is asked and answered, as words |
//! | `keys`, `endpoint` | who may, and how either side is reached |
//! | `shelf`, `place`, `server` | a worker: what it keeps for the next in a chain; its folder and its run; the server before it |
//! | `line`, `member`, `client` | a coordinator: the line to a worker; the member that speaks over it; who makes a run's members |

pub mod client;
pub mod endpoint;
pub mod keys;
pub mod line;
pub mod member;
pub mod message;
pub mod place;
pub mod server;
pub mod shelf;
