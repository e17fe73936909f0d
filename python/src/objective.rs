//! The objective's numbers: advantages, entropy weights, every term of a loss.

use crate::convert::{float_list, floats, layers, to_python};
use crate::drive::drive;
use crate::error::{OrRaise, input, wrong_type};
use crate::group::Group;
use crate::model::{Model, arrays};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use srft::config::{Config, Objective};
use srft::explain::explain;
use srft::learner::Learner;
use srft::model::Parameter;
use srft::objective::{advantage, assemble, entropy_weight};
use srft::ops::objective::Weight;

/// The advantages of one group (Eqs. 6-7), float64 [G]: Â = (r - mean) / (std + 1e-6) with the sample
/// standard deviation, or r - mean with `std=False`. Exactly 0 where all rewards are equal. The
/// demonstration's reward, where it belongs to the group, is one of them.
#[pyfunction]
#[pyo3(signature = (rewards, std = true))]
pub fn advantages(
    py: Python<'_>,
    rewards: &Bound<'_, PyAny>,
    std: bool,
) -> PyResult<Py<PyArray1<f64>>> {
    let rewards = float_list(rewards, "rewards")?;
    Ok(PyArray1::from_vec(py, advantage::advantages(&rewards, std)).unbind())
}

/// The entropy weights at entropies in nats, a pair of float64 arrays of their length:
/// w_SFT = sft_scale * exp(-H) (Eq. 8) and w_RL = rl_scale * exp(+H) (Eq. 11).
///
/// `sft_sign="plus"` is the sign that the authors' code has. No gradient flows through
/// either weight.
#[pyfunction]
#[pyo3(signature = (entropy, *, sft_scale = 0.5, rl_scale = 0.1, sft_sign = "minus"))]
#[expect(clippy::type_complexity, reason = "a pair of arrays")]
pub fn weights(
    entropy: &Bound<'_, PyAny>,
    sft_scale: f64,
    rl_scale: f64,
    sft_sign: &str,
) -> PyResult<(Py<PyArrayDyn<f64>>, Py<PyArrayDyn<f64>>)> {
    let sign = match sft_sign {
        "minus" => -1.0,
        "plus" => 1.0,
        other => return Err(input(format!("no sign `{other}`"), "minus or plus")),
    };
    let at = |scale: f64, sign: f32| {
        let array = floats(entropy, "entropy")?; // a fresh one
        for slot in array.readwrite().as_array_mut() {
            if slot.is_nan() {
                return Err(input("an entropy is nan", "give numbers, in nats"));
            }
            *slot = scale * entropy_weight::weight(Some(Weight { scale: 1.0, sign }), *slot);
        }
        Ok(array.unbind())
    };
    Ok((at(sft_scale, sign)?, at(rl_scale, 1.0)?))
}

/// One group, or several: one update.
pub struct Groups<'py>(Vec<Bound<'py, Group>>);

impl<'py> FromPyObject<'_, 'py> for Groups<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(group) = given.cast::<Group>() {
            return Ok(Self(vec![group.to_owned()]));
        }
        let expected = "a Group, or a list of them";
        let wrong = |_| wrong_type("groups", given.get_type().as_any(), expected);
        given.extract().map(Self).map_err(wrong)
    }
}

/// Settings that a loss depends on, besides the objective's.
const OF_A_LOSS: [&str; 4] =
    ["train.micro_batch_tokens", "train.checkpointing", "run.seed", "rollout.temperature"];

/// The config of a loss: `method`, or the one of the settings, or srft; over it the settings. A file may
/// hold a whole run's; in a dict what no loss depends on is a mistake.
fn config_of(method: Option<&str>, settings: Option<&Bound<'_, PyAny>>) -> PyResult<Config> {
    let given = layers(settings)?;
    if let [(_, sections)] = given.as_slice()
        && settings.is_some_and(|s| s.cast::<PyMapping>().is_ok())
    {
        for (section, keys) in sections {
            let keys = keys.as_table().into_iter().flat_map(|keys| keys.keys());
            for key in keys.map(|key| format!("{section}.{key}")) {
                if section != "objective" && !OF_A_LOSS.contains(&&*key) {
                    let next = "leave it out; only the objective's settings and train.micro_batch_tokens \
                         count";
                    return Err(input(format!("no loss depends on {key}"), next));
                }
                if let ("objective.method", Some(method)) = (&*key, method) {
                    let next = "give it in one place";
                    return Err(input(
                        format!("the method is given as {method}, and in settings too"),
                        next,
                    ));
                }
            }
        }
    }
    let set = |method: &str| Config::setting(&format!("objective.method={method:?}")).or_raise();
    let mut all = vec![set("srft")?];
    all.extend(given);
    all.extend(method.map(set).transpose()?);
    Config::resolve(&all).or_raise()
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
    /// demonstration last, "given", what each response begins with that the demonstration gave, "w_sft" of the
    /// demonstration, "w_rl" of each rollout.
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
/// `method` is a preset: srft (None), srft-official, srft-hpt, sft, grpo, dapo, luffy, ...
/// (docs/methods.md); `settings` lays switches over it, such as `{"objective.entropy_over": "token"}`. Means are taken
/// over the tokens of all groups.
#[pyfunction]
#[pyo3(signature = (model, groups, method = None, settings = None, *, gradients = false))]
pub fn loss(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    groups: Groups<'_>,
    method: Option<&str>,
    settings: Option<&Bound<'_, PyAny>>,
    gradients: bool,
) -> PyResult<Loss> {
    let config = config_of(method, settings)?;
    let model = model.get();
    let values = config.objective.reward_values;
    let record = |group: &Bound<'_, Group>| group.get().record(py, model, values);
    let mut groups: Vec<_> = groups.0.iter().map(record).collect::<PyResult<_>>()?;
    if groups.is_empty() {
        return Err(input("no groups", "give at least one"));
    }
    let policy = model.policy.clone();
    let base = config.stages().iter().any(Objective::uses_base).then(|| policy.clone());
    let recomputed = config.train.checkpointing.recomputed(policy.config.layers).unwrap_or(0);
    let learner = Learner::new(config, policy, base, model.tokenizer.clone(), recomputed);
    let (explanation, gradient) = py.detach(|| {
        drive(async {
            let explanation = explain(&learner, &mut groups).await?;
            let update = assemble(&groups, &learner.config.objective_at(0));
            let gradient = match gradients {
                true => Some(learner.gradient(&update, 0).await?),
                false => None,
            };
            Ok((explanation, gradient))
        })
    })?;
    let gradients = match gradient {
        Some(gradient) => {
            let weights = learner.policy.parameters().into_iter().zip(gradient.tensors);
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
