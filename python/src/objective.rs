//! The objective's numbers: advantages, entropy weights, every term of a loss.

use crate::convert::{layers, to_python};
use crate::error::{OrRaise, input};
use crate::group::Group;
use crate::model::{Model, arrays};
use numpy::{AllowTypeChange, PyArray1, PyArrayLike1};
use pollster::block_on;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use srft::config::{Config, Objective};
use srft::data::source::Source;
use srft::explain::explain;
use srft::model::Parameter;
use srft::objective::{advantage, assemble, entropy_weight};
use srft::ops::objective::Weight;
use srft::optim::AdamW;
use srft::run::grader;
use srft::trainer::Trainer;

/// The advantages of one group (Eqs. 6-7), float64 [G]: Â = (r - mean) / (std + 1e-6) with the sample
/// standard deviation, or r - mean with `std=False`. Exactly 0 where all rewards are equal. The
/// demonstration's reward, where it belongs to the group, is one of them.
#[pyfunction]
#[pyo3(signature = (rewards, std = true))]
pub fn advantages(
    py: Python<'_>,
    rewards: PyArrayLike1<'_, f64, AllowTypeChange>,
    std: bool,
) -> PyResult<Py<PyArray1<f64>>> {
    let rewards = rewards.as_array().to_vec();
    if let Some(reward) = rewards.iter().find(|r| !r.is_finite()) {
        return Err(input(format!("a reward is {reward}"), "give finite ones"));
    }
    Ok(PyArray1::from_vec(py, advantage::advantages(&rewards, std)).unbind())
}

/// The entropy weights at entropies in nats, a pair of float64 arrays of their length:
/// w_SFT = sft_scale * exp(-H) (Eq. 8) and w_RL = rl_scale * exp(+H) (Eq. 11).
///
/// `sft_sign="plus"` is the sign that the authors' code reportedly has. No gradient flows through
/// either weight.
#[pyfunction]
#[pyo3(signature = (entropy, *, sft_scale = 0.5, rl_scale = 0.1, sft_sign = "minus"))]
#[expect(clippy::type_complexity, reason = "a pair of arrays")]
pub fn weights(
    py: Python<'_>,
    entropy: PyArrayLike1<'_, f64, AllowTypeChange>,
    sft_scale: f32,
    rl_scale: f32,
    sft_sign: &str,
) -> PyResult<(Py<PyArray1<f64>>, Py<PyArray1<f64>>)> {
    let sign = match sft_sign {
        "minus" => -1.0,
        "plus" => 1.0,
        other => return Err(input(format!("no sign `{other}`"), "minus or plus")),
    };
    let at = |weight: Weight| {
        let values = entropy.as_array();
        let values = values.iter().map(|&h| entropy_weight::weight(Some(weight), h)).collect();
        PyArray1::from_vec(py, values).unbind()
    };
    Ok((at(Weight { scale: sft_scale, sign }), at(Weight { scale: rl_scale, sign: 1.0 })))
}

/// One group, or several.
#[derive(FromPyObject)]
pub enum Groups<'py> {
    /// One.
    One(Bound<'py, Group>),
    /// Several: one update.
    Many(Vec<Bound<'py, Group>>),
}

/// An update taken apart, by the kernels that train.
#[pyclass(frozen, get_all, module = "srft")]
pub struct Loss {
    /// Each term's value: "sft" (Eq. 8), "rl_demo" (Eqs. 9-10), "self" (Eqs. 11-12), "entropy" (bonus),
    /// "kl" (penalty), and "total" (Eq. 13).
    terms: Py<PyAny>,
    /// Global L2 norm of each term's gradient over all weights, by the same keys.
    grad_norm: Py<PyAny>,
    /// A dict a group: "prompt", "responses", "rewards", "advantages" and "entropy" of its members, the
    /// demonstration last, "w_sft" of the demonstration, "w_rl" of each rollout.
    prompts: Py<PyAny>,
    /// dL/dθ by the names of `Model.parameters()`, before clipping; None unless asked for.
    gradients: Option<Py<PyDict>>,
}

#[pymethods]
impl Loss {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Loss({})", self.terms.bind(py).repr()?))
    }
}

/// Every term of the loss that an update on `groups` (one `Group`, or a list) has, its gradient norms,
/// and with `gradients=True` the gradient itself.
///
/// `method` is a preset: srft, srft-official, srft-hpt, sft, grpo, dapo, luffy, ... (docs/methods.md);
/// `settings` lays switches over it, such as `{"objective.entropy_over": "token"}`. Means are taken
/// over the tokens of all groups.
#[pyfunction]
#[pyo3(signature = (model, groups, method = "srft", settings = None, *, gradients = false))]
pub fn loss(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    groups: Groups<'_>,
    method: &str,
    settings: Option<&Bound<'_, PyAny>>,
    gradients: bool,
) -> PyResult<Loss> {
    let method = Config::setting(&format!("objective.method={method:?}")).or_raise()?;
    let mut all = vec![method];
    all.extend(layers(settings)?);
    let config = Config::resolve(&all).or_raise()?;
    let model = model.get();
    let groups = match groups {
        Groups::One(group) => vec![group],
        Groups::Many(groups) => groups,
    };
    let values = config.objective.reward_values;
    let record =
        |g: &Bound<'_, Group>| g.get().record(py, &model.tokenizer, &model.policy.config, values);
    let mut groups: Vec<_> = groups.iter().map(record).collect::<PyResult<_>>()?;
    let policy = model.policy.clone();
    let trainer = Trainer {
        base: config.stages().iter().any(Objective::uses_base).then(|| policy.clone()),
        optimizer: AdamW::new(config.optimizer.clone(), &policy),
        source: Source::Examples(Vec::new()),
        grader: grader(&config).or_raise()?,
        tokenizer: model.tokenizer.clone(),
        model: policy,
        step: 0,
        buffer: Default::default(),
        config,
    };
    let explained = py.detach(|| {
        let explanation = block_on(explain(&trainer, &mut groups))?;
        let update = assemble(&groups, &trainer.objective());
        let gradient = gradients.then(|| block_on(trainer.gradient(&update))).transpose()?;
        Ok((explanation, gradient))
    });
    let (explanation, gradient) = explained.or_raise()?;
    let gradients = match gradient {
        Some(gradient) => {
            let weights = trainer.model.parameters().into_iter().zip(gradient.tensors);
            let own = |(weight, tensor): (Parameter, _)| Parameter { tensor, ..weight };
            Some(arrays(py, weights.map(own).collect())?.unbind())
        }
        None => None,
    };
    Ok(Loss {
        terms: to_python(py, &explanation.terms)?.unbind(),
        grad_norm: to_python(py, &explanation.grad_norm)?.unbind(),
        prompts: to_python(py, &explanation.prompts)?.unbind(),
        gradients,
    })
}
