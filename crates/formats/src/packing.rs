//! How sequences lie in a packed batch, one row a token: without padding, and those of a group after their
//! prompt, which stands once.

use std::ops::Range;

/// Sequences, tree after tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packing {
    /// In the order of their rows.
    pub trees: Vec<Tree>,
}

/// A prompt's rows, and then those of each branch that goes on from it. A row sees the rows before it of its branch,
/// all of the prompt's, and itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Rows of the prompt; of the whole sequence, if it is alone.
    pub prompt: usize,
    /// Rows of each branch; none where only the prompt's last row is wanted.
    pub branches: Vec<usize>,
}

/// A tree's prompt or one of its branches: rows that see each other causally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its rows among the batch's.
    pub rows: Range<usize>,
    /// The rows before it that all of it sees: its prompt's, or none.
    pub past: Range<usize>,
    /// After the last row that sees any of its rows.
    pub seen_until: usize,
}

impl Segment {
    /// The place in its sequence of a row, which is one of the batch's.
    pub fn position(&self, row: usize) -> usize {
        self.past.len() + row - self.rows.start
    }
}

impl Tree {
    /// All its rows.
    pub fn rows(&self) -> usize {
        self.prompt + self.branches.iter().sum::<usize>()
    }

    /// Positions of its longest sequence.
    pub fn positions(&self) -> usize {
        self.prompt + self.branches.iter().max().unwrap_or(&0)
    }

    /// Its prompt and its branches, those without rows left out, for its first row at `start`.
    pub fn segments(&self, start: usize) -> impl Iterator<Item = Segment> {
        let prompt = start..start + self.prompt;
        let end = start + self.rows();
        let first = Segment { rows: prompt.clone(), past: start..start, seen_until: end };
        let branches = self.branches.iter().scan(prompt.end, move |at, &rows| {
            let rows = *at..*at + rows;
            *at = rows.end;
            Some(Segment { seen_until: rows.end, rows, past: prompt.clone() })
        });
        std::iter::once(first).chain(branches).filter(|segment| !segment.rows.is_empty())
    }
}

impl Packing {
    /// Sequences that share nothing, of these many rows each.
    pub fn apart(rows: impl IntoIterator<Item = usize>) -> Self {
        let tree = |prompt| Tree { prompt, branches: Vec::new() };
        Self { trees: rows.into_iter().map(tree).collect() }
    }

    /// N, all rows.
    pub fn rows(&self) -> usize {
        self.trees.iter().map(Tree::rows).sum()
    }

    /// Positions of the longest sequence.
    pub fn positions(&self) -> usize {
        self.trees.iter().map(Tree::positions).max().unwrap_or(0)
    }

    /// Each tree with its first row.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &Tree)> {
        self.trees.iter().scan(0, |at, tree| {
            let start = *at;
            *at += tree.rows();
            Some((start, tree))
        })
    }

    /// Every tree's prompt and branches, in the order of their rows.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        self.placed().flat_map(|(start, tree)| tree.segments(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_see_their_prompt_and_themselves() {
        let tree = Tree { prompt: 3, branches: vec![2, 0, 1] };
        let packing = Packing { trees: vec![Tree { prompt: 2, branches: Vec::new() }, tree] };
        assert_eq!((packing.rows(), packing.positions()), (8, 5));
        let expected = [(0..2, 0..0, 2), (2..5, 2..2, 8), (5..7, 2..5, 7), (7..8, 2..5, 8)]
            .map(|(rows, past, seen_until)| Segment { rows, past, seen_until });
        let segments: Vec<Segment> = packing.segments().collect();
        assert_eq!(segments, expected);
        assert_eq!(segments[3].position(7), 3);
        assert_eq!(
            Packing::apart([4, 5]).segments().map(|s| s.rows).collect::<Vec<_>>(),
            [0..4, 4..9]
        );
    }
}
