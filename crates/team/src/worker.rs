//! What a crew is made of.

use burn::tensor::Tensor;
use srft_trainer::error::Result;
use srft_trainer::learner::Learner;
use srft_trainer::ops::readback;
use srft_trainer::shards::{Job, Outcome};

/// What of a policy trains, read back from its device.
#[derive(Debug)]
pub struct Weights {
    /// Which version of them, as [`Learner::version`] counts.
    pub version: u64,
    /// The blocks in parameter order, row by row.
    pub blocks: Vec<Vec<f32>>,
    /// Rows and columns of each.
    pub shapes: Vec<[usize; 2]>,
}

impl Weights {
    /// A learner's, as they are now.
    pub async fn of(learner: &Learner) -> Result<Self> {
        let (mut blocks, mut shapes) = (Vec::new(), Vec::new());
        for parameter in learner.policy.parameters() {
            shapes.push(parameter.tensor.dims());
            blocks.push(readback::floats(parameter.tensor).await?);
        }
        Ok(Self { version: learner.version, blocks, shapes })
    }

    /// Puts them into a learner of the same model.
    pub fn put_into(&self, learner: &mut Learner) {
        for (parameter, block) in learner.policy.parameters_mut().into_iter().zip(&self.blocks) {
            let data = burn::tensor::TensorData::new(block.clone(), parameter.block_shape);
            *parameter.tensor = Tensor::from_data(data, &parameter.tensor.device());
        }
        learner.version = self.version;
    }
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
