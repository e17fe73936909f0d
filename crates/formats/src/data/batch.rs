//! Packs sequences into micro-batches: the only place that pads, shifts and masks.

use crate::records::Sequence;

/// Sequences padded to one length, with the positions that carry loss.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch {
    /// Which sequences of the update these are, in order.
    pub members: Vec<usize>,
    /// Input tokens [B·T], right-padded with 0.
    pub tokens: Vec<i32>,
    /// T.
    pub positions: usize,
    /// Index into [B·T] of the position that predicts each response token, `[N]`.
    pub predicts: Vec<i32>,
    /// The response tokens, `[N]`.
    pub targets: Vec<i32>,
    /// ln π_old of each response token, `[N]`; 0 where none is kept.
    pub old_logprobs: Vec<f32>,
    /// Offsets: sequence b owns response tokens `starts[b]..starts[b + 1]`, [B + 1].
    pub starts: Vec<usize>,
}

/// Packs sequences of like length together, so that no micro-batch exceeds `limit` padded tokens
/// (a single longer sequence makes a micro-batch of its own). Sequences without any loss
/// coefficient are left out: their gradient is exactly 0.
pub fn micro_batches(sequences: &[Sequence], limit: usize) -> Vec<MicroBatch> {
    let length = |i: usize| sequences[i].prompt.len() + sequences[i].response.len() - 1;
    let mut order: Vec<usize> = (0..sequences.len())
        .filter(|&i| !sequences[i].terms.is_zero() && !sequences[i].response.is_empty())
        .collect();
    order.sort_by_key(|&i| length(i)); // stable: equal lengths keep their order
    let mut batches = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    for i in order {
        if !members.is_empty() && (members.len() + 1) * length(i) > limit {
            batches.push(pad(sequences, std::mem::take(&mut members)));
        }
        members.push(i);
    }
    if !members.is_empty() {
        batches.push(pad(sequences, members));
    }
    batches
}

fn pad(sequences: &[Sequence], members: Vec<usize>) -> MicroBatch {
    let chosen = || members.iter().map(|&i| &sequences[i]);
    // The last token is only predicted, never read: inputs are one shorter.
    let positions = chosen().map(|s| s.prompt.len() + s.response.len() - 1).max().unwrap_or(0);
    let mut batch = MicroBatch {
        tokens: Vec::with_capacity(members.len() * positions),
        positions,
        predicts: Vec::new(),
        targets: Vec::new(),
        old_logprobs: Vec::new(),
        starts: vec![0],
        members: Vec::new(),
    };
    for (row, sequence) in chosen().enumerate() {
        let inputs = sequence.prompt.iter().chain(&sequence.response).map(|&t| t as i32);
        let real = sequence.prompt.len() + sequence.response.len() - 1;
        batch.tokens.extend(inputs.take(real));
        batch.tokens.resize((row + 1) * positions, 0);
        let first = (row * positions + sequence.prompt.len() - 1) as i32;
        for &position in &sequence.learned {
            batch.predicts.push((row * positions + position - 1) as i32);
            batch.targets.push(sequence.prompt[position] as i32);
        }
        batch.predicts.extend(first..first + sequence.response.len() as i32);
        batch.targets.extend(sequence.response.iter().map(|&t| t as i32));
        if sequence.old_logprobs.is_empty() {
            batch.old_logprobs.resize(batch.targets.len(), 0.0);
        } else {
            batch.old_logprobs.extend(&sequence.old_logprobs);
        }
        batch.starts.push(batch.targets.len());
    }
    batch.members = members;
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Role, TermCoefficients};

    fn sequence(prompt: &[u32], response: &[u32]) -> Sequence {
        Sequence {
            role: Role::Demonstration,
            prompt: prompt.into(),
            response: response.into(),
            learned: Vec::new(),
            old_logprobs: Vec::new(),
            terms: TermCoefficients { sft: 1.0, ..Default::default() },
        }
    }

    #[test]
    fn pads_shifts_and_points_at_the_predicting_positions() {
        let batches =
            micro_batches(&[sequence(&[1, 5, 6], &[7, 2]), sequence(&[1, 4], &[8, 9, 2])], 100);
        let [batch] = batches.as_slice() else { panic!("one micro-batch") };
        assert_eq!(batch.tokens, [1, 5, 6, 7, 1, 4, 8, 9]);
        assert_eq!(batch.positions, 4);
        assert_eq!(batch.predicts, [2, 3, 5, 6, 7]);
        assert_eq!(batch.targets, [7, 2, 8, 9, 2]);
        assert_eq!(batch.starts, [0, 2, 5]);
    }

    #[test]
    fn learned_positions_of_the_prompt_carry_loss_too() {
        let mut taught = sequence(&[1, 5, 6, 7], &[8, 2]);
        taught.learned = vec![1, 3];
        let batches = micro_batches(&[taught, sequence(&[1], &[9, 2])], 100);
        let batch = &batches[0];
        assert_eq!(batch.members, [1, 0], "the shorter one first");
        assert_eq!(batch.targets, [9, 2, 5, 7, 8, 2]);
        let targets = batch.predicts.iter().zip(&batch.targets);
        // Each target follows the position that predicts it, or is the last token, which is never read.
        for (&at, &target) in targets.filter(|(at, _)| (**at as usize) % batch.positions < 1) {
            assert_eq!(batch.tokens[at as usize + 1], target);
        }
        assert_eq!(batch.predicts, [0, 1, 5, 7, 8, 9]);
        assert_eq!(batch.starts, [0, 2, 6]);
    }

    #[test]
    fn every_sequence_with_loss_appears_once_within_the_limit() {
        let mut sequences: Vec<_> =
            (1..40).map(|n| sequence(&[1, 3], &vec![4; 1 + (n * 7) % 13])).collect();
        sequences[5].terms = TermCoefficients::default();
        let batches = micro_batches(&sequences, 64);
        let mut seen: Vec<usize> = batches.iter().flat_map(|b| b.members.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..39).filter(|&i| i != 5).collect::<Vec<_>>());
        assert!(batches.iter().all(|b| b.tokens.len() <= 64));
        assert!(batches.len() > 4);
    }
}
