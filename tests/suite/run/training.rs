//! Whole training steps of a small model, on both backends: it learns, it repeats itself bit for
//! bit, it does not depend on how a batch is cut, and it refuses numbers that are not numbers.

use crate::backends::{compare, devices, floats, is_slow};
use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use srft::config::{Data, Settings, Truncated};
use srft::data::builtin::training_example;
use srft::error::Kind;
use srft::learner::Gradient;
use srft::metrics::StepReport;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::objective::advantage::advantages;
use srft::objective::{Update, assemble, teaches_nothing};
use srft::ops::adamw::squared_norm;
use srft::ops::objective::column;
use srft::ops::readback;
use srft::random::Stream;
use srft::records::{Example, Group};
use srft::score::{score, score_sequences};
use srft::text::Tokenizer;
use srft::trainer::Trainer;

/// Hidden 32, two layers, over the built-in task's 23 characters.
const SMALL: &str = r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
    "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

/// A step of three prompts with four short rollouts each, in several micro-batches.
const TINY_STEP: &str = "[rollout]\nprompts = 3\ngroup = 4\nmax_new_tokens = 10\n\
    [train]\nmicro_batch_tokens = 128\n";

/// The backends for what takes dozens of steps. That a software adapter takes the same steps is another
/// test's to show, `cpu_and_vulkan_agree_for_ten_steps`.
fn quick_devices() -> impl Iterator<Item = (&'static str, Device)> {
    devices().into_iter().filter(|(backend, _)| !is_slow(backend))
}

fn trainer(device: &Device, method: &str, settings: &str, examples: Vec<Example>) -> Trainer {
    let model =
        Llama::random(ModelConfig::from_json(SMALL.as_bytes(), "small").unwrap(), 1, device);
    let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "tiny").unwrap();
    let settings = format!("[objective]\nmethod = \"{method}\"\n{settings}");
    crate::common::trainer(model, tokenizer, &settings, examples)
}

fn change(trainer: &mut Trainer, change: impl FnOnce(&mut Settings)) {
    trainer.learner.config = trainer.learner.config.with(change).unwrap();
}

/// Problems of the built-in task with the teacher's demonstrations.
fn problems(count: u64) -> Vec<Example> {
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

fn train(trainer: &mut Trainer, steps: usize) -> Vec<StepReport> {
    (0..steps).map(|_| block_on(trainer.step()).unwrap().0).collect()
}

/// Another policy of the same shape: a base that this one has moved away from.
fn other_model(device: &Device) -> Llama {
    Llama::random(ModelConfig::from_json(SMALL.as_bytes(), "small").unwrap(), 2, device)
}

/// Every weight's bits, so that even a NaN equals itself.
fn weight_bits(model: &Llama) -> Vec<u32> {
    let values = model.parameters().into_iter().flat_map(|p| floats(p.tensor.clone()));
    values.map(f32::to_bits).collect()
}

fn loss(gradient: &Gradient) -> f64 {
    gradient.sums.iter().flat_map(|row| &row[..column::LOSSES]).sum()
}

/// The largest difference of two gradients, relative to the largest element of the second.
fn difference(gradient: &Gradient, expected: &Gradient) -> f64 {
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
fn sampled(trainer: &Trainer) -> Vec<Group> {
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

/// The base's log-probabilities of the demonstrations reach the loss as if they had been written beside
/// the tokens by hand; at the base there is no penalty, and no pull.
#[test]
fn the_kl_penalty_takes_the_log_probabilities_of_the_base() {
    for (backend, device) in devices() {
        let mut held = trainer(&device, "sft-kl", TINY_STEP, Vec::new());
        let update = assemble(&sampled(&held), &held.objective());
        let penalty =
            |gradient: &Gradient| -> f64 { gradient.sums.iter().map(|row| row[column::KL]).sum() };
        let at_base = block_on(held.learner.gradient(&update, held.step)).unwrap();
        assert!(penalty(&at_base).abs() < 1e-7, "{backend}: {}", penalty(&at_base));
        change(&mut held, |s| s.objective.kl_coeff = 0.0);
        let mut alone = update.clone();
        alone.sequences.iter_mut().for_each(|s| s.terms.kl = 0.0);
        let alone = block_on(held.learner.gradient(&alone, held.step)).unwrap();
        assert!(difference(&at_base, &alone) < 1e-5, "{backend}");

        change(&mut held, |s| s.objective.kl_coeff = 0.2);
        let base = other_model(&device);
        held.learner.base = Some(base.clone());
        let from_base = block_on(held.learner.gradient(&update, held.step)).unwrap();
        assert!(penalty(&from_base) > 1e-3, "{backend}: {}", penalty(&from_base));
        assert!(difference(&from_base, &alone) > 1e-3, "{backend}: it pulls");
        // Its value is k3 of both models' numbers.
        let scored = |model: &Llama| {
            let pairs = update.sequences.iter().map(|s| (s.prompt.clone(), s.response.clone()));
            block_on(score(model, pairs.collect(), 128)).unwrap()
        };
        let mut expected = 0.0;
        let both = scored(&held.learner.policy).into_iter().zip(scored(&base));
        for (sequence, (own, of_base)) in update.sequences.iter().zip(both) {
            for (p, base) in own.logprobs.iter().zip(&of_base.logprobs) {
                let log_r = f64::from(base - p);
                expected += f64::from(sequence.terms.kl) * (log_r.exp() - 1.0 - log_r);
            }
        }
        compare(backend, &[penalty(&from_base) as f32], &[expected], 1e-4).unwrap();
    }
}

/// What samples is what is trained: at a temperature, the rollouts' log-probabilities and entropies are those that the
/// loss has, and its gradient is that of its value.
#[test]
fn rollouts_are_trained_at_the_temperature_that_drew_them() {
    for (backend, device) in devices() {
        for (temperature, of_loss, at) in [(0.7, 0.0, 0.7), (0.7, 1.0, 1.0), (1.5, 0.0, 1.5)] {
            let mut trainer = trainer(&device, "grpo", TINY_STEP, Vec::new());
            change(&mut trainer, |s| {
                (s.rollout.temperature, s.objective.temperature) = (temperature, of_loss);
            });
            let groups = sampled(&trainer);
            let update = assemble(&groups, &trainer.objective());
            let sequences = &update.sequences;
            assert!(sequences.iter().all(|s| s.temperature == at as f32), "{backend}");
            let scored =
                block_on(score_sequences(&trainer.learner.policy, sequences, 128)).unwrap();
            let episodes = groups.iter().flat_map(|g| &g.episodes);
            for (episode, scored) in episodes.zip(scored) {
                let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                compare(backend, &scored.logprobs, &wide(&episode.logprobs), 1e-4).unwrap();
                compare(backend, &scored.entropies, &wide(&episode.entropies), 1e-4).unwrap();
            }
            // Along the gradient the loss rises by the square of its norm.
            let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
            let mut loss_at = |step: f64| -> f64 {
                let before = trainer.learner.policy.clone();
                let parameters = trainer.learner.policy.parameters_mut();
                for (p, g) in parameters.into_iter().zip(&gradient.tensors) {
                    *p.tensor = p.tensor.clone() + g.clone() * (step / gradient.norm.powi(2));
                }
                let moved = block_on(trainer.learner.gradient(&update, 0)).unwrap();
                trainer.learner.policy = before;
                moved.sums.iter().map(|row| row[column::SELF]).sum()
            };
            let (step, rise) = (2e-3, loss_at(2e-3) - loss_at(-2e-3));
            let ratio = rise / (2.0 * step);
            assert!((ratio - 1.0).abs() < 0.03, "{backend}, {temperature}, {of_loss}: {ratio}");
        }
    }
}

/// A step of several updates is those updates one after the other, each of its own prompts, with the sampler's
/// log-probabilities; then the policy is no longer the one that sampled, and the clip acts.
#[test]
fn a_step_may_hold_several_updates() {
    for (backend, device) in devices() {
        let [mut by_hand, mut whole] = [(); 2].map(|()| {
            let mut trainer = trainer(&device, "grpo", TINY_STEP, problems(8));
            change(&mut trainer, |s| {
                (s.train.minibatches, s.train.epochs, s.optimizer.lr) = (2, 2, 0.02);
                // Nothing is right yet: rewards differ by length.
                (s.objective.truncated, s.objective.soft_tokens) = (Truncated::Soft, 10);
            });
            trainer
        });
        let (report, groups) = block_on(whole.step()).unwrap();
        assert_eq!(whole.optimizer.updates, 4, "{backend}");
        let objective = by_hand.objective();
        let lr = report.lr;
        let middle = groups.len() / 2;
        let (mut norms, mut clipped) = (0.0, 0.0);
        for nth in 0..4u32 {
            let part = if nth % 2 == 0 { &groups[..middle] } else { &groups[middle..] };
            let update = assemble(part, &objective);
            let gradient = block_on(by_hand.learner.nth_gradient(&update, 0, nth)).unwrap();
            norms += gradient.norm;
            clipped += gradient.sums.iter().map(|row| row[column::CLIPPED]).sum::<f64>();
            let Gradient { tensors, norm, .. } = gradient;
            by_hand.optimizer.step(&mut by_hand.learner.policy, tensors, norm, lr);
        }
        assert_eq!(report.grad_norm, norms / 4.0, "{backend}");
        let tokens: usize = groups.iter().flat_map(|g| &g.episodes).map(|e| e.tokens.len()).sum();
        assert_eq!(report.clip_share, Some(clipped / (2 * tokens) as f64), "{backend}");
        assert!(clipped > 0.0, "{backend}: nothing was clipped");
        let weights = |trainer: &Trainer| -> Vec<Vec<f32>> {
            trainer.learner.policy.parameters().into_iter().map(|p| floats(p.tensor)).collect()
        };
        assert!(weights(&whole) == weights(&by_hand), "{backend}: other weights");
    }
}

/// The teacher is the policy with the demonstration before the prompt; each token's advantage is what it says more than
/// the sampler. Who has none, or too long a one, carries no loss and is counted.
#[test]
fn the_teacher_is_the_policy_that_sees_the_demonstration() {
    for (backend, device) in devices() {
        let mut examples = problems(3);
        examples[1].demonstration = None;
        // Prompt, demonstration and prompt once more do not fit in 64 positions.
        examples[2].demonstration = Some(format!("{}>7", "1+1=2,".repeat(8)));
        let mut trainer = trainer(&device, "opsd", TINY_STEP, examples);
        let groups = block_on(trainer.groups(trainer.source.examples(0, 0, 3))).unwrap();
        let update = assemble(&groups, &trainer.objective());
        let policy = &trainer.learner.policy;
        let mut sequences = update.sequences.iter();
        let (mut taught, mut loss_expected, mut tokens) = (0, 0.0, 0);
        for group in &groups {
            let own = sequences
                .by_ref()
                .take(group.episodes.len() + usize::from(group.demonstration.is_some()));
            let own: Vec<_> = own.collect();
            for (episode, sequence) in group.episodes.iter().zip(&own) {
                tokens += episode.tokens.len();
                let context = group.demonstration.as_ref().map(|shown| {
                    [&group.prompt_tokens[..], &shown.tokens, &group.prompt_tokens].concat()
                });
                let fits = |context: &Vec<u32>| {
                    policy.config.require_fits(context.len(), episode.tokens.len()).is_ok()
                };
                let context = context.filter(fits);
                assert_eq!(episode.taught.is_empty(), context.is_none(), "{backend}");
                assert_eq!(sequence.terms.is_zero(), context.is_none(), "{backend}");
                let Some(context) = context else { continue };
                let pair = vec![(context, episode.tokens.clone())];
                let scored = block_on(score(policy, pair, 128)).unwrap().remove(0);
                let wide: Vec<f64> = scored.logprobs.iter().map(|&l| f64::from(l)).collect();
                compare(backend, &episode.taught, &wide, 1e-4).unwrap();
                let gains = episode.taught.iter().zip(&episode.logprobs).map(|(t, l)| t - l);
                assert!(gains.clone().eq(sequence.factors.iter().copied()), "{backend}");
                loss_expected -= gains.map(f64::from).sum::<f64>();
                taught += 1;
            }
        }
        assert!((1..8).contains(&taught), "{backend}: {taught}");
        let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
        compare(backend, &[loss(&gradient) as f32], &[loss_expected / tokens as f64], 1e-4)
            .unwrap();
        assert!(gradient.norm > 0.0);
        let report = &train(&mut trainer, 1)[0];
        assert_eq!(report.untaught, 12 - taught, "{backend}");
    }
}

/// Groups of equal rewards are drawn anew, at most so often: by other prompts, the same in every run, and what they
/// sampled is counted.
#[test]
fn groups_that_teach_nothing_are_refilled() {
    for (backend, device) in devices() {
        let stepped = |refill: u32| {
            let mut trainer = trainer(&device, "dapo", TINY_STEP, problems(40));
            change(&mut trainer, |s| {
                s.objective.refill = refill;
                // Nothing is right yet: some groups differ by length.
                (s.objective.truncated, s.objective.soft_tokens) = (Truncated::Soft, 1);
                (s.rollout.prompts, s.rollout.group, s.rollout.max_new_tokens) = (8, 2, 6);
            });
            let (report, groups) = block_on(trainer.step()).unwrap();
            let prompts: Vec<String> = groups.iter().map(|g| g.example.prompt.clone()).collect();
            let idle = groups.iter().filter(|g| teaches_nothing(g, &trainer.objective())).count();
            (report, prompts, idle)
        };
        let (alone, first, idle) = stepped(0);
        assert!(idle > 2 && alone.refilled == 0, "{backend}: {idle}");
        let (once, second, left) = stepped(1);
        assert_eq!(once.refilled, idle as u64, "{backend}");
        assert!(left < idle, "{backend}: {left} of {idle}");
        let changed = first.iter().zip(&second).filter(|(a, b)| a != b).count();
        assert!(0 < changed && changed <= idle, "{backend}: {changed}");
        assert!(once.rollout_tokens > alone.rollout_tokens, "{backend}");
        let (often, _, none) = stepped(50);
        assert_eq!(none, 0, "{backend}: {} drawn anew", often.refilled);
        assert_eq!(stepped(50).0.without_times(), often.without_times(), "{backend}");
    }
}

/// KL(θ‖base) on rollouts: none at the base; away from it in the loss, or in the rewards that advantages are of.
#[test]
fn rollouts_may_be_held_to_the_base() {
    for (backend, device) in devices() {
        for (place, form) in
            [("loss", "k3"), ("loss", "k3-ratio"), ("reward", "k1"), ("reward", "k3")]
        {
            let settings = format!(
                "rollout_kl = 0.5\nrollout_kl_in = \"{place}\"\nkl_form = \"{form}\"\n{TINY_STEP}"
            );
            let mut trainer = trainer(&device, "grpo", &settings, Vec::new());
            trainer.learner.base = Some(trainer.learner.policy.clone());
            let what = format!("{backend}, {form} in the {place}");
            let penalty_of = |trainer: &Trainer| {
                let groups = sampled(trainer);
                let update = assemble(&groups, &trainer.objective());
                let gradient = block_on(trainer.learner.gradient(&update, 0)).unwrap();
                let in_loss: f64 = gradient.sums.iter().map(|row| row[column::KL]).sum();
                let taken_off: Vec<f32> =
                    groups.iter().flat_map(|g| &g.episodes).map(|e| e.kl).collect();
                (groups, update, in_loss, taken_off)
            };
            let (.., in_loss, taken_off) = penalty_of(&trainer);
            assert!(in_loss.abs() < 1e-6, "{what}: {in_loss}");
            assert!(taken_off.iter().all(|kl| kl.abs() < 1e-4), "{what}: {taken_off:?}");

            let base = other_model(&device);
            trainer.learner.base = Some(base.clone());
            let (groups, update, in_loss, taken_off) = penalty_of(&trainer);
            assert_eq!(in_loss > 1e-3, place == "loss", "{what}: {in_loss}");
            assert_eq!(taken_off.iter().any(|kl| kl.abs() > 1e-3), place == "reward", "{what}");
            if place == "reward" {
                let of_base = block_on(score_sequences(&base, &update.sequences, 128)).unwrap();
                let episodes = groups.iter().flat_map(|g| &g.episodes);
                for (episode, of_base) in episodes.zip(of_base) {
                    let pairs = episode.logprobs.iter().zip(&of_base.logprobs);
                    let sum: f64 = pairs
                        .map(|(p, base)| f64::from(base - p))
                        .map(|log_r| if form == "k1" { -log_r } else { log_r.exp() - 1.0 - log_r })
                        .sum();
                    compare(&what, &[episode.kl], &[0.5 * sum], 1e-4).unwrap();
                }
                let advantages: Vec<Vec<f64>> = groups
                    .iter()
                    .map(|g| {
                        let rewards = g.episodes.iter().map(|e| f64::from(e.reward - e.kl));
                        advantages(&rewards.collect::<Vec<_>>(), true)
                    })
                    .collect();
                assert_eq!(update.advantages, advantages, "{what}");
            }
        }
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
