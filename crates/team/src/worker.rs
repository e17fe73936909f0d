//! What a crew is made of.

use crate::chain::{Chain, Outward, Peer};
use burn::tensor::{Tensor, TensorData};
use srft_trainer::error::{Error, Result};
use srft_trainer::learner::Learner;
use srft_trainer::model::{Llama, ParameterMut};
use srft_trainer::ops::readback;
use srft_trainer::shards::{Job, Outcome};
use std::thread::{self, JoinHandle};

/// The stack of a thread that does jobs.
const STACK_BYTES: usize = 16 << 20;

/// What of a policy trains, read back from its device.
#[derive(Debug)]
pub struct Weights {
    /// Which version of them, as [`Learner::version`] counts.
    pub version: u64,
    /// The blocks in parameter order, row by row.
    pub blocks: Vec<Vec<f32>>,
    /// Rows and columns of each.
    pub shapes: Vec<[usize; 2]>,
    /// Which workers of a chain have got them, and from whom.
    pub outward: Outward,
}

impl Weights {
    /// A learner's, as they are now.
    pub async fn of(learner: &Learner) -> Result<Self> {
        let (mut blocks, mut shapes) = (Vec::new(), Vec::new());
        for parameter in learner.policy.parameters() {
            shapes.push(parameter.tensor.dims());
            blocks.push(readback::floats(parameter.tensor).await?);
        }
        Ok(Self { version: learner.version, blocks, shapes, outward: Outward::default() })
    }

    /// Puts them into a model of the same shape.
    pub fn put_into(&self, model: &mut Llama) {
        for (mut parameter, block) in model.parameters_mut().into_iter().zip(&self.blocks) {
            put(&mut parameter, block.clone());
        }
    }
}

/// Puts a block's numbers, as many as it has, into a model.
pub fn put(parameter: &mut ParameterMut<'_>, values: Vec<f32>) {
    let data = TensorData::new(values, parameter.block_shape);
    *parameter.tensor = Tensor::from_data(data, &parameter.tensor.device());
}

/// Starts a thread for jobs. Its stack is deep: a training step's futures are large.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    thread.expect("a process has room for a thread")
}

/// One that does jobs: a device of this machine, or another machine.
pub trait Worker: Send {
    /// Its name, for the user.
    fn name(&self) -> &str;

    /// What its bits depend on: two workers of one kind give the same.
    fn kind(&self) -> &str;

    /// Does a job with these weights. After an error the job is done elsewhere.
    fn perform(&mut self, weights: &Weights, job: &Job) -> Result<Outcome>;

    /// Tries to be able to work again after an error.
    fn recover(&mut self) -> Again;

    /// Whether it can be a link of a chain.
    fn links(&self) -> bool {
        false
    }

    /// Does a gradient's job, the `number`th of its round, and keeps the tensors for [`Worker::pass_on`].
    fn keep(&mut self, _weights: &Weights, _job: &Job, _number: usize) -> Result<Kept> {
        Err(Error::machine("it cannot be a link of a chain"))
    }

    /// Does its part of a chain, as member `me` of the crew: adds what it keeps to what the link before it has. The
    /// last link gives the sum, the others nothing; nor does one whose chain is broken.
    fn pass_on(
        &mut self,
        _chain: &Chain,
        _me: usize,
        _weights: &Weights,
    ) -> Result<Option<Vec<Tensor<2>>>> {
        Err(Error::machine("it cannot be a link of a chain"))
    }
}

/// A gradient that stays with the worker that computed it.
#[derive(Debug)]
pub struct Kept {
    /// Where the next link of a chain finds it.
    pub peer: Peer,
    /// The kernel's sums, as in [`srft_trainer::shards::Part`].
    pub sums: Vec<Tensor<1>>,
}

/// What came of a job, and where it is.
#[derive(Debug)]
pub enum Done {
    /// All of it, here.
    Here(Outcome),
    /// A gradient, with the member that computed it.
    There(usize, Kept),
}

/// Whether a worker can work again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// It can.
    Now,
    /// Not yet: it is to be asked again.
    Later,
    /// It never will, and why.
    Never(String),
}
