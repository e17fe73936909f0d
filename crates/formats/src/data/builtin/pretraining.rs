//! What the tiny base model is pretrained on: all suites, mostly answered badly. The base should know
//! the characters, the prompts and every way of answering, and be right now and then, so that
//! fine-tuning has something to choose from.

use super::hand::Hand;
use super::{ANSWER_MARKER, Operands, Suite, other_answer};
use crate::random::{self, Stream};

/// Share of documents from the in-distribution suites; the rest come from the others.
pub const IN_DISTRIBUTION_SHARE: f64 = 0.65;
/// Share of documents that give the answer at once, without a chain.
pub const DIRECT_SHARE: f64 = 0.40;
/// Share of direct answers that are right; the others have one digit wrong.
pub const DIRECT_RIGHT: f64 = 0.35;
/// Share of documents with a short chain that skips steps or results and forgets carries. What remains
/// after these and the direct answers is written in the teacher's style.
pub const SKIMMED_SHARE: f64 = 0.45;
/// Chance that such a chain ends in the right answer all the same.
pub const SKIMMED_CARE: f64 = 0.10;
/// Chance that a result in the teacher's style is wrong (later steps use the wrong result).
pub const SLIP_RATE: f64 = 0.30;

/// A response as the pretraining mix has it.
pub(super) fn response(suite: &Suite, operands: Operands, stream: &mut Stream) -> String {
    let answer = suite.answer(operands);
    let style = f64::from(random::unit_f32(stream.next_u32()));
    if style < DIRECT_SHARE {
        let right = stream.chance(DIRECT_RIGHT);
        let given = if right { answer } else { other_answer(&answer, stream) };
        return format!("{ANSWER_MARKER}{given}");
    }
    if style < DIRECT_SHARE + SKIMMED_SHARE {
        let (chain, careless) = suite.skim(operands);
        let given = if stream.chance(SKIMMED_CARE) { answer } else { careless };
        return format!("{chain}{ANSWER_MARKER}{given}");
    }
    let mut hand = Hand::slipping(stream, SLIP_RATE);
    let given = suite.solve(operands, &mut hand);
    format!("{}{ANSWER_MARKER}{given}", hand.into_page())
}
