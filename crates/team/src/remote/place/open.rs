//! The run that a worker has open.

use crate::remote::message::floats;
use crate::worker::put;
use burn::tensor::{Tensor, TensorData};
use srft_trainer::error::{Error, Result};
use srft_trainer::learner::Learner;
use std::collections::HashMap;

/// The run that is open.
pub struct Open {
    /// Its name.
    pub run: String,
    /// Which opening of it.
    pub session: u64,
    /// What does its jobs.
    pub learner: Learner,
    /// The version of the weights, once all of them are here.
    pub version: Option<u64>,
    /// Blocks of the next version that are here.
    blocks: usize,
    /// Gradients by the numbers of their jobs; a block that was given is gone.
    gradients: HashMap<usize, Vec<Option<Tensor<2>>>>,
}

impl Open {
    /// A run that was just opened.
    pub fn new(run: &str, session: u64, learner: Learner) -> Self {
        let (run, gradients) = (run.into(), HashMap::new());
        Self { run, session, learner, version: None, blocks: 0, gradients }
    }

    /// Opens it once more: weights are sent anew.
    pub fn again(&mut self, session: u64) {
        (self.session, self.version, self.blocks) = (session, None, 0);
        self.gradients.clear();
    }

    /// A block of a gradient, which is given once.
    pub fn gradient(&mut self, number: usize, block: usize) -> Option<Tensor<2>> {
        self.gradients.get_mut(&number)?.get_mut(block)?.take()
    }

    /// A block of gradients added to what came before them, in order; nothing if one of them is not here.
    pub fn sum(
        &mut self,
        numbers: &[usize],
        block: usize,
        before: Option<&[u32]>,
    ) -> Option<Tensor<2>> {
        let mut sum: Option<Tensor<2>> = None;
        for &number in numbers {
            let tensor = self.gradient(number, block)?;
            sum = Some(match (sum, before) {
                (None, None) => tensor,
                (None, Some(words)) => {
                    if words.len() != tensor.shape().num_elements() {
                        return None;
                    }
                    let data = TensorData::new(floats(words), tensor.dims());
                    Tensor::from_data(data, &tensor.device()) + tensor
                }
                (Some(sum), _) => sum + tensor,
            });
        }
        sum
    }

    /// Keeps a gradient under its job's number.
    pub fn keep(&mut self, number: usize, tensors: Vec<Tensor<2>>) {
        self.gradients.insert(number, tensors.into_iter().map(Some).collect());
    }

    /// Puts a block of weights in its place; they come in order.
    pub fn put(&mut self, version: u64, block: usize, words: &[u32]) -> Result<()> {
        self.version = None; // until the last block is there
        if block == 0 {
            self.blocks = 0;
            self.gradients.clear(); // of the weights before
        }
        if block != self.blocks {
            return Err(Error::machine(format!("block {block} of weights after {}", self.blocks)));
        }
        self.blocks += 1;
        let mut parameters = self.learner.policy.parameters_mut();
        let count = parameters.len();
        let Some(parameter) = parameters.get_mut(block) else {
            return Err(Error::machine(format!("block {block} of weights; there are {count}")));
        };
        let [rows, columns] = parameter.block_shape;
        if words.len() != rows * columns {
            return Err(Error::machine(format!(
                "{} numbers for {}, which has {rows} × {columns}",
                words.len(),
                parameter.name
            )));
        }
        put(parameter, floats(words));
        self.version = (self.blocks == count).then_some(version);
        Ok(())
    }
}
