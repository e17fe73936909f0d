//! The loss as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend};
use burn::tensor::Shape;

use super::{ObjectiveOps, Row, Switches, total};

/// The derivatives were formed in the forward pass; they only need the upstream factor.
#[derive(Debug)]
struct LossBackward;

impl<B: Backend> Backward<B, 1> for LossBackward {
    type State = FloatTensor<B>; // [n, 2]

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let upstream = grads.consume::<B>(&ops.node); // [1]
        if let [Some(stats)] = ops.parents {
            let upstream = B::float_reshape(upstream, Shape::new([1, 1]));
            grads.register::<B>(stats.id, B::float_mul(ops.state, upstream));
        }
    }
}

impl<B: ObjectiveOps, C: CheckpointStrategy> ObjectiveOps for Autodiff<B, C> {
    fn objective(
        stats: FloatTensor<Self>,
        old_logprobs: FloatTensor<Self>,
        rows: Vec<Row>,
        switches: Switches,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (stats, old_logprobs) = (stats.into_primitive(), old_logprobs.into_primitive());
        let (coefficients, sums) = B::objective(stats, old_logprobs, rows, switches);
        (Self::from_inner(coefficients), Self::from_inner(sums))
    }

    fn objective_loss(
        stats: FloatTensor<Self>,
        old_logprobs: FloatTensor<Self>,
        rows: Vec<Row>,
        switches: Switches,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (stats, node) = stats.into_parts();
        let (coefficients, sums) =
            B::objective(stats, old_logprobs.into_primitive(), rows, switches);
        let total = total::<B>(sums.clone());
        let loss = match LossBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(coefficients, total),
            OpsKind::UnTracked(prep) => prep.finish(total),
        };
        (loss, Self::from_inner(sums))
    }
}
