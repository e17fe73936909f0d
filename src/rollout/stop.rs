//! Texts that end a response, wherever tokens part them.

use crate::text::Tokenizer;

/// The stop texts of a plan; by default none.
#[derive(Clone, Copy, Default)]
pub struct Stops<'a>(Option<(&'a Tokenizer, &'a [String])>);

impl<'a> Stops<'a> {
    /// Responses end where one of `texts` is complete in them.
    pub fn new(tokenizer: &'a Tokenizer, texts: &'a [String]) -> Self {
        Self((!texts.is_empty()).then_some((tokenizer, texts)))
    }

    /// The shortest beginning of `tokens`, longer than `before`, whose text holds a stop.
    pub fn first_in(&self, tokens: &[u32], before: usize) -> Option<usize> {
        let (tokenizer, texts) = self.0?;
        let holds = |length: usize| {
            let text = tokenizer.decode(&tokens[..length]);
            texts.iter().any(|stop| text.contains(stop))
        };
        if before == tokens.len() || !holds(tokens.len()) {
            return None;
        }
        (before + 1..=tokens.len()).find(|&length| holds(length))
    }
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

    #[test]
    fn a_stop_is_found_across_tokens_and_only_once_complete() {
        let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "t").unwrap();
        let tokens = tokenizer.encode_continuation("12+34=46;78").unwrap();
        let stops =
            |texts: &[&str]| -> Vec<String> { texts.iter().map(|s| s.to_string()).collect() };
        for (texts, before, expected) in [
            (stops(&["=46"]), 0, Some(8)),
            (stops(&["=46"]), 5, Some(8)),
            (stops(&["=47"]), 0, None),
            (stops(&[";", "34"]), 0, Some(5)),
            (stops(&["8"]), 11, None),
            (stops(&[]), 0, None),
        ] {
            let found = Stops::new(&tokenizer, &texts).first_in(&tokens, before);
            assert_eq!(found, expected, "{texts:?}");
        }
    }
}
