//! Turns text into tokens: LaTeX, plain text and Unicode in one spelling. What only affects typesetting
//! (spacing, sizes, dollar signs, quotes) is dropped.

use super::expr::{Number, Reading};
use super::token::Token;
use super::words::{self, GREEK, character, command, greek, pair, superscript, word};

/// The tokens of `text`.
pub fn tokens(text: &str) -> Reading<Vec<Token>> {
    let mut lexer = Lexer::new(text);
    while let Some(c) = lexer.peek(0) {
        lexer.token(c)?;
    }
    Ok(lexer.tokens)
}

/// The tokens of a text that is only partly mathematics: whatever can't be read becomes the symbol "?".
pub fn tokens_among_words(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    while let Some(c) = lexer.peek(0) {
        let start = lexer.at;
        if lexer.token(c).is_err() {
            lexer.at = lexer.at.max(start + 1);
            lexer.tokens.push(Token::Symbol("?"));
        }
    }
    lexer.tokens
}

/// Splits a text into tokens.
pub struct Lexer {
    /// The text.
    pub text: Vec<char>,
    /// Where the next character is.
    pub at: usize,
    /// The tokens so far.
    pub tokens: Vec<Token>,
    /// How many brackets are open: inside brackets, 1,234 is two numbers.
    pub brackets: usize,
    /// How many of the next digits are separate arguments: \frac12 is 1/2.
    pub digits_alone: usize,
    /// Whether `\\` ends a matrix row. Elsewhere it starts a command, in text that was JSON-encoded
    /// once too often.
    rows: bool,
    /// Whether a single $ is a currency sign: the $ around formulas come in pairs.
    money: bool,
    /// How many open environments only align equations.
    aligned: usize,
}

impl Lexer {
    fn new(text: &str) -> Self {
        let rows = text.contains("\\begin");
        // A colon in braces is a colon without the space around it.
        let text: Vec<char> = text.replace("{:}", ":").chars().collect();
        let dollar = |at: &usize| text[*at] == '$' && (*at == 0 || text[at - 1] != '\\');
        let money = (0..text.len()).filter(dollar).count() % 2 == 1;
        let (tokens, at, brackets, digits_alone, aligned) = (Vec::new(), 0, 0, 0, 0);
        Self { text, at, tokens, brackets, digits_alone, rows, money, aligned }
    }

    /// The character `ahead` places further on.
    pub fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Whether `prefix` comes next.
    pub fn starts_with(&self, prefix: &str) -> bool {
        prefix.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    /// The characters that come next, as long as they are `wanted`.
    pub fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
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
        self.at += 1;
        if c == '\\' {
            return self.command();
        }
        if c == '.' && self.starts_with("..") {
            self.at += 2;
            self.tokens.push(Token::Name("ldots".into()));
            return Ok(());
        }
        // Abbreviations: "p.m.", "sq. ft.".
        let abbreviates = matches!(self.tokens.last(), Some(Token::Run(..) | Token::Word(_)));
        if c == '.' && abbreviates || c == '&' && self.aligned > 0 {
            return Ok(());
        }
        if let Some((upper, lower)) = words::fraction(c) {
            let number = |n: u32| Token::Number(Number::integer(n.into()));
            self.tokens.extend([Token::Symbol("frac"), number(upper), number(lower)]);
        } else if let Some(power) = superscript(c) {
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
        } else if let Some(unit) = words::currency(c).filter(|_| c != '$' || self.money) {
            self.tokens.push(Token::Currency(unit));
        } else if !c.is_whitespace() && !"$'’′\"~∴⇒".contains(c) {
            return Err("it has a character that is not mathematics");
        }
        Ok(())
    }

    /// A run of letters: a word with a meaning, a word without one, or variables.
    fn letters(&mut self) {
        let spaced = self.at > 0 && " \u{a0}~\t\n,".contains(self.text[self.at - 1]);
        let run = self.take_while(is_letter);
        let lower = run.to_lowercase();
        let next = self.text[self.at..].iter().find(|c| !c.is_whitespace());
        match (&*run, self.tokens.last(), next) {
            // 6.02 x 10^23
            ("x" | "X", Some(Token::Number(_)), Some('0'..='9'))
                if spaced || self.starts_with("10^") =>
            {
                return self.symbol("*");
            }
            ("U", Some(Token::Symbol(")" | "]" | "\\}")), Some('(' | '[' | '{' | '\\')) => {
                return self.symbol("cup");
            }
            _ => {}
        }
        if let Some(token) = word(&lower) {
            return self.push_known(token);
        }
        // "sinx": a function and its variable.
        let variable = lower.chars().last().filter(|last| "xyt".contains(*last));
        let function = variable.and_then(|_| word(&lower[..lower.len() - 1]));
        if let Some(token @ (Token::Function(_) | Token::Symbol("ln" | "log"))) = function {
            self.push_known(token);
            self.tokens.extend(variable.map(|v| Token::Run(v.into(), false)));
        } else if GREEK.contains(&lower.as_str()) {
            self.tokens.push(Token::Name(lower));
        } else if run.len() >= 4 || !run.is_ascii() {
            self.tokens.push(Token::Word(lower));
        } else {
            self.tokens.push(Token::Run(run, spaced));
        }
    }

    fn push_known(&mut self, token: Token) {
        match token {
            Token::Symbol(symbol) => self.symbol(symbol),
            token => self.tokens.push(token),
        }
    }

    /// The contents of the braces that come next, or the letter or digit there.
    pub fn braced(&mut self) -> Option<String> {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        if rest.first().is_some_and(|&c| is_letter(c) || c.is_ascii_digit()) {
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
        // A backslash and a space, whose space was trimmed at the end of the text.
        let Some(first) = self.peek(0) else { return Ok(()) };
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            let symbol = match first {
                '\\' if self.aligned > 0 => {
                    self.skip_spaces();
                    // "x &= 3 + 4 \\ &= 7" is a chain of equations; other lines are separate answers.
                    match self.peek(0) {
                        Some('&') | None => return Ok(()),
                        _ => ",",
                    }
                }
                '\\' if self.rows => "\\\\",
                '\\' if self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) => {
                    return self.command();
                }
                '{' => "\\{",
                '}' => "\\}",
                '%' => "%",
                '&' => "and",
                '$' => {
                    self.tokens.push(Token::Currency("dollar"));
                    return Ok(());
                }
                ',' | ';' | ':' | '!' | '(' | ')' | '[' | ']' | '#' => return Ok(()),
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
            | "qquad" | "prime" | "rm" | "bf" | "it" | "sf" | "tt" | "therefore" | "because"
            | "Rightarrow" | "implies" | "Longrightarrow" | "tiny" | "scriptsize"
            | "footnotesize" | "small" | "normalsize" | "large" | "Large" | "LARGE" | "huge"
            | "Huge" | "scriptstyle" | "nonumber" | "notag" | "middle" | "displaylimits"
            | "checkmark" | "bold" | "underline" | "uline" | "bm" | "cancel" | "ensuremath"
            | "mathop" | "boxed" | "fbox" | "framebox" | "emph" | "underbrace" | "hbox" => {}
            "color" | "textcolor" | "tag" | "label" | "hspace" | "vspace" | "phantom"
            | "hphantom" | "vphantom" => {
                self.braced();
            }
            "pmod" | "mod" | "bmod" => {
                // The modulus in n ≡ 3 (mod 7).
                self.skip_spaces();
                if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                    self.braced();
                }
            }
            "text" | "textbf" | "textit" | "textrm" | "textsf" | "texttt" | "textnormal"
            | "mbox" | "mathrm" | "mathbf" | "mathit" | "mathsf" | "mathtt" | "boldsymbol"
            | "operatorname" => {
                let content = self.braced().ok_or("it has a \\text without braces")?;
                return self.text_command(&name, &content);
            }
            "angle" | "triangle" | "measuredangle" | "widehat" | "overarc" | "arc" => {
                self.skip_spaces();
                let points = match self.peek(0) {
                    Some('{') => self.braced().unwrap_or_default(),
                    _ => self.take_while(|c| c.is_ascii_alphabetic()),
                };
                self.tokens.push(Token::Name(format!("{name} {points}")));
            }
            "ldots" | "dots" | "cdots" | "dotsc" => self.tokens.push(Token::Name("ldots".into())),
            "mathbb" | "mathcal" | "vec" | "overrightarrow" | "overline" | "bar" | "hat"
            | "tilde" | "dot" => {
                let content = self.braced().ok_or("it has an accent without braces")?;
                match content.as_str() {
                    "R" if name == "mathbb" => self.symbol("reals"),
                    content => self.tokens.push(Token::Name(format!("{name} {content}"))),
                }
            }
            "begin" => {
                let name = self.braced().ok_or("it has a \\begin without braces")?;
                if words::aligns(&name) {
                    self.aligned += 1;
                    return Ok(());
                }
                if name == "array" {
                    self.braced();
                }
                self.brackets += 1;
                self.tokens.push(Token::Begin(name));
            }
            "end" => {
                let name = self.braced().ok_or("it has an \\end without braces")?;
                if words::aligns(&name) {
                    self.aligned = self.aligned.saturating_sub(1);
                    return Ok(());
                }
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
        let plain = |c: char| if c.is_alphanumeric() || c == '/' { c } else { ' ' };
        let text: String = content.to_lowercase().chars().map(plain).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_name = command.starts_with("math") && !UNIT_LETTERS.contains(&text);
        // Plain text such as "5 apples", or a formula in bold.
        let number = |c: char| c.is_ascii_digit() || "-−.$".contains(c);
        let is_formula = content.contains('\\')
            || content.trim_start().starts_with(number)
            || !content.chars().any(is_letter);
        match word(&text) {
            Some(token @ Token::Symbol("and" | "or" | "%" | "infty")) => self.push_known(token),
            Some(token) if matches!(command, "mathrm" | "operatorname") => self.push_known(token),
            _ if is_formula => self.tokens.extend(tokens(content)?),
            _ if text.chars().count() == 1 && is_name => {
                self.tokens.extend(content.chars().map(Token::Letter));
            }
            _ => self.tokens.push(Token::Text(text)),
        }
        Ok(())
    }
}

/// Letters that are units inside `\mathrm`, rather than variables.
const UNIT_LETTERS: &str = "mgsh";

/// Whether a letter belongs to a word: Greek letters are variables.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() && greek(c).is_none() && character(c).is_none()
}
