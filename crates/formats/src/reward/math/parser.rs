//! Tokens to a value, by recursive descent of bounded depth:
//!
//! ```text
//! answer    element ((',' | ';' | and | or) element)*
//! element   relation, read twice where it holds a ±
//! relation  sets (('=' | '<' | …) sets)*
//! sets      ratio (('∪' | '∩' | '∖') ratio)*
//! ratio     sum (':' sum)*
//! sum       product (('+' | '-') product)*, over or choose another
//! product   row (('*' | '/') row)*
//! row       '-' row | factor factor …, so that 1/2x is 1/(2x)
//! factor    atom ('!' | '%' | '^' atom | '_' …)*
//! ```

use num_rational::BigRational;

use super::compare::equal;
use super::expr::{self, Constant, Expr, Function, Number, Reading, call, power, quotient};
use super::numeric::real_value;
use super::token::Token::{self, Letter, Symbol, Text};
use super::value::{self, SetOperation, Sign, Value};

/// How deep brackets, braces and functions may nest.
const MAX_DEPTH: usize = 64;
/// Most postfix signs, such as ! or ^2, after one atom.
const MAX_POSTFIXES: usize = 4;
/// Most members of all lists and sides of all relations together: comparing sets takes the square of
/// it.
const MAX_PARTS: usize = 100;

/// Symbols with which a factor can start, besides functions.
const FACTORS: [&str; 10] =
    ["(", "[", "{", "frac", "binom", "sqrt", "pi", "infty", "lfloor", "lceil"];

/// A parsed answer.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// Its value.
    pub value: Value,
    /// Whether arithmetic is left to do: 96 + 60, 12/4, 2·3, |−5|. A fraction, a root, a power, a
    /// factorial or a function's value is a number as it stands.
    pub arithmetic: bool,
    /// Whether an equation between numbers in it is false.
    pub false_equation: bool,
}

/// Reads an answer's tokens. The base of a number, as in 1010_2, counts unless `bases` is false.
pub fn parse(tokens: &[Token], bases: bool) -> Reading<Parsed> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        parts: 0,
        lower: false,
        forked: false,
        bars: false,
        degrees: false,
        bases,
        arithmetic: false,
        false_equation: false,
    };
    let mut elements = parser.elements()?;
    if parser.at < tokens.len() {
        return Err("it continues where it should end");
    }
    let value = match elements.len() {
        0 => return Err("it is empty"),
        1 => elements.remove(0),
        _ => Value::Set(elements),
    };
    let Parser { arithmetic, false_equation, .. } = parser;
    Ok(Parsed { value, arithmetic, false_equation })
}

/// A position in the tokens, with what the enclosing brackets imply.
pub struct Parser<'a> {
    /// All tokens.
    pub tokens: &'a [Token],
    /// The index of the next token.
    pub at: usize,
    /// How many brackets, functions and the like are open.
    depth: usize,
    /// Members and sides so far.
    parts: usize,
    /// Whether ± is read as −.
    pub lower: bool,
    /// Whether there was a ±.
    pub forked: bool,
    /// Whether a | closes an absolute value.
    pub bars: bool,
    /// Whether ° is π/180, as in the argument of a function; elsewhere it is a unit and dropped.
    pub degrees: bool,
    /// Whether the base of a number counts.
    bases: bool,
    /// See [`Parsed`].
    pub arithmetic: bool,
    false_equation: bool,
}

impl Parser<'_> {
    /// The token that comes next.
    pub fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// The symbol that comes next.
    pub fn symbol(&self) -> Option<&'static str> {
        match self.peek() {
            Some(Symbol(symbol)) => Some(symbol),
            _ => None,
        }
    }

    /// Steps over `symbol` if it comes next.
    pub fn eat(&mut self, symbol: &str) -> bool {
        let found = self.symbol() == Some(symbol);
        self.at += usize::from(found);
        found
    }

    /// Steps over a closing bracket.
    pub fn expect(&mut self, symbol: &str) -> Reading<()> {
        if self.eat(symbol) { Ok(()) } else { Err("its brackets do not match") }
    }

    /// Goes one level deeper; an error beyond the limit.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Reading<T>) -> Reading<T> {
        if self.depth >= MAX_DEPTH {
            return Err("it is nested too deeply");
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Counts a member or a side.
    pub fn count_part(&mut self) -> Reading<()> {
        self.parts += 1;
        if self.parts > MAX_PARTS { Err("it has too many parts") } else { Ok(()) }
    }

    /// The members of a set, or several answers. If both commas and semicolons occur, semicolons
    /// separate tuples.
    pub fn elements(&mut self) -> Reading<Vec<Value>> {
        let mut groups = vec![Vec::new()];
        loop {
            let mut parted = groups == [[]];
            while let Some(separator @ ("," | ";" | "and" | "or")) = self.symbol() {
                self.at += 1;
                parted = true;
                if separator == ";" {
                    groups.push(Vec::new());
                }
            }
            // At the top level, ]1, 2] is an interval open on its left.
            let closes = matches!(self.symbol(), Some(")" | "}" | "\\}" | "rangle"))
                || self.symbol() == Some("]") && self.depth > 0;
            if closes || self.peek().is_none() || !parted {
                break;
            }
            let element = self.element()?;
            groups.last_mut().into_iter().for_each(|group| group.extend(element.clone()));
        }
        groups.retain(|group| !group.is_empty());
        let tuples = groups.len() > 1 && groups.iter().any(|group| group.len() > 1);
        Ok(if tuples { groups.into_iter().map(Value::Tuple).collect() } else { groups.concat() })
    }

    /// One member, or the two values of a ±.
    fn element(&mut self) -> Reading<Vec<Value>> {
        self.count_part()?;
        let outer = (self.lower, self.forked);
        let start = self.at;
        (self.lower, self.forked) = (false, false);
        let mut values = vec![self.relation()?];
        if self.forked {
            (self.at, self.lower) = (start, true);
            values.push(self.relation()?);
        }
        (self.lower, self.forked) = outer;
        Ok(values)
    }

    /// A value, an equation or an inequality.
    pub fn relation(&mut self) -> Reading<Value> {
        // "≈ 3.14" and "= 5" have nothing on the left.
        if matches!(self.symbol(), Some("approx" | "=")) {
            self.at += 1;
        }
        let before = std::mem::take(&mut self.arithmetic);
        let first = self.sets()?;
        let mut sides = vec![(first.is_constant(), std::mem::take(&mut self.arithmetic))];
        let mut rest: Vec<(Sign, Value)> = Vec::new();
        while let Some(sign) = self.symbol().and_then(relation_sign) {
            self.at += 1;
            self.count_part()?;
            let side = self.sets()?;
            let left = rest.last().map_or(&first, |(_, left)| left);
            self.false_equation |= is_false(left, sign, &side);
            sides.push((side.is_constant(), std::mem::take(&mut self.arithmetic)));
            rest.push((sign, side));
        }
        let chain = rest.iter().all(|(sign, _)| matches!(sign, Sign::Equal | Sign::Approximately));
        // In a chain of equal sides it is enough if one is worked out.
        let left = match chain && sides.iter().any(|(constant, _)| *constant) {
            true => sides.iter().all(|(constant, arithmetic)| !constant || *arithmetic),
            false => sides.iter().any(|(_, arithmetic)| *arithmetic),
        };
        self.arithmetic = before | left;
        value::relation(first, rest)
    }

    fn sets(&mut self) -> Reading<Value> {
        let mut value = self.ratio()?;
        loop {
            let operation = match self.symbol() {
                Some("cup") => SetOperation::Union,
                Some("cap") => SetOperation::Intersection,
                Some("setminus") => SetOperation::Difference,
                _ => return Ok(value),
            };
            self.at += 1;
            value = value::combine(value, operation, self.ratio()?)?;
        }
    }

    /// 3:4 is 3/4, 1:2:3 is a ratio of three.
    fn ratio(&mut self) -> Reading<Value> {
        let first = self.sum()?;
        if self.symbol() != Some(":") {
            return Ok(first);
        }
        let mut parts = vec![first.scalar()?];
        while self.eat(":") {
            self.count_part()?;
            parts.push(self.sum()?.scalar()?);
        }
        value::ratio(parts)
    }

    /// Terms with signs between them; with TeX's \over also a fraction of two sums.
    pub fn sum(&mut self) -> Reading<Value> {
        let mut value = match self.sign() {
            None => self.product()?,
            Some(negative) => self.signed_product(negative)?,
        };
        let mut numbers = u32::from(value.is_number());
        while let Some(negative) = self.sign() {
            let term = self.signed_product(negative)?;
            numbers += u32::from(term.is_number());
            value = value::add(value, term)?;
        }
        self.arithmetic |= numbers > 1;
        if self.eat("over") {
            let below = self.nested(|parser| parser.sum())?;
            return self.divided(value, below);
        }
        if self.eat("choose") {
            let below = self.nested(|parser| parser.sum())?.scalar()?;
            return Ok(Value::Scalar(call(Function::Binomial, vec![value.scalar()?, below])?));
        }
        Ok(value)
    }

    /// Whether the sign that comes next is a minus.
    fn sign(&mut self) -> Option<bool> {
        let negative = match self.symbol()? {
            "+" => false,
            "-" => true,
            sign @ ("pm" | "mp") => {
                self.forked = true;
                self.lower == (sign == "pm")
            }
            _ => return None,
        };
        self.at += 1;
        Some(negative)
    }

    fn signed_product(&mut self, negative: bool) -> Reading<Value> {
        let value = self.product()?;
        if negative { value::multiply(Value::Scalar(Expr::integer(-1)), value) } else { Ok(value) }
    }

    fn product(&mut self) -> Reading<Value> {
        let mut value = self.row()?;
        loop {
            if self.eat("*") {
                let scientific = self.power_of_ten();
                let factor = self.row()?;
                self.arithmetic |= !scientific && value.is_number() && factor.is_number();
                value = value::multiply(value, factor)?;
            } else if self.eat("/") {
                let below = self.row()?;
                value = self.divided(value, below)?;
            } else {
                return Ok(value);
            }
        }
    }

    /// Whether 10^n comes next: 6.02·10^23 counts as a number, not as arithmetic.
    fn power_of_ten(&self) -> bool {
        let ten = |n: &Number| n.small_integer() == Some(10);
        matches!(&self.tokens[self.at..], [Token::Number(n), Symbol("^"), ..] if ten(n))
    }

    /// `a`/`b`; it counts as arithmetic left to do if the result is whole.
    pub fn divided(&mut self, a: Value, b: Value) -> Reading<Value> {
        let one = matches!(&b, Value::Scalar(one) if *one == Expr::integer(1));
        let both = a.is_number() && b.is_number() && !one;
        let value = value::divide(a, b)?;
        self.arithmetic |=
            both && matches!(&value, Value::Scalar(Expr::Number(n)) if n.value.is_integer());
        Ok(value)
    }

    /// A product of adjacent factors.
    fn row(&mut self) -> Reading<Value> {
        if let Some(negative) = self.sign() {
            return self.nested(|parser| {
                let value = parser.row()?;
                let sign = Value::Scalar(Expr::integer(if negative { -1 } else { 1 }));
                value::multiply(sign, value)
            });
        }
        let mut value = match self.mixed_number()? {
            Some(mixed) => mixed,
            None => self.factor()?,
        };
        while self.starts_factor() {
            if matches!(self.peek(), Some(Token::Number(_))) && self.follows_number() {
                return Err("it has two numbers side by side");
            }
            let factor = self.factor()?;
            self.arithmetic |= value.is_number() && factor.is_number();
            value = value::multiply(value, factor)?;
        }
        Ok(value)
    }

    fn follows_number(&self) -> bool {
        matches!(self.at.checked_sub(1).map(|at| &self.tokens[at]), Some(Token::Number(_)))
    }

    /// 1 1/2 and 1\frac{1}{2}.
    fn mixed_number(&mut self) -> Reading<Option<Value>> {
        let fraction = match self.tokens[self.at..] {
            [Token::Number(_), Symbol("frac"), ..] => {
                let numerator = self.whole(self.at + 2);
                numerator.and_then(|(a, at)| Some((a, self.whole(at)?)))
            }
            [Token::Number(_), Token::Number(_), Symbol("/"), Token::Number(_), ..] => {
                let numerator = self.whole(self.at + 1);
                numerator.and_then(|(a, at)| Some((a, self.whole(at + 1)?)))
            }
            _ => None,
        };
        let Some(((integer, _), (a, (b, end)))) = self.whole(self.at).zip(fraction) else {
            return Ok(None);
        };
        self.at = end;
        let value = expr::sum(vec![integer, quotient(a, b)?]);
        Ok(Some(Value::Scalar(if self.eat("%") { percent(value) } else { value })))
    }

    /// The whole number at a place, in braces or not, and where it ends.
    fn whole(&self, at: usize) -> Option<(Expr, usize)> {
        let (number, end) = match self.tokens.get(at..)? {
            [Token::Number(number), ..] => (number, at + 1),
            [Symbol("{"), Token::Number(number), Symbol("}"), ..] => (number, at + 3),
            _ => return None,
        };
        let whole = number.value.is_integer() && !number.decimal;
        whole.then(|| (Expr::Number(number.clone()), end))
    }

    /// Whether the next token begins a factor, to be multiplied with what precedes it.
    pub fn starts_factor(&self) -> bool {
        match self.peek() {
            None | Some(Text(_) | Token::Scale(_)) => false,
            Some(Symbol("|")) => !self.bars,
            // The French interval [1, 2[.
            Some(Symbol("[")) => !matches!(
                self.tokens.get(self.at + 1),
                None | Some(Symbol("cup" | "cap" | "setminus" | "," | "and" | "or"))
            ),
            Some(Symbol(symbol)) => FACTORS.contains(symbol) || self.at_function(),
            Some(_) => true,
        }
    }

    /// Whether a function comes next.
    pub fn at_function(&self) -> bool {
        match self.peek() {
            Some(Token::Function(_)) => true,
            Some(Symbol(symbol)) => matches!(*symbol, "ln" | "log" | "exp" | "cot" | "sec" | "csc"),
            _ => false,
        }
    }

    /// An atom with its exponents, subscripts and postfix signs.
    pub fn factor(&mut self) -> Reading<Value> {
        let mut value = self.atom()?;
        let is_number = value.is_number();
        for _ in 0..=MAX_POSTFIXES {
            value = if self.eat("!") {
                Value::Scalar(call(Function::Factorial, vec![value.scalar()?])?)
            } else if self.eat("%") {
                Value::Scalar(percent(value.scalar()?))
            } else if self.eat("circ") {
                self.degree(value)?
            } else if self.eat("^") {
                self.raised(value)?
            } else if is_number && self.eat("_") {
                let base = self.nested(|parser| parser.atom())?;
                if self.bases { value::in_base(value, base)? } else { value }
            } else if let Some(Token::Scale(factor)) = self.peek() {
                let factor = Value::Scalar(factor.clone());
                self.at += 1;
                value::multiply(value, factor)?
            } else {
                return Ok(value);
            };
        }
        Err("it is nested too deeply")
    }

    /// `base` raised to what follows ^.
    pub fn raised(&mut self, base: Value) -> Reading<Value> {
        let (alone, width) = match &self.tokens[self.at..] {
            [Symbol("{"), token, Symbol("}"), ..] => (Some(token), 3),
            [token, ..] => (Some(token), 1),
            [] => (None, 0),
        };
        match (&base, alone) {
            (_, Some(Symbol("circ"))) => {
                self.at += width;
                return self.degree(base);
            }
            (Value::Matrix(rows), Some(Letter('T' | 't'))) => {
                self.at += width;
                let columns = 0..rows[0].len();
                let column = |i: usize| rows.iter().map(|row| row[i].clone()).collect();
                return Ok(Value::Matrix(columns.map(column).collect()));
            }
            _ => {}
        }
        let exponent = self.exponent()?;
        Ok(Value::Scalar(power(base.scalar()?, exponent)?))
    }

    /// x^-1, x^{n+1}, x^y^z.
    pub fn exponent(&mut self) -> Reading<Expr> {
        self.nested(|parser| match parser.sign() {
            Some(negative) => {
                let exponent = parser.exponent()?;
                Ok(if negative { expr::negated(exponent) } else { exponent })
            }
            None => {
                let exponent = parser.atom()?;
                let raised = parser.eat("^");
                if raised { parser.raised(exponent)?.scalar() } else { exponent.scalar() }
            }
        })
    }

    fn degree(&self, value: Value) -> Reading<Value> {
        if !self.degrees {
            return Ok(value);
        }
        let degree = quotient(Expr::Constant(Constant::Pi), Expr::integer(180))?;
        value::multiply(value, Value::Scalar(degree))
    }
}

/// Whether an equation between two numbers is false; with ≈ they may differ by a twentieth.
fn is_false(left: &Value, sign: Sign, right: &Value) -> bool {
    let (Value::Scalar(a), Value::Scalar(b)) = (left, right) else { return false };
    if !a.is_constant() || !b.is_constant() {
        return false;
    }
    match sign {
        Sign::Equal => !equal(a, b),
        Sign::Approximately => match (real_value(a), real_value(b)) {
            (Some(a), Some(b)) => (a - b).abs() > 0.05 * a.abs().max(b.abs()),
            _ => false,
        },
        _ => false,
    }
}

fn percent(expr: Expr) -> Expr {
    let hundredth = Number::new(BigRational::new(1.into(), 100.into()), false);
    match expr::product([expr].into_iter().chain(hundredth.map(Expr::Number)).collect()) {
        Expr::Number(number) => Expr::Number(Number { percent: true, ..number }),
        expr => expr,
    }
}

fn relation_sign(symbol: &'static str) -> Option<Sign> {
    Some(match symbol {
        "=" | "in" => Sign::Equal,
        "!=" => Sign::Unequal,
        "<" => Sign::Less,
        "<=" => Sign::AtMost,
        ">" => Sign::Greater,
        ">=" => Sign::AtLeast,
        "approx" => Sign::Approximately,
        _ => return None,
    })
}
