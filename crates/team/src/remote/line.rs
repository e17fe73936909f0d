//! A line to a worker: asks it something and waits for the answer.

use super::endpoint::{addresses, bind, runtime};
use super::keys::{Keys, Role};
use super::message::{Answer, Item, Request, decode, encode};
use super::server::{OPERATION, SHELF, data_of};
use burn::backend::{BackendTensor, DispatchDevice, DispatchTensorKind, Remote};
use burn::remote::{ConnectError, CustomOpClient, IrohHost, RemoteHost};
use burn::server::CustomOpIr;
use burn::tensor::{DType, Device, Int, Shape, Tensor};
use burn_ir::TensorIr;
use iroh::Endpoint;
use pollster::block_on;
use srft_trainer::error::{Error, Kind, Result};
use srft_trainer::ops::readback;
use std::time::Duration;
use tokio::time::timeout;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What is said of a connection that was lost.
const LOST: &str = "the connection is lost";

/// Whether an error says that a connection was lost.
pub fn is_lost(error: &Error) -> bool {
    error.what == LOST
}

/// A worker as a coordinator reaches it, or another worker.
pub struct Line {
    name: String,
    keys: Keys,
    /// Its own, since all workers of a token have one identity.
    endpoint: Endpoint,
    device: Option<Device>,
    /// Connections that were lost: burn gives a device that was lost no second one of the same credential.
    connections: u32,
}

impl Line {
    /// A line to the worker that the user named, not yet connected.
    pub fn new(name: &str, keys: &Keys, role: Role) -> Result<Self> {
        addresses(name)?;
        let endpoint = bind(&keys.asks(role), None)?;
        Ok(Self { name: name.into(), keys: keys.clone(), endpoint, device: None, connections: 0 })
    }

    /// The worker as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An address at which it is found.
    pub fn address(&self) -> Result<String> {
        let found = addresses(&self.name)?;
        Ok(found.first().expect("a name without an address was refused").to_string())
    }

    /// Connects, unless it is connected.
    pub fn connect(&mut self) -> Result<()> {
        if self.device.is_some() {
            return Ok(());
        }
        let mut host = IrohHost::new(self.keys.worker().public());
        // It was found before: now its name server is away, and that may pass.
        let found = addresses(&self.name).map_err(|e| Error { kind: Kind::Machine, ..e })?;
        for address in found {
            host = host.with_address(address);
        }
        let host = RemoteHost::iroh(host.with_endpoint(self.endpoint.clone()))
            .with_credential(self.connections.to_string());
        self.device = Some(Device::remote_options(&host).init().map_err(|e| self.refused(&e))?);
        Ok(())
    }

    fn refused(&self, error: &ConnectError) -> Error {
        // Burn's words are about certificates and relays.
        let text = error.to_string();
        let what = match () {
            () if text.contains("handshake") => "it answers, but it has another token".into(),
            () if text.contains("timed out") => "no connection: nothing answered".into(),
            () => format!("no connection: {text}"),
        };
        Error::machine(what)
            .at(format!("the worker `{}`", self.name))
            .next("is `srft worker` running there, with the same token and the same srft, and its UDP port open? If not, leave this worker out")
    }

    /// Asks something. Where the connection is lost, it must be connected again.
    pub fn ask(&mut self, request: &Request, lists: &[&[u32]]) -> Result<(Answer, Vec<Vec<u32>>)> {
        self.converse(OPERATION, encode(request, lists))
    }

    /// Takes what the worker keeps for this one.
    pub fn take(&mut self, item: &Item) -> Result<Vec<u32>> {
        match self.converse(SHELF, encode(item, &[]))? {
            (Answer::Block, mut lists) if lists.len() == 1 => Ok(lists.remove(0)),
            _ => Err(Error::machine("it keeps no such block")),
        }
    }

    fn converse(
        &mut self,
        operation: &'static str,
        message: Vec<u32>,
    ) -> Result<(Answer, Vec<Vec<u32>>)> {
        let words = self.send(operation, message);
        let words = words.inspect_err(|_| {
            self.device = None;
            self.connections += 1;
        })?;
        let (answer, lists) = decode::<Answer>(&words)?;
        let lists = lists.into_iter().map(<[u32]>::to_vec).collect();
        match answer {
            Answer::Failed { what, kind } => Err(Error { kind, ..Error::machine(what) }),
            answer => Ok((answer, lists)),
        }
    }

    fn send(&self, operation: &'static str, message: Vec<u32>) -> Result<Vec<u32>> {
        let lost = || Error::machine(LOST);
        let device = self.device.as_ref().ok_or_else(lost)?;
        let message = Tensor::<1, Int>::from_data(data_of(message), device);
        let DispatchTensorKind::Remote(BackendTensor::Int(message)) = message.into_dispatch().kind
        else {
            unreachable!("the tensor was made on this device")
        };
        let DispatchDevice::Remote(remote) = device.as_dispatch() else {
            unreachable!("the device is a remote one")
        };
        let client = CustomOpClient::new(remote);
        // The shape is not known before the answer is there, and burn does not ask for it.
        let answer = TensorIr::uninit(client.create_empty_handle(), Shape::from([0]), DType::I32);
        let operation =
            CustomOpIr::with_scalars(operation, &[message.into_ir()], &[answer], vec![]);
        let answer = client.register(operation).pop().expect("the operation has one output");
        let answer = Tensor::<1, Int>::from_primitive::<Remote>(answer);
        let numbers = block_on(readback::ints(answer)).map_err(|_| lost())?;
        Ok(numbers.into_iter().map(i32::cast_unsigned).collect())
    }
}

impl Drop for Line {
    /// Says goodbye: a worker takes no other run until it has missed this one.
    fn drop(&mut self) {
        self.device = None;
        let (endpoint, runtime) = (self.endpoint.clone(), runtime());
        let _ = runtime.block_on(async { timeout(GOODBYE, endpoint.close()).await });
    }
}
