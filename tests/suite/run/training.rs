//! Whole training steps of a small model, on both backends: it learns, it repeats itself bit for
//! bit, it does not depend on how a batch is cut, and it refuses numbers that are not numbers.

use crate::backends::{devices, floats, is_slow};
use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use srft::config::{Data, Settings};
use srft::data::builtin::training_example;
use srft::error::Kind;
use srft::learner::Gradient;
use srft::metrics::StepReport;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::objective::{Update, assemble};
use srft::ops::adamw::squared_norm;
use srft::ops::objective::column;
use srft::ops::readback;
use srft::random::Stream;
use srft::records::{Example, Group};
use srft::text::Tokenizer;
use srft::trainer::Trainer;

/// Hidden 32, two layers, over the built-in task's 23 characters.
const SMALL: &str = r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
    "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

/// A step of three prompts with four short rollouts each, in several micro-batches.
pub(super) const TINY_STEP: &str = "[rollout]\nprompts = 3\ngroup = 4\nmax_new_tokens = 10\n\
    [train]\nmicro_batch_tokens = 128\n";

/// The backends for what takes dozens of steps. That a software adapter takes the same steps is another
/// test's to show, `cpu_and_vulkan_agree_for_ten_steps`.
fn quick_devices() -> impl Iterator<Item = (&'static str, Device)> {
    devices().into_iter().filter(|(backend, _)| !is_slow(backend))
}

pub(super) fn trainer(
    device: &Device,
    method: &str,
    settings: &str,
    examples: Vec<Example>,
) -> Trainer {
    let model =
        Llama::random(ModelConfig::from_json(SMALL.as_bytes(), "small").unwrap(), 1, device);
    let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "tiny").unwrap();
    let settings = format!("[objective]\nmethod = \"{method}\"\n{settings}");
    crate::common::trainer(model, tokenizer, &settings, examples)
}

pub(super) fn change(trainer: &mut Trainer, change: impl FnOnce(&mut Settings)) {
    trainer.learner.config = trainer.learner.config.with(change).unwrap();
}

/// Problems of the built-in task with the teacher's demonstrations.
pub(super) fn problems(count: u64) -> Vec<Example> {
    (0..count).map(|cursor| training_example(&Data::default(), 5, cursor)).collect()
}

/// Sums of one digit whose demonstration is the bare answer.
fn sums() -> Vec<Example> {
    let sum = |(a, b): (u32, u32)| Example {
        suite: "sums".into(),
        prompt: format!("{a}+{b}="),
        demonstration: Some(format!(">{}", a + b)),
        answer: (a + b).to_string(),
        ..Example::default()
    };
    [(1, 2), (4, 5)].map(sum).to_vec()
}

pub(super) fn train(trainer: &mut Trainer, steps: usize) -> Vec<StepReport> {
    (0..steps).map(|_| block_on(trainer.step()).unwrap().0).collect()
}

/// Another policy of the same shape: a base that this one has moved away from.
pub(super) fn other_model(device: &Device) -> Llama {
    Llama::random(ModelConfig::from_json(SMALL.as_bytes(), "small").unwrap(), 2, device)
}

/// Every weight's bits, so that even a NaN equals itself.
pub(super) fn weight_bits(model: &Llama) -> Vec<u32> {
    let values = model.parameters().into_iter().flat_map(|p| floats(p.tensor.clone()));
    values.map(f32::to_bits).collect()
}

pub(super) fn loss(gradient: &Gradient) -> f64 {
    gradient.sums.iter().flat_map(|row| &row[..column::LOSSES]).sum()
}

/// The largest difference of two gradients, relative to the largest element of the second.
pub(super) fn difference(gradient: &Gradient, expected: &Gradient) -> f64 {
    let all = |g: &Gradient| g.tensors.iter().flat_map(|t| floats(t.clone())).collect::<Vec<f32>>();
    let (got, expected) = (all(gradient), all(expected));
    let largest = expected.iter().fold(0.0f32, |most, g| most.max(g.abs()));
    assert!(largest > 0.0, "there is a gradient to compare with");
    let apart = got.iter().zip(&expected).map(|(a, b)| (a - b).abs() / largest);
    f64::from(apart.fold(0.0f32, |most, e| if e.is_nan() { f32::INFINITY } else { most.max(e) }))
}

#[test]
fn supervised_training_overfits_eight_examples() {
    let settings = "[rollout]\nprompts = 8\n[optimizer]\nlr = 1e-2\nschedule = \"constant\"\n";
    for (backend, device) in quick_devices() {
        let mut trainer = trainer(&device, "sft", settings, problems(8));
        let reports = train(&mut trainer, 70);
        let (first, last) = (reports[0].loss, reports[69].loss);
        assert!(
            first > 2.5,
            "{backend}: an untrained model knows nothing, yet its loss is {first}"
        );
        assert!(last < 0.05, "{backend}: from {first} only to {last} nats a token");
    }
}

/// From random weights: the first right rollouts come from imitating, the rest from both terms.
#[test]
fn srft_raises_the_reward() {
    let settings = "[rollout]\nprompts = 2\ngroup = 4\nmax_new_tokens = 4\n\
        [optimizer]\nlr = 2e-2\nschedule = \"constant\"\n";
    for (backend, device) in quick_devices() {
        let mut trainer = trainer(&device, "srft", settings, sums());
        let reports = train(&mut trainer, 90);
        let reward =
            |reports: &[StepReport]| reports.iter().filter_map(|r| r.reward).sum::<f64>() / 10.0;
        let (before, after) = (reward(&reports[..10]), reward(&reports[80..]));
        assert!(before < -0.9 && after > 0.5, "{backend}: mean reward {before} to {after}");
    }
}

#[test]
fn one_seed_on_one_adapter_gives_the_same_bits() {
    for (backend, device) in devices() {
        let steps = if is_slow(backend) { 2 } else { 5 };
        let run = || {
            let mut trainer = trainer(&device, "srft", TINY_STEP, problems(8));
            let reports: Vec<_> =
                train(&mut trainer, steps).iter().map(StepReport::without_times).collect();
            (reports, weight_bits(&trainer.learner.policy))
        };
        let (first, second) = (run(), run());
        assert_eq!(first.0, second.0, "{backend}");
        assert!(first.1 == second.1, "{backend}: the reports agree, the weights do not");
    }
}

/// Of gradients that one workgroup could not sum: a GPU with atomic addition must keep an order, too.
#[test]
fn the_norm_of_large_gradients_is_the_same_bits_each_time() {
    let mut stream = Stream::new(3, 1, 0);
    let shapes = [[700, 900], [1, 4096], [2000, 3]];
    let values = shapes.map(|[r, c]| (0..r * c).map(|_| stream.normal()).collect::<Vec<f32>>());
    let expected: f64 = values.iter().flatten().map(|&x| f64::from(x).powi(2)).sum();
    for (name, device) in devices() {
        let tensor = |(v, shape): (&Vec<f32>, [usize; 2])| {
            Tensor::from_data(TensorData::new(v.clone(), shape), &device)
        };
        let gradients: Vec<Tensor<2>> = values.iter().zip(shapes).map(tensor).collect();
        let norm = || floats(squared_norm(&gradients))[0];
        let first = norm();
        assert!((f64::from(first) / expected - 1.0).abs() < 1e-5, "{name}: {first}, {expected}");
        assert!((0..30).all(|_| norm().to_bits() == first.to_bits()), "{name}");
    }
}

/// Random numbers are the same bits on every backend; a probability that differs in its last digit
/// could still tip a draw, which the first assertion would name. At these sizes none is near it.
#[test]
fn cpu_and_vulkan_agree_for_ten_steps() {
    for method in ["sft", "srft"] {
        let runs = devices().into_iter().map(|(_, device)| {
            let mut trainer = trainer(&device, method, TINY_STEP, problems(8));
            let steps = (0..10).map(|_| block_on(trainer.step()).unwrap());
            steps.collect::<Vec<(StepReport, Vec<Group>)>>()
        });
        let runs: Vec<_> = runs.collect();
        let [cpu, vulkan] = runs.as_slice() else { panic!("both backends are needed") };
        for (step, ((a, a_groups), (b, b_groups))) in cpu.iter().zip(vulkan).enumerate() {
            let responses = |groups: &[Group]| -> Vec<String> {
                groups.iter().flat_map(|g| g.episodes.iter().map(|e| e.response.clone())).collect()
            };
            assert_eq!(responses(a_groups), responses(b_groups), "{method}, step {step}");
            let error = (a.loss - b.loss).abs() / a.loss.abs();
            assert!(
                error < 1e-3,
                "{method}, step {step}: {} on the CPU, {} on Vulkan",
                a.loss,
                b.loss
            );
        }
    }
}

/// An update of sampled groups whose rewards alternate, so that every term acts.
pub(super) fn sampled(trainer: &Trainer) -> Vec<Group> {
    let mut groups = block_on(trainer.groups(problems(3))).unwrap();
    for (i, episode) in groups.iter_mut().flat_map(|g| &mut g.episodes).enumerate() {
        episode.reward = if i % 3 == 0 { 1.0 } else { -1.0 };
    }
    groups
}

#[test]
fn the_gradient_does_not_depend_on_how_the_update_is_cut() {
    for (backend, device) in devices() {
        let cases = [
            ("srft", "batch"),
            ("srft-official", "token"),
            ("sft-kl", "sequence"),
            ("sft", "sequence"),
            ("srft", "sequence"),
            ("sft+grpo", "sequence"),
            ("dr-grpo", "sequence"),
            ("dapo", "sequence"),
            ("chord", "sequence"),
            ("hpt", "sequence"),
        ];
        for &(method, over) in &cases[..if is_slow(backend) { 3 } else { cases.len() }] {
            let settings = format!("entropy_over = \"{over}\"\n{TINY_STEP}");
            let mut trainer = trainer(&device, method, &settings, Vec::new());
            trainer.learner.base = trainer.learner.base.as_ref().map(|_| other_model(&device));
            let update = assemble(&sampled(&trainer), &trainer.objective());
            let [whole, cut, single] = [100_000, 128, 1].map(|limit| {
                change(&mut trainer, |s| s.train.micro_batch_tokens = limit);
                block_on(trainer.learner.gradient(&update, trainer.step)).unwrap()
            });
            for other in [cut, single] {
                let what = format!("{method} over {over} on {backend}");
                let apart = difference(&other, &whole);
                assert!(apart < 1e-5, "{what}: gradients {apart:e} apart");
                let (got, expected) = (loss(&other), loss(&whole));
                let error = (got - expected).abs() / expected.abs();
                assert!(error < 1e-5, "{what}: loss {got}, in one piece {expected}");
            }
        }
    }
}

#[test]
fn equal_rewards_give_grpo_no_gradient_at_all() {
    for (backend, device) in devices() {
        let trainer = trainer(&device, "grpo", TINY_STEP, Vec::new());
        for reward in [1.0, -1.0] {
            let mut groups = block_on(trainer.groups(problems(3))).unwrap();
            groups.iter_mut().flat_map(|g| &mut g.episodes).for_each(|e| e.reward = reward);
            let update = assemble(&groups, &trainer.objective());
            assert!(update.advantages.iter().flatten().all(|&a| a == 0.0));
            let gradient = block_on(trainer.learner.gradient(&update, trainer.step)).unwrap();
            assert_eq!((gradient.norm, loss(&gradient)), (0.0, 0.0), "{backend}");
            let values = gradient.tensors.into_iter().flat_map(floats);
            assert!(values.map(f32::abs).all(|g| g == 0.0), "{backend}");
        }
        // A whole step of it: nothing is right, so nothing moves.
        let mut hopeless = problems(3);
        hopeless.iter_mut().for_each(|e| e.answer = "none".into());
        let mut trainer = self::trainer(&device, "grpo", TINY_STEP, hopeless);
        let before = weight_bits(&trainer.learner.policy);
        let report = &train(&mut trainer, 1)[0];
        let expected = (Some(-1.0), 0.0, 0.0);
        assert_eq!((report.reward, report.loss, report.grad_norm), expected, "{backend}");
        assert!(weight_bits(&trainer.learner.policy) == before, "{backend}: the weights moved");
    }
}

#[test]
fn a_step_on_weights_that_are_not_numbers_is_refused_and_changes_nothing() {
    for (backend, device) in devices() {
        for method in ["srft", "sft", "grpo"] {
            let what = format!("{method} on {backend}");
            let mut trainer = trainer(&device, method, TINY_STEP, problems(3));
            let parameters = trainer.learner.policy.parameters_mut();
            let norm = parameters.into_iter().find(|p| p.name == "model.norm.weight").unwrap();
            let mut values = floats(norm.tensor.clone());
            values[3] = f32::NAN;
            *norm.tensor = Tensor::from_data(TensorData::new(values, norm.block_shape), &device);
            let before = weight_bits(&trainer.learner.policy);
            let error = block_on(trainer.step()).map(|_| ()).expect_err(&what);
            assert_eq!(error.kind, Kind::Numbers, "{what}: {error}");
            assert!(error.next.is_some(), "{what}: {error}");
            assert!(weight_bits(&trainer.learner.policy) == before, "{what}: the weights moved");
            assert_eq!((trainer.step, trainer.optimizer.updates), (0, 0), "{what}");
        }
    }
}

/// The update with every weight that the step computed put in as a constant.
fn with_constants(update: &Update, gradient: &Gradient) -> Update {
    let mut update = update.clone();
    for (sequence, sums) in update.sequences.iter_mut().zip(&gradient.sums) {
        let weight = sums[column::WEIGHT] as f32;
        let own = if sequence.terms.self_positive { weight } else { 1.0 };
        let terms = &mut sequence.terms;
        terms.sft *= weight;
        terms.self_logp *= own;
        terms.self_ratio *= own;
        terms.self_positive = false;
    }
    update
}

/// Every response token as a sequence of its own, so that a token's weight is a sequence's.
fn token_by_token(update: &Update) -> Update {
    let mut split = Update { sequences: Vec::new(), divisors: Vec::new(), ..update.clone() };
    for sequence in &update.sequences {
        for t in 0..sequence.response.len() {
            let mut token = sequence.clone();
            token.prompt.extend(&sequence.response[..t]);
            token.response = vec![sequence.response[t]];
            token.old_logprobs = sequence.old_logprobs.get(t).copied().into_iter().collect();
            split.sequences.push(token);
        }
    }
    split
}

/// stop_grad: the entropy weights and the advantages are constants for the gradient, though they
/// are functions of the policy.
#[test]
fn no_gradient_flows_through_the_weights() {
    for (backend, device) in devices() {
        let cases = [
            ("srft", "batch"),
            ("srft-official", "token"),
            ("srft", "sequence"),
            ("srft", "token"),
            ("srft-official", "sequence"),
        ];
        for &(method, over) in &cases[..if is_slow(backend) { 2 } else { cases.len() }] {
            let what = format!("{method} over {over} on {backend}");
            let settings = format!("entropy_over = \"{over}\"\n{TINY_STEP}");
            let mut trainer = trainer(&device, method, &settings, Vec::new());
            let update = assemble(&sampled(&trainer), &trainer.objective());
            change(&mut trainer, |s| s.train.micro_batch_tokens = 4096);
            let weighed = block_on(trainer.learner.gradient(&update, trainer.step)).unwrap();
            let parts = if over == "token" { token_by_token(&update) } else { update };
            let weights = block_on(trainer.learner.gradient(&parts, trainer.step)).unwrap();
            let constants = with_constants(&parts, &weights);
            change(&mut trainer, |s| {
                s.objective.entropy_weights = false;
                s.objective.sft_weight_scale = 1.0;
                s.objective.self_weight_scale = 1.0;
            });
            let constant = block_on(trainer.learner.gradient(&constants, trainer.step)).unwrap();
            let apart = difference(&weighed, &constant);
            assert!(apart < 1e-5, "{what}: {apart:e} apart");
            // The comparison can fail: one weight changed by a percent shows.
            let mut changed = constants.clone();
            let positive = changed.sequences.iter().position(|s| s.terms.sft > 0.0).unwrap();
            changed.sequences[positive].terms.sft *= 1.01;
            let changed = block_on(trainer.learner.gradient(&changed, trainer.step)).unwrap();
            assert!(difference(&changed, &constant) > 1e-5, "{what}");
        }
    }
}

#[test]
fn an_update_reads_back_once_and_a_rollout_a_bounded_number_of_times() {
    let counted = |work: &mut dyn FnMut()| {
        let before = readback::count();
        work();
        readback::count() - before
    };
    for (backend, device) in devices() {
        for (method, over, expected) in [
            ("sft", "sequence", 1),
            ("srft", "sequence", 1),
            ("luffy", "token", 1),
            ("sft-kl", "sequence", 1),
            ("chord", "sequence", 1),
            ("srft", "batch", 2),
        ] {
            let settings = format!("entropy_over = \"{over}\"\n{TINY_STEP}");
            let trainer = trainer(&device, method, &settings, Vec::new());
            let update = assemble(&sampled(&trainer), &trainer.objective());
            let readbacks = counted(&mut || {
                block_on(trainer.learner.gradient(&update, trainer.step)).unwrap();
            });
            assert_eq!(readbacks, expected, "{method} over {over} on {backend}");
        }
        let mut supervised = trainer(&device, "sft", TINY_STEP, problems(3));
        let readbacks = counted(&mut || {
            train(&mut supervised, 1);
        });
        assert_eq!(readbacks, 1, "a whole supervised step on {backend}");
        // Ten tokens: a look at the ids after eight and at the limit, and the statistics.
        let sampler = trainer(&device, "srft", TINY_STEP, Vec::new());
        let readbacks = counted(&mut || {
            block_on(sampler.groups(problems(3))).unwrap();
        });
        assert!((1..=3).contains(&readbacks), "{readbacks} for a rollout on {backend}");
    }
}

/// A step that imitates alone makes as many updates as its rollouts would have cost, on demonstrations that are not known.
#[test]
fn lean_imitates_what_is_not_known() {
    for (backend, device) in devices() {
        let of = |known: f64| {
            let settings = format!("known = {known}\n{TINY_STEP}");
            let mut trainer = trainer(&device, "srft-lean", &settings, problems(9));
            let mut step = || block_on(trainer.step()).unwrap();
            let steps: Vec<_> = (0..4).map(|_| step()).collect();
            let read: Vec<usize> = steps.iter().map(|(_, groups)| groups.len()).collect();
            let sampled: Vec<bool> = steps.iter().map(|(r, _)| r.rollout_tokens > 0).collect();
            let waits = trainer.turns.waits.len();
            (read, sampled, waits, steps)
        };
        // Four rollouts cost as much as five updates and a third, of three prompts each. No rollout is right, so that after
        // the step that samples all imitate.
        let (read, sampled, waits, steps) = of(0.999);
        assert_eq!((sampled, waits), (vec![false, false, true, false], 0), "{backend}");
        assert_eq!(read, [15, 15, 3, 15], "{backend}");
        for (report, groups) in steps.iter().filter(|(r, _)| r.rollout_tokens == 0) {
            let tokens = |g: &Group| g.demonstration.as_ref().unwrap().tokens.len() as u64;
            assert_eq!(report.trained_tokens, groups.iter().map(tokens).sum::<u64>(), "{backend}");
            assert!(report.loss_sft > 0.0 && report.accuracy.is_none(), "{backend}");
        }
        // Everything counts as known once it is read: nine, and a round in which they wait; again, and then they wait for
        // two rounds, so that the fourth step finds nothing to read.
        let (read, sampled, waits, _) = of(1e-30);
        assert_eq!((sampled, waits), (vec![false, false, true, true], 9), "{backend}");
        assert_eq!(read, [9, 9, 3, 3], "{backend}");
    }
}

/// A policy that knows nothing solves nothing: what is taught right is held until there are two, then
/// imitated in a step that samples nothing, the latest first.
#[test]
fn relift_takes_a_step_of_imitation_when_enough_is_held() {
    let settings = format!("buffer = 4\n{TINY_STEP}");
    for (backend, device) in devices() {
        let mut trainer = trainer(&device, "relift", &settings, problems(9));
        let mut steps = Vec::new();
        for _ in 0..4 {
            let before = weight_bits(&trainer.learner.policy);
            let (report, groups) = block_on(trainer.step()).unwrap();
            let moved = weight_bits(&trainer.learner.policy) != before;
            // A step that samples nothing has no accuracy.
            let accuracy = (report.rollout_tokens > 0).then_some(0.0);
            assert_eq!(report.accuracy, accuracy, "{backend}");
            let held = trainer.buffer.held.len();
            steps.push((
                groups.len(),
                report.rollout_tokens > 0,
                report.loss_sft > 0.0,
                moved,
                held,
            ));
        }
        let expected = [
            (3, true, false, false, 3),
            (3, true, false, false, 6),
            (4, false, true, true, 2),
            (3, true, false, true, 5),
        ];
        // The moments of the step before move the weights of the last.
        assert_eq!(steps, expected, "{backend}");
    }
}
