//! Multiple choice: the one letter that a response settles on.

use super::math::final_answer;

/// The letter of a gold answer: `B`, `(B)` or `B.`, a capital alone.
pub fn gold(answer: &str) -> Option<char> {
    let bare = answer.trim().trim_start_matches('(').trim_end_matches([')', '.', ':']);
    let mut letters = bare.chars();
    letters.next().filter(|c| c.is_ascii_uppercase() && letters.next().is_none())
}

/// The letter that a response gives: in its final answer (`\boxed{B}`, `the answer is (B)`), or else
/// as the only capital that stands alone in its last line. Two different letters are none.
pub fn given(response: &str) -> Option<char> {
    let last_line = || response.trim().lines().last().unwrap_or_default();
    only(final_answer(response).unwrap_or_else(last_line))
}

fn only(text: &str) -> Option<char> {
    // LaTeX's \text{B} and Markdown's **B** have the letter alone too.
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    let mut letters = words.filter_map(gold);
    // "A cat" begins with an article; alone, or named as a choice, A is a letter.
    let first = letters.next()?;
    letters.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_of_a_response() {
        for (response, letter) in [
            ("B", Some('B')),
            ("(C)", Some('C')),
            ("I think so.\nAnswer: D", Some('D')),
            ("so \\boxed{\\text{B}} it is", Some('B')),
            ("The answer is (A).", Some('A')),
            ("**C**", Some('C')),
            ("B or C", None),
            ("B, yes B", Some('B')),
            ("nothing", None),
            ("", None),
            ("b", None),
        ] {
            assert_eq!(given(response), letter, "{response:?}");
        }
    }

    #[test]
    fn a_gold_answer_is_one_capital() {
        for (answer, letter) in [
            ("B", Some('B')),
            (" (B) ", Some('B')),
            ("C.", Some('C')),
            ("AB", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(gold(answer), letter, "{answer:?}");
        }
    }
}
