//! Packs sequences into micro-batches: the only place that shifts and masks. Nothing is padded, and a prompt
//! that sequences share stands once.

use crate::packing::{Packing, Tree};
use crate::records::Sequence;

/// Sequences packed into one batch, with the rows that predict what carries loss.
#[derive(Debug, Clone, PartialEq)]
pub struct MicroBatch {
    /// Which sequences of the update these are, in order.
    pub members: Vec<usize>,
    /// Input tokens, one a row.
    pub tokens: Vec<i32>,
    /// How the sequences lie in the rows.
    pub packing: Packing,
    /// The row that predicts each response token, `[N]`.
    pub predicts: Vec<i32>,
    /// The response tokens, `[N]`.
    pub targets: Vec<i32>,
    /// ln π_old of each response token, `[N]`; 0 where none is kept.
    pub old_logprobs: Vec<f32>,
    /// The factor of each response token's terms, `[N]`.
    pub factors: Vec<f32>,
    /// What divides the logits of each, `[N]`.
    pub temperatures: Vec<f32>,
    /// Offsets: sequence b owns response tokens `starts[b]..starts[b + 1]`, [B + 1].
    pub starts: Vec<usize>,
}

/// Packs sequences, in their order, into micro-batches of at most `limit` tokens (a longer sequence makes one of its
/// own). Neighbours that begin with the first one's whole prompt share it; a group that is longer than a micro-batch
/// has its prompt in each of several. Sequences without any loss coefficient are left out: their gradient is
/// exactly 0.
pub fn micro_batches(sequences: &[Sequence], limit: usize) -> Vec<MicroBatch> {
    let order: Vec<usize> = (0..sequences.len()).filter(|&i| sequences[i].carries_loss()).collect();
    let mut batches: Vec<Vec<Shared>> = Vec::new();
    let (mut rest, mut filled) = (&order[..], 0);
    while let [first, ..] = rest {
        let prompt = &sequences[*first].prompt;
        let share = |&&i: &&usize| sequences[i].prompt.starts_with(prompt);
        let (group, after) = rest.split_at(rest.iter().take_while(share).count());
        rest = after;
        let own = |i: usize| rows(&sequences[i]) - prompt.len();
        let whole = prompt.len() + group.iter().map(|&i| own(i)).sum::<usize>();
        // A group begins a micro-batch of its own rather than be cut.
        let mut begins = batches.is_empty() || filled + whole > limit;
        let mut joins = false;
        for &i in group {
            begins |= joins && filled + own(i) > limit;
            if begins {
                batches.push(Vec::new());
                (filled, begins, joins) = (0, false, false);
            }
            let batch = batches.last_mut().expect("one has begun");
            if !joins {
                batch.push(Shared { prompt: prompt.len(), members: Vec::new() });
                filled += prompt.len();
                joins = true;
            }
            batch.last_mut().expect("just added").members.push(i);
            filled += own(i);
        }
    }
    batches.into_iter().map(|trees| pack(sequences, trees)).collect()
}

/// Sequences that share their first `prompt` tokens.
struct Shared {
    prompt: usize,
    members: Vec<usize>,
}

/// Tokens that are read: the last one is only predicted.
fn rows(sequence: &Sequence) -> usize {
    sequence.prompt.len() + sequence.response.len() - 1
}

fn pack(sequences: &[Sequence], trees: Vec<Shared>) -> MicroBatch {
    let mut batch = MicroBatch {
        members: Vec::new(),
        tokens: Vec::new(),
        packing: Packing::default(),
        predicts: Vec::new(),
        targets: Vec::new(),
        old_logprobs: Vec::new(),
        factors: Vec::new(),
        temperatures: Vec::new(),
        starts: vec![0],
    };
    for Shared { prompt, members } in trees {
        let first = batch.tokens.len();
        let shared = &sequences[members[0]].prompt[..prompt];
        batch.tokens.extend(shared.iter().map(|&t| t as i32));
        let branches = members.iter().map(|&i| batch.push(&sequences[i], prompt, first)).collect();
        batch.packing.trees.push(match members.len() {
            1 => Tree { prompt: rows(&sequences[members[0]]), branches: Vec::new() },
            _ => Tree { prompt, branches },
        });
        batch.members.extend(members);
    }
    batch
}

impl MicroBatch {
    /// Adds a sequence whose first `shared` tokens stand in the rows from `first` on; gives how many rows it has
    /// of its own.
    fn push(&mut self, sequence: &Sequence, shared: usize, first: usize) -> usize {
        let Sequence { prompt, response, .. } = sequence;
        let own = self.tokens.len();
        let read = prompt.iter().chain(response).take(rows(sequence)).skip(shared);
        self.tokens.extend(read.map(|&t| t as i32));
        // The row that predicts the token at a position is that of the token before it.
        let predicts = |position: usize| match position - 1 {
            before if before < shared => (first + before) as i32,
            before => (own + before - shared) as i32,
        };
        let of_response = prompt.len()..prompt.len() + response.len();
        let learned = sequence.learned.iter().copied();
        self.predicts.extend(learned.clone().chain(of_response).map(predicts));
        let taught = learned.map(|position| prompt[position]).chain(response.iter().copied());
        self.targets.extend(taught.map(|t| t as i32));
        self.old_logprobs.extend(&sequence.old_logprobs);
        self.old_logprobs.resize(self.targets.len(), 0.0);
        self.factors.extend(&sequence.factors);
        self.factors.resize(self.targets.len(), 1.0);
        self.temperatures.resize(self.targets.len(), sequence.temperature);
        self.starts.push(self.targets.len());
        self.tokens.len() - own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TermCoefficients;

    fn sequence(prompt: &[u32], response: &[u32]) -> Sequence {
        Sequence::to_score(prompt.into(), response.into())
    }

    fn tree(prompt: usize, branches: &[usize]) -> Tree {
        Tree { prompt, branches: branches.to_vec() }
    }

    #[test]
    fn shifts_and_points_at_the_predicting_rows() {
        let batches =
            micro_batches(&[sequence(&[1, 5, 6], &[7, 2]), sequence(&[1, 4], &[8, 9, 2])], 100);
        let [batch] = batches.as_slice() else { panic!("one micro-batch") };
        assert_eq!(batch.tokens, [1, 5, 6, 7, 1, 4, 8, 9]);
        assert_eq!(batch.packing.trees, [tree(4, &[]), tree(4, &[])]);
        assert_eq!(batch.predicts, [2, 3, 5, 6, 7]);
        assert_eq!(batch.targets, [7, 2, 8, 9, 2]);
        assert_eq!(batch.starts, [0, 2, 5]);
    }

    #[test]
    fn a_prompt_that_is_shared_stands_once() {
        // The last goes on from the prompt with a turn of its own, one position of which carries loss.
        let mut taught = sequence(&[1, 5, 6, 3, 4], &[9, 2]);
        taught.learned = vec![2, 4];
        let group = [sequence(&[1, 5, 6], &[7, 8, 2]), sequence(&[1, 5, 6], &[2]), taught];
        let batches = micro_batches(&group, 9);
        let [batch] = batches.as_slice() else { panic!("one micro-batch") };
        assert_eq!(batch.members, [0, 1, 2]);
        assert_eq!(batch.tokens, [1, 5, 6, 7, 8, 3, 4, 9]);
        assert_eq!(batch.packing.trees, [tree(3, &[2, 0, 3])]);
        assert_eq!(batch.predicts, [2, 3, 4, 2, 1, 5, 6, 7]);
        assert_eq!(batch.targets, [7, 8, 2, 2, 6, 4, 9, 2]);
        assert_eq!(batch.starts, [0, 3, 4, 8]);
        // Too long for one, its prompt is repeated.
        let batches = micro_batches(&group, 7);
        let trees: Vec<_> = batches.iter().map(|b| &b.packing.trees[..]).collect();
        assert_eq!(trees, [[tree(3, &[2, 0])], [tree(6, &[])]]);
        assert_eq!(batches[1].predicts, [1, 3, 4, 5]);
    }

    #[test]
    fn learned_positions_of_the_prompt_carry_loss_too() {
        let mut taught = sequence(&[1, 5, 6, 7], &[8, 2]);
        taught.learned = vec![1, 3];
        let batches = micro_batches(&[taught, sequence(&[1], &[9, 2])], usize::MAX);
        let batch = &batches[0];
        assert_eq!(batch.targets, [5, 7, 8, 2, 9, 2]);
        assert_eq!(batch.predicts, [0, 2, 3, 4, 5, 6]);
        assert_eq!(batch.starts, [0, 4, 6]);
    }

    #[test]
    fn every_sequence_with_loss_appears_once_within_the_limit() {
        let mut sequences: Vec<_> =
            (1..40).map(|n| sequence(&[1, n / 4], &vec![4; 1 + (n as usize * 7) % 13])).collect();
        sequences[5].terms = TermCoefficients::default();
        let batches = micro_batches(&sequences, 64);
        let seen: Vec<usize> = batches.iter().flat_map(|b| b.members.clone()).collect();
        assert_eq!(seen, (0..39).filter(|&i| i != 5).collect::<Vec<_>>());
        for batch in &batches {
            assert!((1..=64).contains(&batch.tokens.len()));
            assert_eq!(batch.packing.rows(), batch.tokens.len());
        }
        assert!(batches.len() > 4);
    }

    #[test]
    fn a_sequence_longer_than_the_limit_stands_alone() {
        let sequences =
            [sequence(&[1], &[4; 3]), sequence(&[2], &[4; 30]), sequence(&[3], &[4; 3])];
        let batches = micro_batches(&sequences, 8);
        let members: Vec<_> = batches.iter().map(|b| b.members.clone()).collect();
        assert_eq!(members, [[0], [1], [2]]);
    }
}
