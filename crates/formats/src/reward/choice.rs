//! Multiple choice: the letter that a response chooses.

use super::math::{announced, boxed};

/// Words that may precede the chosen letter, in lower case.
const LEADING: [&str; 64] = [
    "a",
    "an",
    "the",
    "i",
    "we",
    "it",
    "it's",
    "its",
    "that",
    "this",
    "is",
    "be",
    "was",
    "would",
    "will",
    "should",
    "must",
    "has",
    "to",
    "my",
    "our",
    "so",
    "thus",
    "hence",
    "therefore",
    "then",
    "and",
    "final",
    "best",
    "correct",
    "right",
    "true",
    "most",
    "likely",
    "probably",
    "clearly",
    "definitely",
    "option",
    "choice",
    "letter",
    "answer",
    "statement",
    "one",
    "number",
    "choose",
    "chose",
    "pick",
    "picked",
    "select",
    "selected",
    "think",
    "believe",
    "guess",
    "say",
    "go",
    "going",
    "with",
    "for",
    "i'm",
    "i'd",
    "i'll",
    "only",
    "am",
    "sure",
];
/// Words after an A or an I that show that it is a letter and not an article or a pronoun.
const JOINING: [&str; 14] = [
    "because", "since", "as", "so", "for", "and", "or", "but", "not", "is", "are", "was", "rather",
    "&",
];
/// Words after "B is" that make it a choice.
const PRAISE: [&str; 7] = ["the", "correct", "right", "best", "true", "my", "our"];

/// The letter of a gold answer: `B`, `(B)` or `B.`, always a capital.
pub fn gold(answer: &str) -> Option<char> {
    let bare = answer.trim().trim_start_matches('(').trim_end_matches([')', '.', ':']);
    let mut letters = bare.chars();
    letters.next().filter(|c| c.is_ascii_uppercase() && letters.next().is_none())
}

/// The letter that a response gives: in its last box, else after its last "the answer is" and the like,
/// else in its last line, else alone in its first. An article or a pronoun is no letter; a letter must
/// come first or after words that choose ("I think it is C", not "Vitamin C"); "B or C" chooses none.
pub fn given(response: &str) -> Option<char> {
    if let Some(content) = boxed(response) {
        return letter(&content).or_else(|| lone(&content));
    }
    if let Some(readings) = announced(response) {
        return letter(readings.first()?);
    }
    let mut lines = response.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let last = lines.next_back().unwrap_or(first);
    let sentence = last.trim_end_matches(['.', '!', '?']).rsplit(['.', '!', '?']).next();
    let alone = || {
        letter(first)
            .filter(|_| plain(first).trim().chars().filter(|c| c.is_alphanumeric()).count() == 1)
    };
    letter(last).or_else(|| letter(sentence?)).or_else(alone)
}

/// In a box, a small letter counts too: `{b}`.
fn lone(content: &str) -> Option<char> {
    let bare = plain(content);
    let mut letters = bare.chars().filter(|c| !" .():".contains(*c));
    let only = letters.next().filter(|c| c.is_ascii_alphabetic() && letters.next().is_none())?;
    Some(only.to_ascii_uppercase())
}

/// Text without LaTeX commands and Markdown marks.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                while chars.next_if(char::is_ascii_alphabetic).is_some() {}
                plain.push(' ');
            }
            '/' => plain += " or ",
            '{' | '}' | '$' | '*' | '"' | '`' | '_' => {}
            c => plain.push(c),
        }
    }
    plain
}

/// The letter that a sentence chooses.
fn letter(sentence: &str) -> Option<char> {
    let plain = plain(sentence);
    let words: Vec<&str> = plain.split_whitespace().collect();
    let first = (0..words.len()).find(|&at| candidate(&words, at).is_some())?;
    let chosen = candidate(&words, first)?;
    let bracketed = words[first].starts_with('(');
    let lower = |word: &str| word.trim_matches(|c: char| ".,:;!?()".contains(c)).to_lowercase();
    let leads = |word: &&str| LEADING.contains(&&*lower(word));
    let denies = |word: &&str| {
        matches!(&*lower(word), "not" | "never" | "neither" | "either") || word.contains("n't")
    };
    let before = &words[..first];
    if before.iter().any(denies) || !bracketed && !before.iter().all(leads) {
        return None;
    }
    // "B or C", "B, C", "B or maybe C".
    let next = words.get(first + 1).map(|word| lower(word)).unwrap_or_default();
    let joined = matches!(&*next, "or" | "and" | "&") || words[first].ends_with(',');
    let near = (first + 1..words.len().min(first + 4)).filter_map(|at| candidate(&words, at));
    let hedged =
        joined && !matches!(&*next, "not" | "rather") && near.into_iter().any(|c| c != chosen);
    (!hedged).then_some(chosen)
}

/// The letter in a word, if the words around it show that it is one.
fn candidate(words: &[&str], at: usize) -> Option<char> {
    let word = words[at];
    let bare = word.trim_matches(|c: char| ".,:;!?()".contains(c));
    if word.ends_with('?') {
        return None;
    }
    let labelled = word.ends_with([')', ':', '.', ',', ';', '!', '?']);
    let mut letters = bare.chars();
    let letter = letters.next().filter(|c| c.is_ascii_alphabetic() && letters.next().is_none())?;
    if letter.is_ascii_lowercase() && !word.contains(')') {
        return None;
    }
    let next = words.get(at + 1).filter(|_| !labelled).map(|word| word.to_lowercase());
    let other = words.get(at + 2).map(|word| word.to_lowercase()).unwrap_or_default();
    let meant = match next.as_deref() {
        Some("is" | "are" | "was") => PRAISE.iter().any(|praise| other.starts_with(praise)),
        Some(next) if "AI".contains(letter) => {
            JOINING.contains(&next) || next.starts_with(['(', ','])
        }
        _ => true,
    };
    meant.then_some(letter.to_ascii_uppercase())
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
            ("The answer is C because I computed the integral.", Some('C')),
            ("I choose C.", Some('C')),
            ("I think it is (C).", Some('C')),
            ("The answer is B, I believe.", Some('B')),
            ("\\boxed{E: A polygenic score}", Some('E')),
            ("The answer is B because A is too small.", Some('B')),
            ("B because A is too small", Some('B')),
            ("(b)", Some('B')),
            ("The answer is (b).", Some('B')),
            ("\\boxed{b}", Some('B')),
            ("\\boxed{\\textbf{(B)}\\ 12}", Some('B')),
            ("B) Paris", Some('B')),
            ("C is correct.", Some('C')),
            ("The correct option is D.", Some('D')),
            ("A", Some('A')),
            ("**Answer: A**", Some('A')),
            ("B\n\nThe others are too small.", Some('B')),
            ("It is B, not C.", Some('B')),
            ("A perfect answer cannot be found.", None),
            ("A cat.", None),
            ("I do not know.", None),
            ("Vitamin C", None),
            ("The answer is A or B.", None),
            ("\\boxed{A, B}", None),
            ("The answer is not A.", None),
            ("A/B", None),
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
