//! Tables: what words, commands and characters mean.

use super::expr::Function;
use super::token::Token;

/// What a run of letters means, in plain text or after a backslash.
pub fn word(name: &str) -> Option<Token> {
    use Function::*;
    Some(match name {
        "sin" => Token::Function(Sin),
        "cos" => Token::Function(Cos),
        "tan" => Token::Function(Tan),
        "arcsin" | "asin" => Token::Function(Arcsin),
        "arccos" | "acos" => Token::Function(Arccos),
        "arctan" | "atan" => Token::Function(Arctan),
        "sinh" => Token::Function(Sinh),
        "cosh" => Token::Function(Cosh),
        "tanh" => Token::Function(Tanh),
        "arcsinh" | "arsinh" => Token::Function(Arsinh),
        "arccosh" | "arcosh" => Token::Function(Arcosh),
        "arctanh" | "artanh" => Token::Function(Artanh),
        "abs" => Token::Function(Abs),
        "floor" => Token::Function(Floor),
        "ceil" => Token::Function(Ceil),
        "max" => Token::Function(Max),
        "min" => Token::Function(Min),
        "cot" => Token::Symbol("cot"),
        "sec" => Token::Symbol("sec"),
        "csc" => Token::Symbol("csc"),
        "ln" => Token::Symbol("ln"),
        "log" | "lg" => Token::Symbol("log"),
        "exp" => Token::Symbol("exp"),
        "sqrt" => Token::Symbol("sqrt"),
        "pi" => Token::Symbol("pi"),
        "infty" | "infinity" | "inf" | "oo" => Token::Symbol("infty"),
        "and" => Token::Symbol("and"),
        "or" => Token::Symbol("or"),
        "percent" | "percentage" | "pct" => Token::Symbol("%"),
        _ => return None,
    })
}

/// The meaning of a command that has none in plain text.
pub fn command(name: &str) -> Option<Token> {
    Some(Token::Symbol(match name {
        "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" | "flatfrac" => "frac",
        "over" => "over",
        "choose" => "choose",
        "binom" | "dbinom" | "tbinom" => "binom",
        "cdot" | "times" | "ast" => "*",
        "div" => "/",
        "pm" => "pm",
        "mp" => "mp",
        "le" | "leq" | "leqslant" => "<=",
        "ge" | "geq" | "geqslant" => ">=",
        "lt" => "<",
        "gt" => ">",
        "ne" | "neq" => "!=",
        "approx" | "simeq" => "approx",
        "in" => "in",
        "equiv" => "=",
        "mid" => "mid",
        "cup" => "cup",
        "cap" => "cap",
        "setminus" | "smallsetminus" | "backslash" => "setminus",
        "emptyset" | "varnothing" => "emptyset",
        "circ" | "degree" => "circ",
        "lfloor" => "lfloor",
        "rfloor" => "rfloor",
        "lceil" => "lceil",
        "rceil" => "rceil",
        "vert" | "lvert" | "rvert" => "|",
        "langle" => "langle",
        "rangle" => "rangle",
        "lbrace" => "\\{",
        "rbrace" => "\\}",
        "lbrack" => "[",
        "rbrack" => "]",
        "land" | "wedge" => "and",
        "lor" | "vee" => "or",
        "colon" => ":",
        _ => return None,
    }))
}

/// The meaning of a single character, ASCII or not.
pub fn character(c: char) -> Option<&'static str> {
    Some(match c {
        '+' | '＋' => "+",
        '-' | '−' | '–' | '—' => "-",
        '*' | '×' | '·' | '⋅' | '∙' => "*",
        '/' | '÷' | '∕' | '⁄' => "/",
        ':' | '∶' => ":",
        '^' => "^",
        '_' => "_",
        '!' => "!",
        '%' => "%",
        '(' | '（' => "(",
        ')' | '）' => ")",
        '[' => "[",
        ']' => "]",
        '{' => "{",
        '}' => "}",
        '|' => "|",
        '&' => "&",
        ',' | '，' => ",",
        ';' => ";",
        '=' => "=",
        '<' => "<",
        '>' => ">",
        '≤' | '⩽' => "<=",
        '≥' | '⩾' => ">=",
        '≠' => "!=",
        '≈' => "approx",
        '±' => "pm",
        '∓' => "mp",
        '√' => "sqrt",
        'π' => "pi",
        '∞' => "infty",
        '∪' => "cup",
        '∩' => "cap",
        '∈' => "in",
        '∅' => "emptyset",
        '∖' => "setminus",
        'ℝ' => "reals",
        '°' => "circ",
        '⌊' => "lfloor",
        '⌋' => "rfloor",
        '⌈' => "lceil",
        '⌉' => "rceil",
        '⟨' => "langle",
        '⟩' => "rangle",
        _ => return None,
    })
}

/// Numerator and denominator of a single-character fraction.
pub fn fraction(c: char) -> Option<(u32, u32)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        _ => return None,
    })
}

/// The unit of a currency sign.
pub fn currency(c: char) -> Option<&'static str> {
    Some(match c {
        '$' => "dollar",
        '€' => "euro",
        '£' => "sterling",
        '¥' => "yen",
        '₹' => "rupee",
        '¢' => "cent",
        _ => return None,
    })
}

/// Whether an environment aligns equations and is no matrix.
pub fn aligns(environment: &str) -> bool {
    let name = environment.trim_end_matches('*');
    matches!(name, "align" | "aligned" | "equation" | "gather" | "gathered" | "split")
}

/// Two characters that form one sign.
pub fn pair(first: char, second: char) -> Option<&'static str> {
    Some(match (first, second) {
        ('<', '=') => "<=",
        ('>', '=') => ">=",
        ('!', '=') => "!=",
        ('=', '=') => "=",
        ('*', '*') => "^",
        _ => return None,
    })
}

/// Greek letters that are variables, as commands; upper and lower case are the same.
pub const GREEK: [&str; 26] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "ell",
];

/// The name of a Greek letter.
pub fn greek(c: char) -> Option<&'static str> {
    let letters = "αβγδε\u{3F5}ζηθϑικλμνξρστυφ\u{3D5}χψωℓ";
    let lower = c.to_lowercase().next()?;
    letters.chars().position(|letter| letter == lower).map(|place| GREEK[place])
}

/// The digit or minus sign of a superscript character.
pub fn superscript(c: char) -> Option<char> {
    let digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    match digits.chars().position(|digit| digit == c) {
        Some(digit) => char::from_digit(digit as u32, 10),
        None => (c == '⁻').then_some('-'),
    }
}
