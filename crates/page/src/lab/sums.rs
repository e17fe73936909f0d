//! A task for models that chat: sums in words. Problems are short, their answers a number, so that a few steps show.

use crate::random::{Stream, purpose};
use serde_json::json;

/// The name under which a run's settings have it.
pub const NAME: &str = "sums-in-words.jsonl";

const PROBLEMS: usize = 400;
/// The largest number of a problem.
const LARGEST: u32 = 60;

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number below a hundred in words.
fn words(number: u32) -> String {
    match (number / 10, number % 10) {
        (0 | 1, _) => ONES[number as usize].into(),
        (tens, 0) => TENS[tens as usize].into(),
        (tens, ones) => format!("{}-{}", TENS[tens as usize], ONES[ones as usize]),
    }
}

/// The problems, each with a demonstration, a JSON object a line.
pub fn jsonl() -> Vec<u8> {
    let mut stream = Stream::new(0, purpose::TRAIN, 0);
    let mut text = String::new();
    for _ in 0..PROBLEMS {
        let (a, b) = (stream.between(2, LARGEST), stream.between(2, LARGEST));
        let (larger, smaller) = (a.max(b), a.min(b));
        let (first, asked, second, answer) = match stream.between(0, 1) {
            0 => (a, "plus", b, a + b),
            _ => (larger, "minus", smaller, larger - smaller),
        };
        let question = format!(
            "What is {} {asked} {}? Answer with a number alone.",
            words(first),
            words(second)
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_people_spell_them() {
        let spelled = [0, 7, 10, 19, 20, 23, 40, 58, 99].map(words);
        let expected = [
            "zero",
            "seven",
            "ten",
            "nineteen",
            "twenty",
            "twenty-three",
            "forty",
            "fifty-eight",
            "ninety-nine",
        ];
        assert_eq!(spelled, expected);
    }
}
