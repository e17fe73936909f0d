//! The built-in reasoning task: five in-distribution suites, three compositions of their skills that
//! fine-tuning never sees, and the mix on which the tiny base is pretrained.
//!
//! | suite | prompt | teacher's demonstration |
//! |---|---|---|
//! | `add` | `59+63=` | `9+3=12,5+6+1=12>122` |
//! | `sub` | `43-28=` | `13-8=5,3-2=1>15` |
//! | `mul` | `21*8=` | `1*8=08,2*8=16,16+0=16>168` |
//! | `mod` | `583%4=` | `5:1,18:2,23:3>3` |
//! | `sort` | `s4186=` | `1:486,4:86>1468` |
//! | `two` (out) | `60+35-43=` | `0+5=05,6+3+0=09;5-3=2,9-4=5>52` |
//! | `ord` (out) | `71+7*6=` | `7*6=42;1+2=03,7+4+0=11>113` |
//! | `rank` (out) | `s583%4=` | `3:58;3:3,35:3,38:2>2` |
//!
//! Everything is a pure function of (suite, seed, index). A problem is held out or not by a hash of
//! its operands alone, so held-out problems are the same under every seed.

mod columns;
mod compose;
mod digits;
mod hand;
pub mod pretraining;

use std::collections::HashSet;

use crate::config::Data;
use crate::random::{Stream, purpose, threefry4x32};
use crate::records::Example;
use crate::reward::Verifier;
use hand::Hand;

/// Separates a chain from its answer; a valid response has it exactly once.
pub const ANSWER_MARKER: &str = ">";
/// No response of the teacher or of the pretraining mix is longer (in characters, each of which is a
/// token).
pub const MAX_RESPONSE_CHARS: usize = 40;

/// Key of the hash that holds problems out ("hold" in ASCII). Changing it changes every figure.
const HELD_OUT_KEY: u32 = 0x686f_6c64;

/// The numbers of a problem, in the prompt's order; unused ones are 0.
type Operands = [u32; 3];

/// A family of problems of one kind.
pub struct Suite {
    /// Name in reports.
    pub name: &'static str,
    /// Never fine-tuned on: a composition of in-distribution skills.
    pub out_of_distribution: bool,
    /// One problem in this many is held out; fewer for a suite with few problems.
    pub held_out_one_in: u32,
    draw: fn(&mut Stream) -> Operands,
    prompt: fn(Operands) -> String,
    answer: fn(Operands) -> u32,
    /// Digits of an answer in which zeros in front count; 0 where they don't.
    answer_width: usize,
    /// Whether the first two operands commute: both orders are then held out together.
    commutes: bool,
    solve: fn(Operands, &mut Hand) -> String,
    skim: fn(Operands) -> (String, String),
}

/// The suites: in-distribution ones first.
pub fn suites() -> &'static [Suite] {
    &SUITES
}

/// The suite of that name.
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

/// Problem `index` of a training run with the teacher's demonstration; never a held-out one.
pub fn train_example(suite: &Suite, seed: u64, index: u32) -> Example {
    let mut stream = Stream::new(seed, purpose::TRAIN + suite.number(), index);
    suite.example(suite.draw_for_training(&mut stream))
}

/// How the built-in task's responses are judged: exactly, by what follows the one marker.
pub fn verifier() -> Verifier {
    Verifier::exact(ANSWER_MARKER)
}

/// Training problem `cursor` of a run: in-distribution suites in turn, `data.pool` distinct ones in all
/// or `data.problems` per suite (0: without end). Shares of them have a demonstration, a demonstration
/// without a chain, or a corrupted one.
pub fn training_example(data: &Data, seed: u64, cursor: u64) -> Example {
    let count = SUITES.iter().filter(|s| !s.out_of_distribution).count() as u64;
    let cursor = cursor.checked_rem(u64::from(data.pool)).unwrap_or(cursor);
    let suite = &SUITES[(cursor % count) as usize];
    let index = match (cursor / count, u64::from(data.problems)) {
        (turn, 0) => turn,
        (turn, problems) => turn % problems,
    } as u32;
    let chance = |purpose: u32, share: f64| {
        let mut stream = Stream::new(seed, purpose + suite.number(), index);
        stream.chance(share).then_some(stream)
    };
    let mut example = train_example(suite, seed, index);
    if chance(purpose::TERSE, data.terse_demonstrations).is_some() {
        example.demonstration = Some(format!("{ANSWER_MARKER}{}", example.answer));
    }
    if let Some(mut stream) = chance(purpose::CORRUPT, data.wrong_demonstrations) {
        example = corrupt(&example, &mut stream);
    }
    if chance(purpose::DEMONSTRATE, data.demonstrations).is_none() {
        example.demonstration = None;
    }
    example
}

/// Up to `n` distinct held-out problems in an order given by `seed`; all of them where the suite
/// holds out fewer.
pub fn held_out(suite: &Suite, n: usize, seed: u64) -> Vec<Example> {
    /// After so many draws without a new problem the suite counts as exhausted. The last of M problems
    /// is then missed with probability (1 − 1/M)^draws: negligible for M ≤ 10⁴, which holds for all
    /// suites but `two`, of which nobody asks for 26,000.
    const PATIENCE: u32 = 200_000;
    let mut stream = Stream::new(seed, purpose::HELD_OUT + suite.number(), 0);
    let (mut seen, mut examples, mut misses) = (HashSet::new(), Vec::new(), 0);
    while examples.len() < n && misses < PATIENCE {
        let operands = (suite.draw)(&mut stream);
        if suite.is_held_out(operands) && seen.insert(operands) {
            examples.push(suite.example(operands));
            misses = 0;
        } else {
            misses += 1;
        }
    }
    examples
}

/// Document `index` of the base's pretraining; its chain and answer are often wrong, its gold answer is
/// right.
pub fn pretrain_document(seed: u64, index: u32) -> Example {
    let mut stream = Stream::new(seed, purpose::PRETRAIN, index);
    let inside = stream.chance(pretraining::IN_DISTRIBUTION_SHARE);
    let count = SUITES.iter().filter(|s| s.out_of_distribution != inside).count();
    let chosen = stream.below(count as u32) as usize;
    let suite = SUITES.iter().filter(|s| s.out_of_distribution != inside).nth(chosen);
    let suite = suite.unwrap_or(&SUITES[0]);
    let operands = suite.draw_for_training(&mut stream);
    let response = pretraining::response(suite, operands, &mut stream);
    Example { demonstration: Some(response), ..suite.example(operands) }
}

/// The example with a demonstration that ends in a wrong answer: one digit after the last marker is
/// changed. An example without a demonstration stays as it is.
pub fn corrupt(example: &Example, stream: &mut Stream) -> Example {
    let spoil = |text: &String| {
        let at = text.rfind(ANSWER_MARKER).map_or(0, |i| i + ANSWER_MARKER.len());
        format!("{}{}", &text[..at], other_answer(&text[at..], stream))
    };
    Example { demonstration: example.demonstration.as_ref().map(spoil), ..example.clone() }
}

/// `answer` with one digit replaced by another; text without digits gets one at the end.
fn other_answer(answer: &str, stream: &mut Stream) -> String {
    let places: Vec<usize> =
        answer.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(i, _)| i).collect();
    if places.is_empty() {
        return format!("{answer}{}", stream.below(10));
    }
    let at = places[stream.below(places.len() as u32) as usize];
    let old = u32::from(answer.as_bytes()[at] - b'0');
    let new = (old + stream.between(1, 9)) % 10;
    format!("{}{new}{}", &answer[..at], &answer[at + 1..])
}

impl Suite {
    /// Whether the problem behind these operands belongs to evaluation alone.
    fn is_held_out(&self, operands: Operands) -> bool {
        let [mut a, mut b, c] = operands;
        if self.commutes && a > b {
            (a, b) = (b, a);
        }
        let hash = threefry4x32([HELD_OUT_KEY, self.number(), 0, 0], [a, b, c, 0]);
        hash[0].is_multiple_of(self.held_out_one_in)
    }

    fn draw_for_training(&self, stream: &mut Stream) -> Operands {
        loop {
            let operands = (self.draw)(stream);
            if !self.is_held_out(operands) {
                return operands;
            }
        }
    }

    /// Position in [`suites`].
    fn number(&self) -> u32 {
        SUITES.iter().position(|suite| suite.name == self.name).unwrap_or(0) as u32
    }

    fn answer(&self, operands: Operands) -> String {
        format!("{:0width$}", (self.answer)(operands), width = self.answer_width)
    }

    /// The chain and the answer that it leads to.
    fn solve(&self, operands: Operands, hand: &mut Hand) -> String {
        (self.solve)(operands, hand)
    }

    /// A short chain and the answer of a careless solver.
    fn skim(&self, operands: Operands) -> (String, String) {
        (self.skim)(operands)
    }

    fn example(&self, operands: Operands) -> Example {
        let mut hand = Hand::sure();
        let given = self.solve(operands, &mut hand);
        Example {
            suite: self.name.to_string(),
            prompt: (self.prompt)(operands),
            demonstration: Some(format!("{}{ANSWER_MARKER}{given}", hand.into_page())),
            answer: self.answer(operands),
            ..Example::default()
        }
    }
}

static SUITES: [Suite; 8] = [
    Suite {
        name: "add",
        out_of_distribution: false,
        held_out_one_in: 8,
        draw: columns::draw_add,
        prompt: |[a, b, _]| format!("{a}+{b}="),
        answer: |[a, b, _]| a + b,
        answer_width: 0,
        commutes: true,
        solve: columns::solve_add,
        skim: columns::skim_add,
    },
    Suite {
        name: "sub",
        out_of_distribution: false,
        held_out_one_in: 8,
        draw: columns::draw_sub,
        prompt: |[a, b, _]| format!("{a}-{b}="),
        answer: |[a, b, _]| a - b,
        answer_width: 0,
        commutes: false,
        solve: columns::solve_sub,
        skim: columns::skim_sub,
    },
    Suite {
        name: "mul",
        out_of_distribution: false,
        // 720 problems in all: one in four leaves about 180 to evaluate on.
        held_out_one_in: 4,
        draw: columns::draw_mul,
        prompt: |[a, m, _]| format!("{a}*{m}="),
        answer: |[a, m, _]| a * m,
        answer_width: 0,
        commutes: false,
        solve: columns::solve_mul,
        skim: columns::skim_mul,
    },
    Suite {
        name: "mod",
        out_of_distribution: false,
        held_out_one_in: 8,
        draw: digits::draw_mod,
        prompt: |[n, m, _]| format!("{n}%{m}="),
        answer: |[n, m, _]| n % m,
        answer_width: 0,
        commutes: false,
        solve: digits::solve_mod,
        skim: digits::skim_mod,
    },
    Suite {
        name: "sort",
        out_of_distribution: false,
        held_out_one_in: 8,
        draw: digits::draw_sort,
        prompt: |[n, ..]| format!("s{n:04}="),
        answer: |[n, ..]| sorted(n, 4),
        answer_width: 4,
        commutes: false,
        solve: digits::solve_sort,
        skim: digits::skim_sort,
    },
    Suite {
        name: "two",
        out_of_distribution: true,
        held_out_one_in: 8,
        draw: compose::draw_two,
        prompt: |[a, b, c]| format!("{a}+{b}-{c}="),
        answer: |[a, b, c]| a + b - c,
        answer_width: 0,
        commutes: true,
        solve: compose::solve_two,
        skim: compose::skim_two,
    },
    Suite {
        name: "ord",
        out_of_distribution: true,
        held_out_one_in: 8,
        draw: compose::draw_ord,
        prompt: |[a, b, c]| format!("{a}+{b}*{c}="),
        answer: |[a, b, c]| a + b * c,
        answer_width: 0,
        commutes: false,
        solve: compose::solve_ord,
        skim: compose::skim_ord,
    },
    Suite {
        name: "rank",
        out_of_distribution: true,
        held_out_one_in: 8,
        draw: compose::draw_rank,
        prompt: |[n, m, _]| format!("s{n:03}%{m}="),
        answer: |[n, m, _]| sorted(n, 3) % m,
        answer_width: 0,
        commutes: false,
        solve: compose::solve_rank,
        skim: compose::skim_rank,
    },
];

/// The number that the `width` digits of `n` spell in ascending order.
fn sorted(n: u32, width: u32) -> u32 {
    let mut digits: Vec<u32> = (0..width).map(|place| hand::digit(n, place)).collect();
    digits.sort_unstable();
    digits.iter().fold(0, |number, digit| 10 * number + digit)
}
