//! Text to tokens: LaTeX, plain text and Unicode under one spelling. What only sets type (spacing,
//! sizes, dollar signs, quotes) is gone afterwards.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, Zero};

use super::expr::{Function, Number, Reading};
use super::words::{GREEK, character, command, greek, pair, superscript, word};

/// The largest power of ten in a number such as 1e300.
const MAX_EXPONENT: i32 = 2_000;

/// A word of the language that answers are written in.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number without sign.
    Number(Number),
    /// A letter on its own, or in a row of up to three.
    Letter(char),
    /// A variable with a longer name: `\alpha`, `\vec{v}`.
    Name(String),
    /// Four letters or more.
    Word(String),
    /// What `\text{…}` and its like hold: lower case, without spaces and brackets.
    Text(String),
    /// A function of one argument, or `max`, `min`.
    Function(Function),
    /// The start of an environment: `pmatrix`.
    Begin(String),
    /// Everything else, by a plain name: "+", "<=", "frac". LaTeX's grouping braces are "{" and
    /// "}", those that are seen are "\\{" and "\\}".
    Symbol(&'static str),
}

/// The tokens of `text`.
pub fn tokens(text: &str) -> Reading<Vec<Token>> {
    let rows = text.contains("\\begin");
    let text: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), brackets: 0, digits_alone: 0, rows };
    while let Some(c) = lexer.peek(0) {
        lexer.token(c)?;
    }
    Ok(lexer.tokens)
}

struct Lexer {
    text: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
    /// Open brackets: among them 1,234 is two numbers.
    brackets: usize,
    /// How many of the next digits are arguments of their own: \frac12 is 1/2.
    digits_alone: usize,
    /// Whether `\\` ends a matrix's row. Elsewhere it starts a command, in text that went through
    /// one JSON encoding too many.
    rows: bool,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn starts_with(&self, prefix: &str) -> bool {
        prefix.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn symbol(&mut self, symbol: &'static str) {
        match symbol {
            "(" | "[" | "\\{" | "langle" => self.brackets += 1,
            ")" | "]" | "\\}" | "rangle" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        let base = symbol == "_" && self.tokens.last() == Some(&Token::Symbol("log"));
        self.digits_alone = usize::from(base);
        self.tokens.push(Token::Symbol(symbol));
    }

    fn token(&mut self, c: char) -> Reading<()> {
        let starts_decimal = c == '.' && self.peek(1).is_some_and(|d| d.is_ascii_digit());
        if c.is_ascii_digit() || starts_decimal {
            return self.number();
        }
        if is_letter(c) {
            self.letters();
            return Ok(());
        }
        if self.starts_with(":00") && !self.peek(3).is_some_and(|d| d.is_ascii_digit()) {
            // A time: 12:00 is 12, rather than a ratio to nothing.
            self.at += 3;
            return Ok(());
        }
        self.at += 1;
        if c == '\\' {
            return self.command();
        }
        if let Some(power) = superscript(c) {
            let mut power = String::from(power);
            while let Some(next) = self.peek(0).and_then(superscript) {
                power.push(next);
                self.at += 1;
            }
            self.tokens.extend([Token::Symbol("^"), Token::Symbol("{")]);
            self.tokens.extend(tokens(&power)?);
            self.tokens.push(Token::Symbol("}"));
        } else if let Some(sign) = self.peek(0).and_then(|next| pair(c, next)) {
            self.at += 1;
            self.symbol(sign);
        } else if let Some(name) = greek(c) {
            self.tokens.push(Token::Name(name.into()));
        } else if let Some(symbol) = character(c) {
            self.symbol(symbol);
        } else if !c.is_whitespace() && !"$€£¥'’′\"~".contains(c) {
            return Err("it has a character that is not mathematics");
        }
        Ok(())
    }

    /// A run of letters: a word that means something, a word that doesn't, or variables.
    fn letters(&mut self) {
        let run = self.take_while(is_letter);
        let lower = run.to_lowercase();
        if let Some(token) = word(&lower) {
            return self.push_known(token);
        }
        // "sinx": a function and its variable.
        let variable = lower.chars().last().filter(|last| "xyt".contains(*last));
        let function = variable.and_then(|_| word(&lower[..lower.len() - 1]));
        if let Some(token @ (Token::Function(_) | Token::Symbol("ln" | "log"))) = function {
            self.push_known(token);
            self.tokens.extend(variable.map(Token::Letter));
        } else if GREEK.contains(&lower.as_str()) {
            self.tokens.push(Token::Name(lower));
        } else if run.len() >= 4 || !run.is_ascii() {
            self.tokens.push(Token::Word(lower));
        } else {
            self.tokens.extend(run.chars().map(Token::Letter));
        }
    }

    fn push_known(&mut self, token: Token) {
        match token {
            Token::Symbol(symbol) => self.symbol(symbol),
            token => self.tokens.push(token),
        }
    }

    fn number(&mut self) -> Reading<()> {
        if self.digits_alone > 0 {
            self.digits_alone -= 1;
            let digit = self.peek(0).and_then(|c| c.to_digit(10)).ok_or("it has a lone point")?;
            self.at += 1;
            self.tokens.push(Token::Number(Number::integer(digit.into())));
            return Ok(());
        }
        let mut digits = self.take_while(|c| c.is_ascii_digit());
        digits += &self.thousands(digits.len());
        let mut decimals = String::new();
        let decimal = self.peek(0) == Some('.') && self.peek(1) != Some('.');
        if decimal {
            self.at += 1;
            decimals = self.take_while(|c| c.is_ascii_digit());
        }
        let scale = -(decimals.len() as i32);
        let mut value = integer(&(digits + &decimals)) * ten_to(scale);
        let mut repeats = false;
        if decimal && (self.starts_with("\\overline{") || self.starts_with("\\bar{")) {
            self.take_while(|c| c != '{');
            let period = self.braced().filter(|p| p.chars().all(|c| c.is_ascii_digit()));
            let period = period.filter(|p| !p.is_empty()).ok_or("its decimals repeat no digits")?;
            let nines = ten_to(period.len() as i32) - integer("1");
            value += integer(&period) / nines * ten_to(scale);
            repeats = true;
        }
        if let Some(exponent) = self.exponent()? {
            value *= ten_to(exponent);
        }
        let decimal = !decimals.is_empty() && !repeats;
        self.tokens
            .push(Token::Number(Number::new(value, decimal).ok_or("its numbers are too long")?));
        Ok(())
    }

    /// The digits after thousands separators: 1,234 and 1{,}234 and 1\,234 and 1 234.
    fn thousands(&mut self, first_group: usize) -> String {
        let start = self.at - first_group;
        if self.text.get(start) == Some(&'0') || first_group > 3 {
            return String::new();
        }
        // 5,1,234 is a list.
        let listed = self.brackets > 0 || start > 0 && self.text[start - 1] == ',';
        for separator in ["{,}", "\\,", "\\!,", ",\\!", ",\\! ", "\\ ", ",", " "] {
            if separator == "," && listed {
                continue;
            }
            let start = self.at;
            let mut groups = String::new();
            while self.starts_with(separator) {
                let before = self.at;
                self.at += separator.len();
                let group = self.take_while(|c| c.is_ascii_digit());
                if group.len() != 3 {
                    self.at = before;
                    break;
                }
                groups += &group;
            }
            // 1,234,5 is a list, and 1 234/567 has a fraction.
            let next = self.text[self.at..].iter().find(|c| !c.is_whitespace());
            let list = self.starts_with(separator)
                && self.peek(separator.len()).is_some_and(|c| c.is_ascii_digit());
            if groups.is_empty() || list || (separator == " " && next == Some(&'/')) {
                self.at = start;
            } else {
                return groups;
            }
        }
        String::new()
    }

    /// What stands after the e of 1.5e-3.
    fn exponent(&mut self) -> Reading<Option<i32>> {
        let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
        let digits = self.peek(1 + signed).is_some_and(|c| c.is_ascii_digit());
        if !matches!(self.peek(0), Some('e' | 'E')) || !digits {
            return Ok(None);
        }
        let negative = self.peek(1) == Some('-');
        self.at += 1 + signed;
        let exponent = self.take_while(|c| c.is_ascii_digit()).parse::<i32>().ok();
        let exponent =
            exponent.filter(|&e| e <= MAX_EXPONENT).ok_or("its exponents are too large")?;
        Ok(Some(if negative { -exponent } else { exponent }))
    }

    /// What stands in the braces that come next, or the letter there.
    fn braced(&mut self) -> Option<String> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        if rest.first().copied().is_some_and(is_letter) {
            self.at += 1;
            return Some(rest[0].into());
        }
        let mut depth = 0;
        let end = rest.iter().position(|&c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth <= 0
        })?;
        self.at += end + 1;
        (rest[end] == '}' && end > 0).then(|| rest[1..end].iter().collect())
    }

    /// A command, after its backslash.
    fn command(&mut self) -> Reading<()> {
        let Some(first) = self.peek(0) else { return Err("it ends in a backslash") };
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            let symbol = match first {
                '\\' if self.rows => "\\\\",
                '\\' if self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) => {
                    return self.command();
                }
                '{' => "\\{",
                '}' => "\\}",
                '%' => "%",
                ',' | ';' | ':' | '!' | '(' | ')' | '[' | ']' | '$' => return Ok(()),
                c if c.is_whitespace() => return Ok(()),
                _ => return Err("it has an unknown command"),
            };
            self.symbol(symbol);
            return Ok(());
        }
        let name = self.take_while(|c| c.is_ascii_alphabetic());
        match name.as_str() {
            "left" | "right" | "mleft" | "mright" if self.peek(0) == Some('.') => self.at += 1,
            "left" | "right" | "mleft" | "mright" | "big" | "Big" | "bigg" | "Bigg" | "bigl"
            | "bigr" | "Bigl" | "Bigr" | "displaystyle" | "textstyle" | "limits" | "quad"
            | "qquad" | "prime" | "rm" | "bf" => {}
            "text" | "textbf" | "textit" | "textrm" | "textnormal" | "mbox" | "mathrm"
            | "mathbf" | "mathit" | "mathsf" | "boldsymbol" | "operatorname" => {
                let content = self.braced().ok_or("it has a \\text without braces")?;
                return self.text_command(&name, &content);
            }
            "mathbb" | "mathcal" | "vec" | "overrightarrow" | "overline" | "bar" | "hat"
            | "widehat" | "tilde" | "dot" => {
                let content = self.braced().ok_or("it has an accent without braces")?;
                match content.as_str() {
                    "R" if name == "mathbb" => self.symbol("reals"),
                    content => self.tokens.push(Token::Name(format!("{name} {content}"))),
                }
            }
            "begin" => {
                let name = self.braced().ok_or("it has a \\begin without braces")?;
                if name == "array" {
                    self.braced();
                }
                self.brackets += 1;
                self.tokens.push(Token::Begin(name));
            }
            "end" => {
                self.braced().ok_or("it has an \\end without braces")?;
                self.brackets = self.brackets.saturating_sub(1);
                self.symbol("end");
            }
            name => match command(name).or_else(|| word(name)) {
                Some(token) => {
                    self.push_known(token);
                    self.digits_alone = match self.tokens.last() {
                        Some(Token::Symbol("frac" | "binom")) => 2,
                        Some(Token::Symbol("sqrt")) => 1,
                        _ => 0,
                    };
                }
                None if GREEK.contains(&name.to_ascii_lowercase().as_str()) => {
                    self.tokens.push(Token::Name(name.to_ascii_lowercase()));
                }
                None => return Err("it has an unknown command"),
            },
        }
        Ok(())
    }

    fn text_command(&mut self, command: &str, content: &str) -> Reading<()> {
        let plain = |c: char| c.is_alphanumeric() || c == '/';
        let text: String = content.to_lowercase().chars().filter(|&c| plain(c)).collect();
        let is_name = command.starts_with("math") && !UNIT_LETTERS.contains(&text);
        match word(&text) {
            _ if text.is_empty() => {}
            Some(token @ Token::Symbol("and" | "or" | "%")) => self.push_known(token),
            Some(token) if matches!(command, "mathrm" | "operatorname") => self.push_known(token),
            _ if !content.chars().any(is_letter) => self.tokens.extend(tokens(content)?),
            _ if text.chars().count() == 1 && is_name => {
                self.tokens.extend(content.chars().map(Token::Letter));
            }
            _ => self.tokens.push(Token::Text(text)),
        }
        Ok(())
    }
}

/// Letters that are units where a `\mathrm` stands around them, rather than variables.
const UNIT_LETTERS: &str = "mgsh";

/// A letter of a word: Greek ones are variables.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && greek(c).is_none() && character(c).is_none()
}

fn integer(digits: &str) -> BigRational {
    digits.parse::<BigInt>().unwrap_or_else(|_| BigInt::zero()).into()
}

fn ten_to(exponent: i32) -> BigRational {
    Pow::pow(BigRational::from(BigInt::from(10)), exponent)
}
