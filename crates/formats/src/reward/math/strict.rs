//! What a rewarded answer must satisfy beyond its value. Reinforcement finds whatever equals the gold
//! answer and is easier to write: the question's own expression, an unfinished sum, a false equation
//! that ends in one of them ("186 = 96 + 60 - 36" for 120).

use super::Answer;
use super::expr::Number;
use super::lexer::tokens_among_words;
use super::token::Token::{self, Letter, Run, Symbol, Text, Word};
use super::value::Value;

/// Whether `given`, which has the value of `gold`, may be rewarded:
///
/// 1. No equation between numbers in it is false.
/// 2. Where the gold answer is a number, no arithmetic is left to do.
/// 3. It is more than an expression of the prompt with the gold answer's value: it is either written
///    like the gold answer, or is the same number in digits.
/// 4. It is of the gold answer's kind where a looser reading accepts two kinds: a point is no
///    inequality, and a set in braces no point.
pub fn may_be_rewarded(gold: &Answer, given: &Answer, prompt: &str) -> bool {
    let worked_out = |token: &Token| {
        !matches!(token, Token::Function(_) | Symbol("!" | "binom" | "choose" | "ln" | "log"))
    };
    let plain = !gold.arithmetic && gold.tokens.iter().all(worked_out);
    let undone = gold.value.is_numeric() && plain && given.arithmetic;
    !given.false_equation && !undone && same_kind(gold, given) && !copied(gold, given, prompt)
}

fn same_kind(gold: &Answer, given: &Answer) -> bool {
    let finite = |value: &Value| matches!(value, Value::Scalar(expr) if expr.infinity().is_none());
    match (&gold.value, &given.value) {
        (Value::Tuple(ends), Value::Relation(_) | Value::Region(_)) => !ends.iter().all(finite),
        (Value::Set(_), Value::Tuple(_)) => !gold.tokens.contains(&Symbol("\\{")),
        _ => true,
    }
}

/// Whether the answer is copied from the prompt and right for its value alone.
fn copied(gold: &Answer, given: &Answer, prompt: &str) -> bool {
    let wanted = flat(&gold.tokens);
    let sides = [given.tokens.as_slice(), last_side(&given.tokens)];
    let sides = sides.map(flat);
    if prompt.is_empty() || sides.iter().any(|side| *side == wanted || same_number(side, &wanted)) {
        return false;
    }
    let prompt = flat(&tokens_among_words(prompt));
    sides.iter().any(|side| prompt.windows(side.len().max(1)).any(|window| window == side))
}

/// The tokens right of the last equals sign.
fn last_side(tokens: &[Token]) -> &[Token] {
    let sign = tokens.iter().rposition(|token| matches!(token, Symbol("=")));
    sign.map_or(tokens, |at| &tokens[at + 1..])
}

/// Whether both are the same number in digits, with or without a percent sign.
fn same_number(a: &[Token], b: &[Token]) -> bool {
    let number = |tokens: &[Token]| match tokens {
        [Token::Number(n)] | [Token::Number(n), Symbol("%")] => Some(n.value.clone()),
        [Symbol("-"), Token::Number(n)] | [Symbol("-"), Token::Number(n), Symbol("%")] => {
            Some(-n.value.clone())
        }
        _ => None,
    };
    number(a).is_some() && number(a) == number(b)
}

/// Tokens in one spelling, without pure grouping: 3/4 for \frac{3}{4}, signs for words.
fn flat(tokens: &[Token]) -> Vec<Token> {
    let mut flat = Vec::new();
    // Where each open fraction's numerator ends, for the slash.
    let mut fractions: Vec<usize> = Vec::new();
    let mut depth = 0;
    let number = |n: i64| Token::Number(Number::integer(n));
    for token in tokens {
        match token {
            Symbol("frac") => {
                fractions.push(depth);
                continue;
            }
            Symbol("{") => {
                depth += 1;
                continue;
            }
            Symbol("}") => depth = depth.saturating_sub(1),
            Symbol("(" | ")" | "[" | "]") => continue,
            Symbol("over") => flat.push(Symbol("/")),
            Run(letters, _) => flat.extend(letters.to_lowercase().chars().map(Letter)),
            Letter(letter) => flat.extend(letter.to_lowercase().map(Letter)),
            Word(word) | Text(word) => match &**word {
                "plus" => flat.push(Symbol("+")),
                "minus" => flat.push(Symbol("-")),
                "times" => flat.push(Symbol("*")),
                "divided" => flat.push(Symbol("/")),
                "squared" => flat.extend([Symbol("^"), number(2)]),
                "cubed" => flat.extend([Symbol("^"), number(3)]),
                word => flat.push(Word(word.replace(' ', ""))),
            },
            token => flat.push(token.clone()),
        }
        if fractions.last() == Some(&depth) {
            fractions.pop();
            flat.push(Symbol("/"));
        }
    }
    // "12 divided by 4"
    let by = [Letter('b'), Letter('y')];
    let mut kept: Vec<Token> = Vec::with_capacity(flat.len());
    for token in flat {
        kept.push(token);
        if matches!(kept.as_slice(), [.., Symbol("/"), a, b] if [a, b] == [&by[0], &by[1]]) {
            kept.truncate(kept.len() - 2);
        }
    }
    kept
}
