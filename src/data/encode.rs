//! Examples into tokens: the one place that knows what surrounds a prompt and what ends a
//! demonstration.

use crate::error::{Error, Result};
use crate::records::Example;
use crate::text::Tokenizer;

/// An example in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The prompt, begin-of-text included where the tokenizer has it.
    pub prompt: Vec<u32>,
    /// Positions of the prompt that imitation learns too.
    pub learned: Vec<usize>,
    /// The demonstration with its end-of-text.
    pub demonstration: Option<Vec<u32>>,
}

/// Encodes an example for a model whose texts end with one of `eos_tokens`.
///
/// The pieces that model and user wrote are encoded apart, as they come about when the model is
/// asked: what is learned is what would be sampled. Bare text, which has no prompt, is learned from
/// its second token on.
pub fn encode(tokenizer: &Tokenizer, eos_tokens: &[u32], example: &Example) -> Result<Encoded> {
    let ended = |mut tokens: Vec<u32>| {
        // A template writes the end itself, and perhaps a line break that nobody samples.
        match tokens.iter().position(|t| eos_tokens.contains(t)) {
            Some(end) if example.layout.templated => tokens.truncate(end + 1),
            _ => tokens.push(eos_tokens[0]),
        }
        tokens
    };
    if let (true, Some(text)) = (example.prompt.is_empty(), &example.demonstration) {
        let mut prompt = tokenizer.encode(text)?;
        if prompt.is_empty() {
            return Err(Error::input("the text has no tokens").next("leave it out"));
        }
        let rest = prompt.split_off(1);
        return Ok(Encoded { prompt, learned: Vec::new(), demonstration: Some(ended(rest)) });
    }
    let (mut prompt, mut learned) = (Vec::new(), Vec::new());
    let (mut written, text) = (0, example.prompt.as_str());
    if !example.layout.templated {
        prompt = tokenizer.encode(text)?;
        written = text.len();
    }
    for turn in &example.layout.learned {
        prompt.extend(tokenizer.encode_continuation(&text[written..turn.start])?);
        let tokens = tokenizer.encode_continuation(&text[turn.clone()])?;
        let end = tokens.iter().position(|t| eos_tokens.contains(t));
        let count = end.map_or(tokens.len(), |end| end + 1);
        learned.extend(prompt.len()..prompt.len() + count);
        prompt.extend(tokens);
        written = turn.end;
    }
    prompt.extend(tokenizer.encode_continuation(&text[written..])?);
    let demonstration = match &example.demonstration {
        Some(text) => Some(ended(tokenizer.encode_continuation(text)?)),
        None => None,
    };
    learned.retain(|&position| position > 0);
    Ok(Encoded { prompt, learned, demonstration })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFolder;
    use crate::records::Layout;

    fn example(prompt: &str, demonstration: &str, layout: Layout) -> Example {
        Example {
            suite: "s".into(),
            prompt: prompt.into(),
            demonstration: Some(demonstration.into()),
            answer: String::new(),
            layout,
            extra: Default::default(),
        }
    }

    fn encoded(example: &Example) -> Encoded {
        let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "t").unwrap();
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

    /// `$` is the tiny tokenizer's end-of-text; it is written out as a template would.
    #[test]
    fn a_template_writes_its_own_special_tokens() {
        let layout = Layout { templated: true, learned: vec![3..6] };
        let chat = encoded(&example("^1=2$;3=", "4$;", layout));
        assert_eq!(chat.prompt, [1, 4, 17, 5, 2, 19, 6, 17]);
        assert_eq!(chat.learned, [3, 4], "the turn and its end, not the separator behind");
        assert_eq!(chat.demonstration.unwrap(), [7, 2]);
        let open = Layout { templated: true, learned: Vec::new() };
        assert_eq!(encoded(&example("^1=", "2", open)).demonstration.unwrap(), [5, 2]);
    }
}
