//! A worker: burn's remote server, with two operations of ours, behind an identity that follows from the token.

use super::endpoint::{bind, runtime};
use super::keys::{Keys, Role};
use super::message::{Answer, encode};
use super::place::Place;
use crate::worker::spawn;
use burn::backend::Flex;
use burn::backend::ops::IntTensorOps;
use burn::server::{BURN_REMOTE_ALPN, CustomOpIr, HandleContainer, RemoteServer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use iroh::EndpointId;
use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, DynProtocolHandler, ProtocolHandler, Router};
use pollster::block_on;
use srft_trainer::error::{Error, Kind, Result};
use srft_trainer::ops::readback;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// An operation: a message in, a message out.
pub const OPERATION: &str = "srft";

/// Another: what is kept for a worker. It is answered while the worker is at work.
pub const SHELF: &str = "srft shelf";

/// A message, and where its answer goes.
type Asked = (Vec<u32>, Sender<Vec<u32>>);

/// Serves until `is_stopped`, or the device fails; `listens` is called once coordinators can connect. What they send are
/// tensors of burn's CPU backend, which only carry messages; the work is done on the place's own device.
pub fn serve(
    keys: &Keys,
    port: u16,
    place: Place,
    listens: impl FnOnce(),
    is_stopped: impl Fn() -> bool,
) -> Result<()> {
    let endpoint = bind(&keys.worker(), Some(port))?;
    let (connected, shelf) = (place.connected(), place.shelf());
    let (asked, requests) = channel();
    let asked = Mutex::new(asked);
    // All of the work on one thread, since a device's queues belong to threads.
    let work = spawn(move || answer(place, requests));
    let server = RemoteServer::new([Device::flex()])
        .with_custom_op::<Flex, _>(OPERATION, move |handles, ir, device| {
            heed(|words| ask(&asked, words), handles, ir, device)
        })
        .with_custom_op::<Flex, _>(SHELF, move |handles, ir, device| {
            heed(|words| shelf.answer(&words), handles, ir, device)
        });
    let inner = server.into_protocol(&endpoint).map_err(|e| Error::machine(e.to_string()))?;
    let [coordinators, workers] = [Role::Coordinator, Role::Worker].map(|role| keys.all(role));
    let gate = Gate { inner: inner.into(), coordinators, workers, connected };
    let _entered = runtime().enter();
    let router = Router::builder(endpoint).accept(BURN_REMOTE_ALPN, gate).spawn();
    listens();
    while !work.is_finished() && !is_stopped() {
        thread::sleep(Duration::from_millis(100));
    }
    let _ = runtime().block_on(router.shutdown());
    match work.is_finished() {
        true => Err(work.join().unwrap_or(Error::machine("the worker panicked"))),
        false => Ok(()),
    }
}

/// Answers requests until the device fails, and gives why.
fn answer(mut place: Place, requests: Receiver<Asked>) -> Error {
    for (words, answer) in requests {
        let _ = answer.send(place.answer(&words)); // the coordinator may be gone
        if let Some(error) = place.broken() {
            return Error { kind: Kind::Machine, ..error.clone() };
        }
    }
    Error::machine("no one can ask any more")
}

/// Has the worker's thread answer a message.
fn ask(asked: &Mutex<Sender<Asked>>, words: Vec<u32>) -> Vec<u32> {
    let (sender, receiver) = channel();
    let is_sent = asked.lock().unwrap_or_else(PoisonError::into_inner).send((words, sender));
    is_sent.ok().and_then(|()| receiver.recv().ok()).unwrap_or_else(|| {
        let gone = Error::machine("the worker's device has failed; it must be started again");
        encode(&Answer::failed(&gone), &[])
    })
}

/// An operation, on the session's own thread.
fn heed(
    answer: impl Fn(Vec<u32>) -> Vec<u32>,
    handles: &mut HandleContainer<<Flex as burn_ir::BackendIr>::Handle>,
    ir: &CustomOpIr,
    device: &<Flex as burn::backend::BackendTypes>::Device,
) {
    let message = handles.get_int_tensor::<Flex>(&ir.inputs[0]);
    let numbers = block_on(readback::ints(Tensor::<1, Int>::from_primitive::<Flex>(message)));
    let answer = match numbers {
        Ok(numbers) => answer(numbers.into_iter().map(i32::cast_unsigned).collect()),
        Err(error) => encode(&Answer::failed(&error), &[]),
    };
    let data = data_of(answer);
    handles.register_int_tensor::<Flex>(&ir.outputs[0].id, Flex::int_from_data(data, device));
}

/// Words as a tensor's data.
pub fn data_of(words: Vec<u32>) -> TensorData {
    let length = words.len();
    TensorData::new(words.into_iter().map(u32::cast_signed).collect::<Vec<i32>>(), [length])
}

/// Lets in only who knows the token: burn reads a frame of up to a gibibyte from whoever gets past.
#[derive(Debug)]
struct Gate {
    inner: Box<dyn DynProtocolHandler>,
    coordinators: HashSet<EndpointId>,
    workers: HashSet<EndpointId>,
    connected: Arc<AtomicUsize>,
}

impl ProtocolHandler for Gate {
    async fn accept(&self, connection: Connection) -> std::result::Result<(), AcceptError> {
        if self.workers.contains(&connection.remote_id()) {
            return self.inner.accept(connection).await;
        }
        if !self.coordinators.contains(&connection.remote_id()) {
            return Err(AcceptError::from_err(std::io::Error::other("not with this token")));
        }
        self.connected.fetch_add(1, Ordering::SeqCst);
        let _one = One(&self.connected);
        self.inner.accept(connection).await
    }
}

/// A coordinator that is connected, however its connection ends.
struct One<'a>(&'a AtomicUsize);

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
