//! The words of the language that answers are written in.

use super::expr::{Expr, Function, Number};

/// What the lexer makes of a text, piece by piece.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number without sign.
    Number(Number),
    /// A letter that is a variable.
    Letter(char),
    /// Up to three letters in a row, variables or a word, and whether a space stands before them.
    /// [`tidy`](super::normal::tidy) makes letters of those that are left.
    Run(String, bool),
    /// A variable with a longer name: `\alpha`, `\vec{v}`.
    Name(String),
    /// Four letters or more.
    Word(String),
    /// What `\text{…}` and its like hold: lower case, words and digits with single spaces between.
    Text(String),
    /// A currency's sign, by its unit.
    Currency(&'static str),
    /// Times a number or a unit: what a word behind a number says of it.
    Scale(Expr),
    /// A function of one argument, or `max`, `min`.
    Function(Function),
    /// The start of an environment: `pmatrix`.
    Begin(String),
    /// Everything else, by a plain name: "+", "<=", "frac". LaTeX's grouping braces are "{" and
    /// "}", those that are seen are "\\{" and "\\}".
    Symbol(&'static str),
}
