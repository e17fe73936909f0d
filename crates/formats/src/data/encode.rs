//! Turns examples into tokens: the one place that knows what surrounds a prompt and what ends a
//! demonstration. docs/text.md explains the rule in full:
//!
//! A prompt gets the tokens that transformers gives it at inference: it is tokenized whole. A
//! demonstration gets the tokens that follow the prompt when both are tokenized as one text; a token
//! belongs to whoever wrote its first character. Where a token spans the border, the model at inference
//! would not have read it: the prompt then keeps its own tokens, and the part of that token that
//! belongs to the demonstration is tokenized by itself. Begin-of-text is never doubled. A turn ends
//! with the end-of-text that its text ends with; one is added where there is none.

use crate::error::{Error, Result};
use crate::records::{Example, Sequence};
use crate::text::{Pieces, Tokenizer};
use std::ops::Range;

/// An example in tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// The prompt, begin-of-text included where the tokenizer has it.
    pub prompt: Vec<u32>,
    /// Positions that the SFT loss covers besides the demonstration, rising: in the prompt and, counted
    /// on from its end, in the earlier turns.
    pub learned: Vec<usize>,
    /// What comes between prompt and demonstration: the earlier turns of a response of several turns,
    /// with what others say in between.
    pub earlier: Vec<u32>,
    /// The demonstration with its end-of-text; for several turns, the last.
    pub demonstration: Option<Vec<u32>>,
}

impl Encoded {
    /// How many tokens are read before the demonstration.
    pub fn read(&self) -> usize {
        self.prompt.len() + self.earlier.len()
    }

    /// The demonstration as a sequence to score, without what is learned of the prompt.
    pub fn sequence(self) -> Sequence {
        let Self { prompt, mut learned, earlier, demonstration } = self;
        learned.retain(|&position| position >= prompt.len());
        let prompt = [prompt, earlier].concat();
        Sequence { learned, ..Sequence::to_score(prompt, demonstration.unwrap_or_default()) }
    }
}

/// Encodes an example for a model whose texts end with one of `eos_tokens`. A bare text has no prompt;
/// it is learned from its second token on.
pub fn encode(tokenizer: &Tokenizer, eos_tokens: &[u32], example: &Example) -> Result<Encoded> {
    let (border, layout) = (example.prompt.len(), &example.layout);
    let shown = example.demonstration.as_deref();
    let text = [&example.prompt, shown.unwrap_or_default()].concat();
    let (pieces, asked) = continued(tokenizer, &text, border)?;
    let templated = layout.templated;
    let written = Written { text: &text, pieces: &pieces, eos_tokens, templated };
    let begin = if templated { &[] } else { tokenizer.begin_before(&pieces.ids)? };
    // The text's tokens `from..to`.
    let ids = |from: usize, to: usize| pieces.ids[from..to].to_vec();
    let mut encoded = Encoded { prompt: [begin, &ids(0, asked)].concat(), ..Encoded::default() };
    let mut turns = layout.learned.clone();
    if shown.is_some() {
        if turns.last().is_none_or(|turn| turn.start < border) {
            turns.push(border..text.len());
        }
        let last = turns.pop().expect("the demonstration's own");
        let start = written.first(&last).max(asked);
        let end = written.end(&last).max(start);
        let mut tokens = ids(start, end);
        if tokens.last().is_none_or(|token| !eos_tokens.contains(token)) {
            tokens.push(eos_tokens[0]);
        }
        if example.prompt.is_empty() {
            tokens.splice(0..0, begin.iter().copied());
            if tokens.len() == 1 {
                return Err(Error::input("the text has no tokens").next("leave it out"));
            }
            encoded.prompt = vec![tokens.remove(0)];
        }
        encoded.earlier = ids(asked, start);
        encoded.demonstration = Some(tokens);
    }
    let read = encoded.read();
    let positions = turns.iter().flat_map(|turn| written.first(turn)..written.end(turn));
    let positions = positions.map(|position| position + begin.len());
    encoded.learned = positions.filter(|&position| position > 0 && position < read).collect();
    encoded.learned.dedup();
    Ok(encoded)
}

/// `text` in tokens, its first `border` bytes as a model reads them at inference, the rest as it would
/// continue; and how many of the tokens are the prompt's.
fn continued(tokenizer: &Tokenizer, text: &str, border: usize) -> Result<(Pieces, usize)> {
    let whole = tokenizer.pieces(text)?;
    if border == text.len() || border == 0 {
        let asked = whole.first_from(border);
        return Ok((whole, asked));
    }
    // Nothing before the prompt's last control token depends on what follows.
    let fixed =
        |&index: &usize| whole.ranges[index].1 <= border && tokenizer.is_fixed(whole.ids[index]);
    let anchor = (0..whole.first_from(border)).rev().find(fixed).unwrap_or(0);
    let from = if anchor == 0 { 0 } else { whole.ranges[anchor].0 };
    let mut pieces = whole.part(0, anchor);
    pieces.append(&tokenizer.pieces(&text[from..border])?, from);
    let asked = pieces.ids.len();
    if whole.ids.starts_with(&pieces.ids) {
        return Ok((whole, asked));
    }
    let behind = whole.first_from(border);
    let over = behind.checked_sub(1).map(|last| whole.ranges[last].1).filter(|&end| end > border);
    if let Some(end) = over {
        let ids = tokenizer.encode_continuation(&text[border..end])?;
        let ranges = vec![(border, end); ids.len()];
        pieces.append(&Pieces { ids, ranges }, 0);
    }
    pieces.append(&whole.part(behind, whole.ids.len()), 0);
    Ok((pieces, asked))
}

/// A text in tokens, and the tokens that end its turns.
struct Written<'a> {
    text: &'a str,
    pieces: &'a Pieces,
    eos_tokens: &'a [u32],
    templated: bool,
}

impl Written<'_> {
    /// The first token of a turn.
    fn first(&self, turn: &Range<usize>) -> usize {
        self.pieces.first_from(turn.start)
    }

    /// One past the last token of a turn that its writer would have to write: the end-of-text that
    /// follows the turn, or that ends it up to white space or a separator of the template; else the
    /// whole turn. An end-of-text in the middle of a turn does not end it. Of several in a row
    /// the first counts, since the model stops there.
    fn end(&self, turn: &Range<usize>) -> usize {
        let Pieces { ids, ranges } = self.pieces;
        let past = self.pieces.first_from(turn.end);
        let blank = |from: usize, to: usize| {
            let between = self.text.get(from..to.max(from)).unwrap_or_default();
            let says = |c: char| !c.is_whitespace() && (!self.templated || c.is_alphanumeric());
            !between.contains(says)
        };
        let is_end = |index: &usize| self.eos_tokens.contains(&ids[*index]);
        let next = (past..ids.len()).find(is_end).filter(|&i| blank(turn.end, ranges[i].0));
        let own = || {
            let (mut row, mut behind) = (Vec::new(), turn.end);
            for end in (self.first(turn)..past).rev().filter(is_end) {
                if !blank(ranges[end].1, behind) {
                    break;
                }
                row.push(end);
                behind = ranges[end].0;
            }
            // Of equal ends in a row, all but the last are mentions.
            let first = *row.last()?;
            row.into_iter().rev().take_while(|&end| ids[end] == ids[first]).last()
        };
        next.or_else(own).map_or(past, |end| end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Layout;

    const TINY: &[u8] = srft_assets::TINY_TOKENIZER.as_bytes();

    fn example(prompt: &str, demonstration: &str, layout: Layout) -> Example {
        Example {
            suite: "s".into(),
            prompt: prompt.into(),
            demonstration: Some(demonstration.into()),
            layout,
            ..Example::default()
        }
    }

    fn encoded(example: &Example) -> Encoded {
        let tokenizer = Tokenizer::from_bytes(TINY, "t").unwrap();
        encode(&tokenizer, &[2], example).unwrap()
    }

    #[test]
    fn text_gets_its_begin_and_end() {
        let plain = encoded(&example("5+1=", "6", Layout::default()));
        assert_eq!(plain.prompt, [1, 8, 13, 4, 17]);
        assert_eq!(plain.demonstration.unwrap(), [9, 2]);
        assert!(plain.learned.is_empty());
    }

    #[test]
    fn bare_text_is_learned_from_its_second_token_on() {
        let text = encoded(&example("", "5+1", Layout::default()));
        assert_eq!(
            (text.prompt.as_slice(), text.demonstration.unwrap().as_slice()),
            (&[1][..], &[8, 13, 4, 2][..])
        );
    }

    /// `$` is the tiny tokenizer's end-of-text, written out as a template would.
    #[test]
    fn a_template_writes_its_own_special_tokens() {
        let layout = Layout { templated: true, learned: vec![3..6] };
        let chat = encoded(&example("^1=2$;3=", "4$;", layout));
        assert_eq!(chat.prompt, [1, 4, 17, 5, 2, 19, 6, 17]);
        assert_eq!(chat.learned, [3, 4], "the turn and its end, not the separator behind");
        assert_eq!(chat.demonstration.unwrap(), [7, 2]);
        // Of two ends the model stops at the first; a mention directly before the end looks the same.
        let tokenizer = Tokenizer::from_bytes(TINY, "t").unwrap();
        for (text, tokens) in [("4$;s;", vec![7, 2]), ("4$$;", vec![7, 2, 2]), ("4s$", vec![7, 22])]
        {
            let layout = Layout { templated: true, learned: Vec::new() };
            let ended = encode(&tokenizer, &[2, 22], &example("^1=", text, layout)).unwrap();
            assert_eq!(ended.demonstration.unwrap(), tokens, "{text}");
        }
        let open = Layout { templated: true, learned: Vec::new() };
        assert_eq!(encoded(&example("^1=", "2", open)).demonstration.unwrap(), [5, 2]);
    }
}
