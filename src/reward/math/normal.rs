//! What stands around an answer and isn't part of it: units and words after a number. Which ones go
//! follows math-verify: every `\text{…}` at the end, and plain units after a number.

use super::expr::Function;
use super::lexer::Token;

/// Units in plain letters. Longer ones are words, and those go after a number whatever they mean.
const UNITS: [&str; 38] = [
    "m", "g", "s", "h", "l", "cm", "mm", "km", "dm", "ft", "in", "yd", "mi", "kg", "mg", "lb",
    "lbs", "oz", "ml", "gal", "hr", "hrs", "min", "sec", "day", "mph", "kmh", "kph", "deg", "sq",
    "am", "pm", "th", "st", "nd", "rd", "usd", "rs",
];

/// Joins words that follow each other, and drops units from the end of each top-level part.
pub fn tidy(tokens: Vec<Token>) -> Vec<Token> {
    let mut tidied = Vec::new();
    let mut part = Vec::new();
    let mut depth = 0_usize;
    for token in join_words(tokens) {
        match &token {
            Token::Symbol("(" | "[" | "{" | "\\{" | "langle") | Token::Begin(_) => depth += 1,
            Token::Symbol(")" | "]" | "}" | "\\}" | "rangle" | "end") => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        let parts = depth == 0
            && matches!(
                token,
                Token::Symbol(
                    "," | ";"
                        | "and"
                        | "or"
                        | "="
                        | "!="
                        | "<"
                        | ">"
                        | "<="
                        | ">="
                        | "approx"
                        | "in"
                )
            );
        if parts {
            tidied.append(&mut without_units(part));
            part = Vec::new();
            tidied.push(token);
        } else {
            part.push(token);
        }
    }
    tidied.append(&mut without_units(part));
    tidied
}

/// The letters of an answer that has nothing else, such as "no solution" or "blue".
pub fn spelled(tokens: &[Token]) -> Option<String> {
    let letters = tokens.iter().map(|token| match token {
        Token::Letter(letter) => Some(letter.to_lowercase().collect()),
        Token::Word(word) | Token::Text(word) => Some(word.clone()),
        _ => None,
    });
    letters.collect::<Option<String>>().filter(|letters| !letters.is_empty())
}

/// "no solution" is n, o, and a word: one word.
fn join_words(tokens: Vec<Token>) -> Vec<Token> {
    let is_plain = |token: &Token| matches!(token, Token::Letter(_) | Token::Word(_));
    let runs = tokens.chunk_by(|a, b| is_plain(a) && is_plain(b));
    let join = |run: &[Token]| match spelled(run) {
        Some(word) if run.len() > 1 && run.iter().any(|t| matches!(t, Token::Word(_))) => {
            vec![Token::Word(word)]
        }
        _ => run.to_vec(),
    };
    runs.flat_map(join).collect()
}

fn without_units(mut part: Vec<Token>) -> Vec<Token> {
    // cm/s² is a unit per a unit, so look for as long as a division leads on.
    let mut end = part.len();
    while let Some(start) = unit_start(&part[..end]) {
        match &part[..start] {
            [.., Token::Symbol("/" | "*")] => end = start - 1,
            [] | [.., Token::Symbol("+" | "-" | "^" | "_")] => break,
            kept => {
                if matches!(part[start], Token::Text(_)) || is_number(kept) {
                    part.truncate(start);
                }
                break;
            }
        }
    }
    part
}

/// Where the unit at the end starts, an exponent included.
fn unit_start(part: &[Token]) -> Option<usize> {
    use Token::{Letter, Number, Symbol, Text, Word};
    let body = match part {
        [body @ .., Symbol("^"), Number(_)] => body,
        [body @ .., Symbol("^"), Symbol("{"), Number(_), Symbol("}")] => body,
        [body @ .., Symbol("^"), Symbol("{"), Symbol("-"), Number(_), Symbol("}")] => body,
        body => body,
    };
    match body {
        [kept @ .., Text(_) | Word(_)] => Some(kept.len()),
        [kept @ .., Token::Function(Function::Min) | Symbol("sec")] => Some(kept.len()),
        // Degrees Celsius and Fahrenheit.
        [.., Symbol("circ"), Letter('C' | 'F')] => Some(body.len() - 1),
        [.., Symbol("circ"), Symbol("}"), Letter('C' | 'F')] => Some(body.len() - 1),
        _ => {
            let letters = body.iter().rev().take_while(|t| matches!(t, Letter(_))).count();
            let start = body.len() - letters;
            let unit = spelled(&body[start..])?;
            UNITS.contains(&unit.as_str()).then_some(start)
        }
    }
}

/// Whether a number stands there and no variable or word.
fn is_number(part: &[Token]) -> bool {
    use Token::{Letter, Name, Number, Text, Word};
    part.iter().any(|token| matches!(token, Number(_)))
        && !part.iter().any(|token| matches!(token, Letter(_) | Name(_) | Word(_) | Text(_)))
}

#[cfg(test)]
mod tests {
    use super::super::lexer::tokens;
    use super::*;

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
        ] {
            assert_eq!(tidy(tokens(text).unwrap()), tokens(expected).unwrap(), "{text}");
        }
        for text in ["3t", "2x + 3m", "x", r"\text{cm}", "m", "5/m", "xm", "(5 m, 2)"] {
            assert_eq!(tidy(tokens(text).unwrap()), tokens(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn words_in_a_row_are_one() {
        let word = |text: &str| vec![Token::Word(text.into())];
        assert_eq!(tidy(tokens("no solution").unwrap()), word("nosolution"));
        assert_eq!(tidy(tokens("Blue Whale").unwrap()), word("bluewhale"));
        assert_eq!(tidy(tokens("Größe").unwrap()), word("größe"));
        assert_eq!(tidy(tokens("a b").unwrap()).len(), 2);
    }
}
