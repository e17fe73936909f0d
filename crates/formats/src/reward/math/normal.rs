//! Removes what surrounds an answer: units, words about its size, words before it. A part of an answer
//! is what lies between commas and signs of comparison.

use num_rational::BigRational;

use super::expr::{Expr, Number, Reading};
use super::fractions::with_fractions;
use super::token::Token::{self, Letter, Name, Run, Symbol, Text, Word};
use super::units::{Meaning, Measure, is_short_word, meaning, number_words};

/// Words of two or three letters that precede answers.
const SHORT_WORDS: [&str; 16] = [
    "the", "is", "are", "was", "so", "not", "no", "we", "he", "she", "our", "its", "get", "got",
    "has", "had",
];

/// An answer's tokens without the words, read in two ways.
#[derive(Debug)]
pub struct Tidied {
    /// The bare numbers: 5 for 5 km.
    pub plain: Vec<Token>,
    /// The numbers times their units, if every word after them is known.
    pub measured: Option<Vec<Token>>,
}

/// Separates the numbers from their words. A gold answer keeps words before a number: June 20 isn't 20.
pub fn tidy(tokens: &[Token], gold: bool) -> Reading<Tidied> {
    let (mut plain, mut measured, mut units) = (Vec::new(), Vec::new(), 0);
    let mut depth = 0_usize;
    for part in with_signs(&with_fractions(tokens)).split_inclusive(|token| {
        match token {
            Symbol("(" | "[" | "{" | "\\{" | "langle") | Token::Begin(_) => depth += 1,
            Symbol(")" | "]" | "}" | "\\}" | "rangle" | "end") => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && parts(token)
    }) {
        let (body, separator) = match part {
            [body @ .., separator] if parts(separator) => (body, Some(separator.clone())),
            body => (body, None),
        };
        let (core, unit) = without_words(body.to_vec(), gold)?;
        units += usize::from(unit.is_some());
        match unit {
            Some(unit) => measured.extend(wrapped(core.clone(), [Token::Scale(unit)])),
            None => measured.extend(core.clone()),
        }
        plain.extend(core);
        plain.extend(separator.clone());
        measured.extend(separator);
    }
    Ok(Tidied { plain: letters(&plain), measured: (units > 0).then(|| letters(&measured)) })
}

/// Replaces words between numbers by signs: 3 to 4, 101 base 2.
fn with_signs(tokens: &[Token]) -> Vec<Token> {
    let number =
        |at: Option<usize>| matches!(at.and_then(|at| tokens.get(at)), Some(Token::Number(_)));
    let sign = |(at, token): (usize, &Token)| {
        let between = number(at.checked_sub(1)) && number(Some(at + 1));
        let numeral = |at: usize| matches!(tokens.get(at), Some(Word(w) | Run(w, _)) if number_words(&[w]).is_some());
        match token {
            // "one hundred and five"
            Symbol("and")
                if at > 0
                    && numeral(at + 1)
                    && matches!(&tokens[at - 1], Word(w) if w == "hundred" || w == "thousand") =>
            {
                Symbol("-")
            }
            Run(word, _) | Word(word) | Text(word) if between && word == "to" => Symbol(":"),
            Word(word) | Text(word) if between && word == "base" => Symbol("_"),
            token => token.clone(),
        }
    };
    tokens.iter().enumerate().map(sign).collect()
}

/// The letters and digits of an answer that has only words and numbers, such as "no solution" or "June
/// 20".
pub fn spelled(tokens: &[Token]) -> Option<String> {
    let mut worded = false;
    let mut spelled = String::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Letter(letter) => spelled.extend(letter.to_lowercase()),
            Run(letters, _) => spelled += &letters.to_lowercase(),
            Word(word) | Text(word) => spelled.extend(word.chars().filter(|c| *c != ' ')),
            Token::Number(number) if number.value.is_integer() => {
                spelled += &number.value.to_string();
            }
            // "March 3, 2024"
            Symbol(",") if worded && matches!(tokens[at - 1], Token::Number(_)) => {}
            _ => return None,
        }
        worded |= !matches!(token, Token::Number(_));
    }
    // "No solutions" and "no solution".
    let none = spelled.starts_with("no") && spelled.len() > 6;
    let one = if none { spelled.trim_end_matches('s') } else { &spelled };
    worded.then(|| one.to_string())
}

fn parts(token: &Token) -> bool {
    let signs = [",", ";", "and", "or", "=", "!=", "<", ">", "<=", ">=", "approx", "in", ":"];
    matches!(token, Symbol(symbol) if signs.contains(symbol))
}

/// Runs of letters become variables, several words in a row one variable.
fn letters(tokens: &[Token]) -> Vec<Token> {
    let is_word = |token: &Token| matches!(token, Word(_));
    let runs = tokens.chunk_by(|a, b| is_word(a) && is_word(b));
    let tokens = runs.flat_map(|run| match run {
        [Run(letters, _)] => letters.chars().map(Letter).collect(),
        [Word(_), _, ..] => vec![Word(spelled(run).unwrap_or_default())],
        other => other.to_vec(),
    });
    tokens.collect()
}

fn wrapped(core: Vec<Token>, behind: impl IntoIterator<Item = Token>) -> Vec<Token> {
    let open = [Symbol("{")];
    open.into_iter().chain(core).chain([Symbol("}")]).chain(behind).collect()
}

/// A part without the words around it, and its unit if known.
fn without_words(part: Vec<Token>, gold: bool) -> Reading<(Vec<Token>, Option<Expr>)> {
    let part = joined(part);
    let (part, currency) = without_currency(part);
    let part = spelled_out(without_leading_words(part, gold));
    let start = (1..part.len()).find(|&at| starts_tail(&part[..at], &part[at..]));
    let mut measure = Measure::new();
    let (mut core, mut behind) = (part.clone(), Vec::new());
    if let Some(start) = start {
        match tail(&part[start..], &mut measure)? {
            Some(scales) => {
                core.truncate(start);
                behind = scales;
            }
            None => return Ok((part, None)),
        }
    }
    if let Some(Meaning::Unit(base, count, exponent)) = currency.map(meaning) {
        measure.unit(base, count, exponent)?;
    }
    if !behind.is_empty() {
        core = wrapped(core, behind);
    }
    Ok((core, measure.known()))
}

/// If one of two or more words in a row is long, all of them are words: "no solution" is not n, o and a
/// word.
fn joined(part: Vec<Token>) -> Vec<Token> {
    let is_plain = |token: &Token| matches!(token, Run(..) | Word(_));
    let is_word = |token: &Token| matches!(token, Word(_));
    let variable = |letters: &str| letters.len() == 1 && !"aAI".contains(letters);
    let runs = part.chunk_by(|a, b| is_plain(a) && is_plain(b));
    let words = runs.flat_map(|run| {
        let all = run.len() > 1 && run.iter().any(is_word);
        run.iter().map(move |token| match token {
            Run(letters, _) if all && !variable(letters) => Word(letters.to_lowercase()),
            token => token.clone(),
        })
    });
    words.collect()
}

/// Removes a currency sign before or after a number.
fn without_currency(part: Vec<Token>) -> (Vec<Token>, Option<&'static str>) {
    let mut currency = None;
    let kept = part.into_iter().filter(|token| match token {
        Token::Currency(unit) => {
            currency = Some(*unit);
            false
        }
        _ => true,
    });
    let kept = kept.collect();
    (kept, currency)
}

/// Removes leading words: "approximately 5", "negative 5", and in a response "the total is 5".
fn without_leading_words(part: Vec<Token>, gold: bool) -> Vec<Token> {
    let words = |token: &Token| match token {
        Word(word) | Text(word) => Some(word.clone()),
        Run(word, _) => {
            Some(word.to_lowercase()).filter(|word| SHORT_WORDS.contains(&word.as_str()))
        }
        _ => None,
    };
    let numeral = |word: &String| number_words(&[word]).is_some();
    let leading: Vec<String> = part.iter().map_while(words).take_while(|w| !numeral(w)).collect();
    let goes_on = ["^", "*", "/", "_", "+", "!", "%"];
    match part.get(leading.len()) {
        _ if leading.is_empty() => return part,
        None => return part,
        Some(Symbol(sign)) if goes_on.contains(sign) => return part,
        _ => {}
    }
    let mut negative = false;
    for word in leading.iter().flat_map(|words| words.split(' ')) {
        match meaning(word) {
            Meaning::Stop if matches!(word, "minus" | "negative") => negative = !negative,
            Meaning::Filler => {}
            Meaning::Unknown | Meaning::Per if !gold && number_words(&[word]).is_none() => {}
            _ => return part,
        }
    }
    let sign = negative.then_some(Symbol("-"));
    sign.into_iter().chain(part[leading.len()..].iter().cloned()).collect()
}

/// Replaces a number in words by the number: "forty-two apples".
fn spelled_out(mut part: Vec<Token>) -> Vec<Token> {
    if part.first() == Some(&Symbol("-")) {
        let rest = part.split_off(1);
        return part.into_iter().chain(spelled_out(rest)).collect();
    }
    let mut words = Vec::new();
    let mut ends = Vec::new();
    for (at, token) in part.iter().enumerate() {
        match token {
            Word(word) | Text(word) => words.extend(word.split(' ').map(String::from)),
            Run(letters, _) => words.push(letters.to_lowercase()),
            Symbol("-" | "and") if at > 0 => {}
            _ => break,
        }
        ends.resize(words.len(), at + 1);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match number_words(&words) {
        // A number in words must end where a token ends.
        Some((value, used)) if ends.get(used) != Some(&ends[used - 1]) => {
            let number = Token::Number(Number::integer(value as i64));
            // "two-thirds"
            let rest = match &part[ends[used - 1]..] {
                [Symbol("-"), rest @ ..] if matches!(rest, [Word(_), ..]) => rest,
                rest => rest,
            };
            [number].into_iter().chain(rest.iter().cloned()).collect()
        }
        _ => part,
    }
}

/// Whether words about the preceding number begin here.
fn starts_tail(kept: &[Token], rest: &[Token]) -> bool {
    if matches!(kept.last(), Some(Symbol("+" | "-" | "^" | "_" | "/" | "*" | "(" | "{"))) {
        return false;
    }
    match rest {
        [Text(_), ..] => true,
        _ if !is_number(kept) => false,
        [Word(_), ..] => true,
        [Run(letters, spaced), next, ..] if matches!(&**letters, "a" | "p") && *spaced => {
            matches!(next, Word(_) | Run(..))
        }
        // Degrees Celsius and Fahrenheit.
        [Run(letters, _)] if matches!(&**letters, "C" | "F") => {
            matches!(kept, [.., Symbol("circ")] | [.., Symbol("circ"), Symbol("}")])
        }
        [Run(letters, spaced), ..] => is_short_word(letters, *spaced),
        [Token::Function(super::expr::Function::Min) | Symbol("sec")] => true,
        [Symbol("/"), unit, ..] => match unit {
            Word(_) | Text(_) => true,
            Run(letters, _) => letters.len() > 1 && is_short_word(letters, true),
            _ => false,
        },
        // "4 (exactly)"
        [Symbol("("), inside @ .., Symbol(")")] => {
            let worded = |t: &Token| matches!(t, Word(_) | Text(_) | Run(..));
            inside.iter().all(worded)
                && inside.iter().any(|t| !matches!(t, Run(r, _) if r.len() < 2))
        }
        _ => false,
    }
}

/// Applies the words after a number to it; `None` if they are not only words.
fn tail(rest: &[Token], measure: &mut Measure) -> Reading<Option<Vec<Token>>> {
    let mut scales = Vec::new();
    let mut words: Vec<(String, i64)> = Vec::new();
    let mut at = 0;
    while let Some(token) = rest.get(at) {
        at += 1;
        match token {
            Word(word) | Text(word) => {
                for word in word.split([' ']).filter(|w| !w.is_empty()) {
                    for (i, word) in word.split('/').enumerate() {
                        words.extend((i > 0).then(|| ("per".into(), 1)));
                        words.push((word.into(), 1));
                    }
                }
            }
            Run(letters, _) => words.push((letters.to_lowercase(), 1)),
            Letter(letter) => words.push((letter.to_lowercase().collect(), 1)),
            Token::Function(super::expr::Function::Min) => words.push(("min".into(), 1)),
            Symbol("sec") => words.push(("sec".into(), 1)),
            Symbol("/") => words.push(("per".into(), 1)),
            Symbol("*" | "(" | ")") => {}
            Symbol("^") => {
                let (exponent, length) = match &rest[at..] {
                    [Token::Number(n), ..] => (n.small_integer(), 1),
                    [Symbol("{"), Token::Number(n), Symbol("}"), ..] => (n.small_integer(), 3),
                    [Symbol("{"), Symbol("-"), Token::Number(n), Symbol("}"), ..] => {
                        (n.small_integer().map(|n| -n), 4)
                    }
                    _ => (None, 0),
                };
                let (Some(exponent), Some(last)) = (exponent, words.last_mut()) else {
                    return Ok(None);
                };
                last.1 = exponent;
                at += length;
            }
            _ => return Ok(None),
        }
    }
    let mut words = words.into_iter().peekable();
    while let Some((word, exponent)) = words.next() {
        // "p.m." and "per cent".
        let pairs = |pair: (&str, &str), next: &(String, i64)| word == pair.0 && next.0 == pair.1;
        let joined = [("p", "m", "pm"), ("a", "m", "am")];
        let joined = joined.iter().find(|(a, b, _)| words.peek().is_some_and(|n| pairs((a, b), n)));
        if words.next_if(|next| pairs(("per", "cent"), next)).is_some() {
            scales.push(Symbol("%"));
            continue;
        }
        let word = match joined {
            Some((.., both)) => {
                words.next();
                (*both).to_string()
            }
            None => word,
        };
        match meaning(&word) {
            Meaning::Times(factor) => scales.push(Token::Scale(constant(factor)?)),
            Meaning::Power(exponent) => {
                scales.extend([Symbol("^"), Token::Number(Number::integer(exponent))]);
            }
            Meaning::Factorial => scales.push(Symbol("!")),
            Meaning::Unit(base, count, power) => measure.unit(base, count, power * exponent)?,
            Meaning::Per => measure.per(),
            Meaning::Raise(exponent) => measure.raise(exponent),
            Meaning::Filler => {}
            Meaning::Stop => return Err("it says more about a number than its value"),
            Meaning::Unknown | Meaning::Before => measure.unknown = true,
        }
    }
    Ok(Some(scales))
}

fn constant(value: BigRational) -> Reading<Expr> {
    Number::new(value, false).map(Expr::Number).ok_or("its numbers are too long")
}

/// Whether a part has a number and no variable or word.
fn is_number(part: &[Token]) -> bool {
    let is = |token: &Token| matches!(token, Token::Number(_));
    let time = |token: &Token| matches!(token, Name(name) if name.starts_with("time "));
    part.iter().any(|token| is(token) || time(token))
        && !part.iter().any(|token| match token {
            Letter(_) | Run(..) | Word(_) | Text(_) => true,
            Name(_) => !time(token),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

    fn tidied(text: &str) -> Vec<Token> {
        tidy(&tokens(text).unwrap(), false).unwrap().plain
    }

    #[test]
    fn units_go_and_variables_stay() {
        for (text, expected) in [
            ("5 cm", "5"),
            ("5m", "5"),
            ("5 cm^2", "5"),
            ("5 cm²", "5"),
            ("5 m/s", "5"),
            (r"5 \text{m/s}^2", "5"),
            (r"5\,\mathrm{m}/\mathrm{s}^{2}", "5"),
            ("5 miles per hour", "5"),
            ("5 dollars", "5"),
            ("5 min", "5"),
            (r"20^\circ\text{C}", r"20^\circ"),
            (r"20^{\circ} C", r"20^{\circ}"),
            (r"1\frac12 \text{ inches}", r"1\frac12"),
            ("x = 5 cm, y = 6 cm", "x = 5, y = 6"),
            (r"3\pi \text{ cm}", r"3\pi"),
            (r"x+1 \text{ dollars}", "x+1"),
            ("18 sq. ft.", "18"),
            ("$18/day", "18"),
            ("about 18 men", "18"),
            ("4 (exactly)", "4"),
            ("forty-two apples", "42"),
            ("minus 4", "-4"),
        ] {
            assert_eq!(tidied(text), tidied(expected), "{text}");
        }
        for (text, count) in
            [("3t", 2), ("2x + 3m", 5), ("x", 1), ("m", 1), ("5/m", 3), ("xm", 2), ("2 xyz", 4)]
        {
            assert_eq!(tidied(text).len(), count, "{text}");
        }
    }

    #[test]
    fn words_make_numbers_larger_or_unreadable() {
        for (text, other) in [("4 million", "5 million"), ("4 squared", "4"), ("4 tenths", "4")] {
            assert_ne!(tidied(text), tidied(other), "{text}");
        }
        for text in ["4 less", r"4 \text{ times}", "4 more than"] {
            assert!(tidy(&tokens(text).unwrap(), false).is_err(), "{text}");
        }
    }
}
