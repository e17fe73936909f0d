//! The tokens of the language in which answers are written.

use super::expr::{Expr, Function, Number};

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number without sign.
    Number(Number),
    /// A letter that is a variable.
    Letter(char),
    /// Up to three letters in a row, variables or a word, and whether a space precedes them.
    /// [`tidy`](super::normal::tidy) turns those that are left into letters.
    Run(String, bool),
    /// A variable with a longer name: `\alpha`, `\vec{v}`.
    Name(String),
    /// Four letters or more.
    Word(String),
    /// The contents of `\text{…}` and the like: lower case, words and digits with single spaces
    /// between.
    Text(String),
    /// A currency sign, as its unit.
    Currency(&'static str),
    /// A factor on a number or a unit, from a word after a number.
    Scale(Expr),
    /// A function of one argument, or `max`, `min`.
    Function(Function),
    /// The start of an environment: `pmatrix`.
    Begin(String),
    /// Everything else, by a plain name: "+", "<=", "frac". LaTeX's grouping braces are "{" and "}",
    /// visible ones "\\{" and "\\}".
    Symbol(&'static str),
}
