//! The built-in task end to end: what is generated, what the tokenizer makes of it, and what the
//! verifier says.

use std::collections::{HashMap, HashSet};

use srft_formats::data::builtin::{
    self, ANSWER_MARKER, MAX_RESPONSE_CHARS, Suite, corrupt, held_out, pretrain_document, suites,
    train_example,
};
use srft_formats::random::Stream;
use srft_formats::records::Example;
use srft_formats::text::Tokenizer;

const SEED: u64 = 20_250_623;

fn tokenizer() -> Tokenizer {
    let json = srft_assets::TINY_TOKENIZER.as_bytes();
    Tokenizer::from_bytes(json, "assets/tiny/tokenizer.json").unwrap()
}

fn demonstration(example: &Example) -> &str {
    example.demonstration.as_deref().unwrap()
}

fn training(suite: &'static Suite, n: u32) -> impl Iterator<Item = Example> {
    (0..n).map(move |index| train_example(suite, SEED, index))
}

#[test]
fn five_suites_inside_and_three_outside() {
    let outside: Vec<bool> = suites().iter().map(|suite| suite.out_of_distribution).collect();
    assert_eq!(outside, [false, false, false, false, false, true, true, true]);
    let names: HashSet<_> = suites().iter().map(|suite| suite.name).collect();
    assert_eq!(names.len(), suites().len());
    assert!(suites().iter().all(|s| builtin::suite(s.name).is_some_and(|t| t.name == s.name)));
    assert!(builtin::suite("nothing").is_none());
}

/// The documentation's table, character for character.
#[test]
fn demonstrations_have_the_documented_form() {
    let documented = include_str!("../../src/data/builtin/mod.rs");
    let rows: Vec<Vec<&str>> = documented
        .lines()
        .filter(|line| line.starts_with("//! | `"))
        .map(|line| line.split('`').skip(1).step_by(2).collect())
        .collect();
    assert_eq!(rows.len(), suites().len());
    for row in rows {
        let [name, prompt, expected] = row[..] else { panic!("{row:?}") };
        let suite = builtin::suite(name).unwrap();
        // Every problem of a suite comes up sooner or later: look until this one does.
        let found = training(suite, 2_000_000).find(|example| example.prompt == prompt);
        let found = found.or_else(|| {
            held_out(suite, usize::MAX, 0).into_iter().find(|example| example.prompt == prompt)
        });
        assert_eq!(found.as_ref().map(demonstration), Some(expected), "{prompt}");
    }
}

#[test]
fn every_teacher_demonstration_is_right() {
    let verifier = builtin::verifier();
    for suite in suites() {
        for example in training(suite, 5000).chain(held_out(suite, 2000, SEED)) {
            let demonstration = demonstration(&example);
            assert!(verifier.score(demonstration, true, &example.answer), "{example:?}");
            verifier.check_gold(&example.answer).unwrap();
        }
    }
}

/// Every `x=y` of every teacher's chain is true; the verifier doesn't look at chains.
#[test]
fn every_written_step_is_true() {
    for suite in suites() {
        for example in training(suite, 3000) {
            let (chain, _) = demonstration(&example).split_once('>').unwrap();
            for step in chain.split([',', ';']).filter(|step| step.contains('=')) {
                let (left, right) = step.split_once('=').unwrap();
                assert_eq!(evaluate(left), right.parse::<i64>().unwrap(), "{example:?}");
            }
        }
    }
}

/// Left to right; no step of a chain mixes `*` with the others.
fn evaluate(expression: &str) -> i64 {
    let mut value = 0;
    let mut operation = '+';
    for part in expression.split_inclusive(['+', '-', '*']) {
        let number: i64 = part.trim_end_matches(['+', '-', '*']).parse().unwrap();
        value = match operation {
            '+' => value + number,
            '-' => value - number,
            _ => value * number,
        };
        operation = part.chars().last().unwrap_or('+');
    }
    value
}

#[test]
fn held_out_problems_are_distinct_and_enough() {
    for suite in suites() {
        let examples = held_out(suite, 200, SEED);
        let prompts: HashSet<_> = examples.iter().map(|example| &example.prompt).collect();
        assert_eq!(prompts.len(), examples.len(), "{}", suite.name);
        assert!(examples.len() >= 170, "{}: {}", suite.name, examples.len());
        assert!(examples.iter().all(|example| example.suite == suite.name));
    }
}

/// Neither fine-tuning nor pretraining ever meets a held-out problem, whatever the two seeds.
#[test]
fn training_never_meets_a_held_out_problem() {
    let mut held = HashSet::new();
    for suite in suites() {
        held.extend(held_out(suite, usize::MAX, SEED + 1).into_iter().map(|e| e.prompt));
        let trained: HashSet<String> = training(suite, 50_000).map(|e| e.prompt).collect();
        assert!(trained.is_disjoint(&held), "{}", suite.name);
        // Not for lack of variety: all suites but `mul` (540) have thousands of problems to train on.
        assert!(trained.len() > 500, "{}: {}", suite.name, trained.len());
    }
    for index in 0..300_000 {
        let document = pretrain_document(SEED, index);
        assert!(!held.contains(&document.prompt), "{document:?}");
    }
}

/// 63+59 would give 59+63 away.
#[test]
fn both_orders_of_a_sum_are_held_out_together() {
    let held: HashSet<String> = held_out(builtin::suite("add").unwrap(), usize::MAX, SEED)
        .into_iter()
        .map(|e| e.prompt)
        .collect();
    for prompt in &held {
        let (a, b) = prompt.trim_end_matches('=').split_once('+').unwrap();
        assert!(held.contains(&format!("{b}+{a}=")), "{prompt}");
    }
}

#[test]
fn the_seed_decides_everything() {
    for suite in suites() {
        assert_eq!(train_example(suite, 1, 7), train_example(suite, 1, 7));
        let of_seed = |seed| (0..20).map(|i| train_example(suite, seed, i)).collect::<Vec<_>>();
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
        assert_eq!(held_out(suite, 50, 1), held_out(suite, 50, 1));
        assert_ne!(held_out(suite, 50, 1), held_out(suite, 50, 2));
        // A longer set continues a shorter one.
        assert_eq!(held_out(suite, 50, 1), held_out(suite, 80, 1)[..50]);
    }
    let documents = |seed| (0..100).map(|i| pretrain_document(seed, i)).collect::<Vec<_>>();
    assert_eq!(documents(1), documents(1));
    assert_ne!(documents(1), documents(2));
}

#[test]
fn every_document_survives_the_tokenizer_and_fits() {
    let tokenizer = tokenizer();
    let fine_tuning = suites().iter().flat_map(|suite| training(suite, 500));
    for example in fine_tuning.chain((0..20_000).map(|i| pretrain_document(SEED, i))) {
        let response = demonstration(&example);
        assert!(response.len() <= MAX_RESPONSE_CHARS, "{example:?}");
        let prompt = tokenizer.encode(&example.prompt).unwrap();
        let tokens = tokenizer.encode_continuation(response).unwrap();
        assert_eq!((prompt.len(), tokens.len()), (example.prompt.len() + 1, response.len()));
        assert_eq!(prompt[0], 1, "begin-of-text");
        assert_eq!(tokenizer.decode(&prompt), example.prompt);
        assert_eq!(tokenizer.decode(&tokens), response);
    }
}

#[test]
fn in_distribution_demonstrations_are_short() {
    let inside = suites().iter().filter(|suite| !suite.out_of_distribution);
    let lengths: Vec<usize> =
        inside.flat_map(|suite| training(suite, 1000)).map(|e| demonstration(&e).len()).collect();
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    assert!((15.0..18.0).contains(&mean), "{mean}");
}

/// The mix that makes the base: shares, and how often each suite is right.
#[test]
fn pretraining_mixes_as_documented() {
    const N: u32 = 40_000;
    let verifier = builtin::verifier();
    let mut right: HashMap<String, (f64, f64)> = HashMap::new();
    let (mut direct, mut inside) = (0.0, 0.0);
    for example in (0..N).map(|index| pretrain_document(SEED, index)) {
        let response = demonstration(&example);
        assert_eq!(response.matches(ANSWER_MARKER).count(), 1, "{example:?}");
        let entry = right.entry(example.suite.clone()).or_default();
        entry.0 += f64::from(u8::from(verifier.score(response, true, &example.answer)));
        entry.1 += 1.0;
        direct += f64::from(u8::from(response.starts_with(ANSWER_MARKER)));
        let suite = builtin::suite(&example.suite).unwrap();
        inside += f64::from(u8::from(!suite.out_of_distribution));
    }
    // Six standard deviations of a share over 40,000 documents are at most 0.015.
    assert!((direct / f64::from(N) - builtin::pretraining::DIRECT_SHARE).abs() < 0.015);
    assert!((inside / f64::from(N) - builtin::pretraining::IN_DISTRIBUTION_SHARE).abs() < 0.015);
    for suite in suites() {
        let (right, all) = right[suite.name];
        assert!((0.2..0.6).contains(&(right / all)), "{}: {}", suite.name, right / all);
    }
}

#[test]
fn a_corrupt_demonstration_differs_in_one_digit_of_its_answer() {
    let verifier = builtin::verifier();
    let mut stream = Stream::new(SEED, 1, 0);
    for suite in suites() {
        for example in training(suite, 500) {
            let corrupted = corrupt(&example, &mut stream);
            let (before, after) = (demonstration(&example), demonstration(&corrupted));
            assert!(!verifier.score(after, true, &example.answer), "{corrupted:?}");
            let differing: Vec<usize> = (0..before.len())
                .filter(|&i| before.as_bytes()[i] != after.as_bytes()[i])
                .collect();
            assert_eq!((before.len(), differing.len()), (after.len(), 1));
            assert!(differing[0] > before.find(ANSWER_MARKER).unwrap());
            assert_eq!(corrupted.answer, example.answer);
        }
    }
    let example = train_example(&suites()[0], SEED, 0);
    let again = |index| corrupt(&example, &mut Stream::new(SEED, 1, index));
    assert_eq!(again(3), again(3));
}
