//! AdamW with decoupled weight decay (Loshchilov & Hutter, 2019) and clipping by global norm.

use crate::config::{Optimizer as Settings, Schedule};
use crate::model::Llama;
use crate::ops::adamw::{State, Step, Update, adamw};
use burn::tensor::Tensor;

/// Moments of one parameter block.
#[derive(Debug, Clone)]
pub struct Moments {
    /// First moment: running mean of the gradient.
    pub first: Tensor<2>,
    /// Second moment: running mean of its square.
    pub second: Tensor<2>,
}

/// The optimiser's state: moments in the order of [`Llama::parameters`].
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Hyperparameters.
    pub settings: Settings,
    /// One pair for each parameter block.
    pub moments: Vec<Moments>,
    /// Updates done.
    pub updates: u32,
}

impl AdamW {
    /// Zero moments for a model.
    pub fn new(settings: Settings, model: &Llama) -> Self {
        let moments = model
            .parameters()
            .iter()
            .map(|p| Moments { first: p.tensor.zeros_like(), second: p.tensor.zeros_like() })
            .collect();
        Self { settings, moments, updates: 0 }
    }

    /// One update from `gradients` (in parameter order) whose global norm is `norm`.
    pub fn step(&mut self, model: &mut Llama, gradients: Vec<Tensor<2>>, norm: f64, lr: f64) {
        self.updates += 1;
        let s = &self.settings;
        let correct = |beta: f64| 1.0 - beta.powi(self.updates as i32);
        let update = Update {
            scale: clip_scale(norm, s.clip_norm),
            betas: [s.beta1, s.beta2],
            corrections: [correct(s.beta1), correct(s.beta2)],
            epsilon: s.eps,
            rate: lr,
        };
        // Stands in for what is taken out of its place: with one owner, a tensor is written in place.
        let nothing = Tensor::<2>::empty([1, 1], &model.device());
        let take = |x: &mut Tensor<2>| std::mem::replace(x, nothing.clone());
        let mut tensors = model.parameters_mut();
        let each = tensors.iter_mut().zip(&mut self.moments).zip(gradients);
        let steps = each.map(|((p, m), gradient)| Step {
            state: State {
                weights: take(p.tensor),
                first: take(&mut m.first),
                second: take(&mut m.second),
            },
            gradient,
            // Norms and biases, vectors in the checkpoint, do not decay.
            decay: if p.shape.len() > 1 { 1.0 - lr * s.weight_decay } else { 1.0 },
        });
        let states = adamw(steps.collect(), &update);
        for ((p, m), state) in tensors.into_iter().zip(&mut self.moments).zip(states) {
            let State { weights, first, second } = state;
            *p.tensor = weights;
            *m = Moments { first, second };
        }
    }
}

/// The factor that brings a gradient of global norm `norm` to at most `limit` (0: no limit).
pub fn clip_scale(norm: f64, limit: f64) -> f64 {
    // torch.nn.utils.clip_grad_norm_ adds the same 1e-6.
    if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

/// The learning rate of update `step` (from 0) of `total`.
pub fn learning_rate(settings: &Settings, step: u32, total: u32) -> f64 {
    let warmup = settings.warmup_steps;
    if step < warmup {
        return settings.lr * f64::from(step + 1) / f64::from(warmup + 1);
    }
    let span = total.saturating_sub(warmup + 1).max(1);
    let progress = (f64::from(step - warmup) / f64::from(span)).min(1.0);
    let floor = settings.final_fraction;
    settings.lr
        * match settings.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - (1.0 - floor) * progress,
            Schedule::Cosine => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_warm_up_peak_and_land() {
        let mut s =
            Settings { lr: 1.0, warmup_steps: 4, final_fraction: 0.1, ..Default::default() };
        for (schedule, middle) in
            [(Schedule::Constant, 1.0), (Schedule::Linear, 0.55), (Schedule::Cosine, 0.55)]
        {
            s.schedule = schedule;
            assert_eq!(learning_rate(&s, 0, 105), 0.2);
            assert_eq!(learning_rate(&s, 4, 105), 1.0);
            assert!((learning_rate(&s, 54, 105) - middle).abs() < 1e-12, "{schedule:?}");
            let end = if schedule == Schedule::Constant { 1.0 } else { 0.1 };
            assert!((learning_rate(&s, 104, 105) - end).abs() < 1e-12, "{schedule:?}");
        }
    }

    #[test]
    fn clipping_scales_only_what_is_too_long() {
        assert_eq!(clip_scale(0.5, 1.0), 1.0);
        assert!((clip_scale(4.0, 1.0) - 0.25).abs() < 1e-6);
        assert_eq!(clip_scale(4.0, 0.0), 1.0);
    }
}
