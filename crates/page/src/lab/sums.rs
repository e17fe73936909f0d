//! A task for models that chat: small sums. A model of 135 million parameters gets one in ten right at first, so that
//! rewards have something to reinforce, and most after some tens of steps.

use crate::random::{Stream, purpose};
use serde_json::json;

/// The name under which a run's settings have it.
pub const NAME: &str = "sums-in-words.jsonl";

const PROBLEMS: usize = 400;
/// The largest number of a problem.
const LARGEST: u32 = 9;

/// The problems, each with a demonstration, a JSON object a line.
pub fn jsonl() -> Vec<u8> {
    let mut stream = Stream::new(0, purpose::TRAIN, 0);
    let mut text = String::new();
    for _ in 0..PROBLEMS {
        let (a, b) = (stream.between(1, LARGEST), stream.between(1, LARGEST));
        let (larger, smaller) = (a.max(b), a.min(b));
        let (first, asked, second, answer) = match stream.between(0, 1) {
            0 => (a, "plus", b, a + b),
            _ => (larger, "minus", smaller, larger - smaller),
        };
        let question = format!("What is {first} {asked} {second}? Answer with a number alone.");
        let row = json!({
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer.to_string()},
            ],
            "answer": answer.to_string(),
        });
        text += &format!("{row}\n");
    }
    text.into_bytes()
}
