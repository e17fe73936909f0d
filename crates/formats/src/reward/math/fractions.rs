//! Numbers with a fraction in words: "two and a half", "three quarters", "a third".

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;

use super::expr::Number;
use super::token::Token::{self, Run, Symbol, Text, Word};
use super::units::{Meaning, meaning, number_words};

/// Most tokens of a number in words.
const MOST_TOKENS: usize = 16;

/// `tokens` with numbers in words replaced by numbers.
pub fn with_fractions(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let (token, used) =
            first(&tokens[at..], at == 0).unwrap_or_else(|| (tokens[at].clone(), 1));
        kept.push(token);
        at += used;
    }
    kept
}

/// The number with which `tokens` begin, and how many of them it takes.
fn first(tokens: &[Token], is_first: bool) -> Option<(Token, usize)> {
    let (mut words, mut ends): (Vec<String>, Vec<usize>) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate().take(MOST_TOKENS) {
        match token {
            Word(word) | Text(word) => words.extend(word.split_whitespace().map(String::from)),
            Run(letters, _) => words.push(letters.to_lowercase()),
            Symbol("and") if at > 0 => words.push("and".into()),
            Symbol("-") if at > 0 => {}
            // "2 and a half"
            Token::Number(number) if at == 0 && number.value.is_integer() => {
                words.push(number.value.to_string());
            }
            _ => break,
        }
        ends.resize(words.len(), at + 1);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ands = (1..words.len()).rev().filter(|&at| words[at] == "and");
    let half = |words: &[&str]| match words.first() {
        Some(&"half") => Some((part(1, "half")?, 1)),
        _ => None,
    };
    let mut mixed = ands.filter_map(|and| {
        let behind = &words[and + 1..];
        let (part, used) = fraction(behind).or_else(|| half(behind))?;
        Some((whole(&words[..and])? + part, and + 1 + used))
    });
    let alone =
        || fraction(&words).or_else(|| half(&words).filter(|_| is_first && words.len() == 1));
    let (value, used) = mixed.next().or_else(alone)?;
    let number = Token::Number(Number::new(value, false)?);
    // A number in words must end where a token ends.
    (ends.get(used) != Some(&ends[used - 1])).then_some((number, ends[used - 1]))
}

/// The whole number that `words` spell together.
fn whole(words: &[&str]) -> Option<BigRational> {
    match words {
        [digits] if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<BigInt>().ok()?.into())
        }
        _ => {
            let (value, used) = number_words(words)?;
            (used == words.len()).then(|| BigInt::from(value).into())
        }
    }
}

/// The fraction with which `words` begin, "a half" or "two thirds", and how many of them it takes.
fn fraction(words: &[&str]) -> Option<(BigRational, usize)> {
    let (count, used) = match words.first()? {
        &"a" | &"an" => (1, 1),
        _ => number_words(words)?,
    };
    Some((part(count, words.get(used)?)?, used + 1))
}

/// `count` halves, thirds or the like; "twenty fifth" is no fraction.
fn part(count: u64, name: &str) -> Option<BigRational> {
    match meaning(name) {
        Meaning::Times(size)
            if size < BigRational::one() && name.ends_with('s') == (count != 1) =>
        {
            Some(BigRational::from(BigInt::from(count)) * size)
        }
        _ => None,
    }
}
