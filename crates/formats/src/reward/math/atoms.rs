//! The parts of expressions: numbers, variables, functions, brackets, matrices.

use super::expr::{self, Constant, Expr, Function, Reading, call, power, quotient, root};
use super::parser::Parser;
use super::region::{End, Span};
use super::token::Token::{self, Begin, Letter, Name, Run, Symbol, Text, Word};
use super::value::{self, Value, interval};

impl Parser<'_> {
    /// A number, a variable, a function or a group.
    pub fn atom(&mut self) -> Reading<Value> {
        let Some(token) = self.peek().cloned() else { return Err("it ends too early") };
        self.at += 1;
        let subscript = self.symbol() == Some("_");
        let expr = match token {
            Token::Number(number) => Expr::Number(number),
            Letter('e') if !subscript => Expr::Constant(Constant::E),
            Letter('i') if !subscript => Expr::Constant(Constant::I),
            Letter(letter) => self.variable(letter.to_lowercase().collect())?,
            Name(name) => self.variable(name)?,
            Word(name) | Text(name) => self.variable(name.replace(' ', ""))?,
            Run(letters, _) => self.variable(letters)?,
            Token::Currency(_) | Token::Scale(_) => {
                return Err("it has a unit where a number is expected");
            }
            Token::Function(function) => self.function(function)?,
            Begin(environment) => return self.nested(|parser| parser.matrix(&environment)),
            Symbol("pi") => Expr::Constant(Constant::Pi),
            Symbol("infty") => Expr::Constant(Constant::Infinity),
            Symbol("frac") => {
                let (above, below) = (self.argument()?, self.argument()?);
                return self.divided(Value::Scalar(above), Value::Scalar(below));
            }
            Symbol("binom") => call(Function::Binomial, vec![self.argument()?, self.argument()?])?,
            Symbol("sqrt") => {
                let bracket = self.eat("[");
                let degree = if bracket { self.bracketed("]")? } else { Expr::integer(2) };
                root(self.argument()?, degree)?
            }
            Symbol(name @ ("ln" | "log" | "exp" | "cot" | "sec" | "csc")) => self.derived(name)?,
            Symbol("lfloor") => self.rounded(Function::Floor, "rfloor")?,
            Symbol("lceil") => self.rounded(Function::Ceil, "rceil")?,
            Symbol("|") => {
                let outer = std::mem::replace(&mut self.bars, true);
                let inside = self.nested(|parser| parser.sum())?.scalar()?;
                self.bars = outer;
                self.expect("|")?;
                self.arithmetic |= inside.is_constant();
                call(Function::Abs, vec![inside])?
            }
            Symbol("emptyset") => return Ok(Value::Set(Vec::new())),
            Symbol("reals") => return Ok(Value::Region(vec![Span::line()])),
            Symbol(open @ ("(" | "[" | "{" | "\\{" | "langle")) => return self.group(open),
            // The French interval ]1, 2[ is (1, 2).
            Symbol("]") => return self.open_interval(),
            _ => return Err("it has a sign where a number or a variable is expected"),
        };
        Ok(Value::Scalar(expr))
    }

    /// A variable with its subscript.
    fn variable(&mut self, mut name: String) -> Reading<Expr> {
        if self.eat("_") {
            let start = self.at;
            let mut depth = 0;
            while let Some(token) = self.peek() {
                depth += match token {
                    Symbol("{") => 1,
                    Symbol("}") => -1,
                    _ => 0,
                };
                if depth < 0 {
                    break;
                }
                self.at += 1;
                if depth == 0 {
                    break;
                }
            }
            if depth != 0 || start == self.at {
                return Err("it has an odd subscript");
            }
            name.push('_');
            for token in &self.tokens[start..self.at] {
                match token {
                    Token::Number(number) => name += &number.value.to_string(),
                    Letter(letter) => name.extend(letter.to_lowercase()),
                    Name(part) | Word(part) | Text(part) | Run(part, _) => name += part,
                    Symbol("{" | "}") => {}
                    Symbol(symbol) => name += symbol,
                    Token::Function(function) => name += &format!("{function:?}"),
                    _ => return Err("it has an odd subscript"),
                }
            }
        }
        Ok(Expr::Variable(name))
    }

    fn rounded(&mut self, function: Function, close: &str) -> Reading<Expr> {
        let inside = self.bracketed(close)?;
        self.arithmetic |= inside.is_constant();
        call(function, vec![inside])
    }

    fn open_interval(&mut self) -> Reading<Value> {
        let bars = std::mem::replace(&mut self.bars, false);
        let ends = self.nested(|parser| parser.ordered())?;
        self.bars = bars;
        let closed = match self.symbol() {
            Some("]") => true,
            Some("[") => false,
            _ => return Err("its brackets do not match"),
        };
        self.at += 1;
        match <[Value; 2]>::try_from(ends) {
            Ok([low, high]) => {
                Ok(interval(End::new(low.scalar()?, false), End::new(high.scalar()?, closed)))
            }
            Err(_) => Err("it has brackets without a meaning"),
        }
    }

    /// The contents of brackets, after the opening one.
    fn group(&mut self, open: &str) -> Reading<Value> {
        if open == "[" && self.symbol() == Some("[") {
            return self.nested(|parser| parser.rows());
        }
        let bars = std::mem::replace(&mut self.bars, false);
        let members = self.nested(|parser| match open {
            "\\{" => parser.elements(),
            _ => parser.ordered(),
        })?;
        self.bars = bars;
        let close = self.symbol().ok_or("its brackets do not match")?;
        self.at += 1;
        match (open, close, <[Value; 1]>::try_from(members)) {
            ("\\{", "\\}", members) => Ok(Value::Set(members.map_or_else(|many| many, Vec::from))),
            ("(", ")", Ok([one])) | ("[", "]", Ok([one])) | ("{", "}", Ok([one])) => Ok(one),
            ("{", "}", Err(many)) if !many.is_empty() => Ok(Value::Set(many)),
            ("(", ")", Err(many)) | ("langle", "rangle", Err(many)) if !many.is_empty() => {
                Ok(Value::Tuple(many))
            }
            ("(" | "[", close @ (")" | "]" | "["), Err(many)) => match <[Value; 2]>::try_from(many)
            {
                Ok([low, high]) => Ok(interval(
                    End::new(low.scalar()?, open == "["),
                    End::new(high.scalar()?, close == "]"),
                )),
                Err(many) if open == "[" && close == "]" && many.len() > 2 => {
                    Ok(Value::Tuple(many))
                }
                Err(_) => Err("it has brackets without a meaning"),
            },
            _ => Err("its brackets do not match"),
        }
    }

    /// [[1, 2], [3, 4]], after its first bracket.
    fn rows(&mut self) -> Reading<Value> {
        let mut rows = Vec::new();
        loop {
            if !self.eat("[") {
                return Err("it has brackets without a meaning");
            }
            let row = self.ordered()?;
            self.expect("]")?;
            rows.push(row.into_iter().map(Value::scalar).collect::<Reading<Vec<Expr>>>()?);
            self.eat(",");
            if self.eat("]") {
                let even = rows.iter().all(|row| row.len() == rows[0].len());
                return if even { Ok(Value::Matrix(rows)) } else { Err("its matrix has a gap") };
            }
        }
    }

    /// The members of a tuple; a ± in one of them makes two tuples, not two members.
    fn ordered(&mut self) -> Reading<Vec<Value>> {
        let mut members = vec![self.relation()?];
        while self.eat(",") || self.eat(";") {
            self.count_part()?;
            members.push(self.relation()?);
        }
        Ok(members)
    }

    /// An expression up to `close`, after the opening bracket.
    fn bracketed(&mut self, close: &str) -> Reading<Expr> {
        let bars = std::mem::replace(&mut self.bars, false);
        let inside = self.nested(|parser| parser.sum())?.scalar()?;
        self.bars = bars;
        self.expect(close)?;
        Ok(inside)
    }

    /// The argument of \frac or \sqrt: a group or one atom.
    fn argument(&mut self) -> Reading<Expr> {
        self.nested(|parser| parser.atom())?.scalar()
    }

    fn function(&mut self, function: Function) -> Reading<Expr> {
        let exponent = self.function_exponent()?;
        let arguments = match function {
            Function::Max | Function::Min => match self.nested(|parser| parser.atom())? {
                Value::Tuple(all) | Value::Set(all) if !all.is_empty() => {
                    all.into_iter().map(Value::scalar).collect::<Reading<_>>()?
                }
                one => vec![one.scalar()?],
            },
            _ => vec![self.function_argument()?],
        };
        let worked_out = matches!(
            function,
            Function::Abs | Function::Floor | Function::Ceil | Function::Max | Function::Min
        );
        self.arithmetic |= worked_out && arguments.iter().all(Expr::is_constant);
        let inverse = match function {
            Function::Sin => Some(Function::Arcsin),
            Function::Cos => Some(Function::Arccos),
            Function::Tan => Some(Function::Arctan),
            _ => None,
        };
        match (inverse, exponent) {
            (Some(inverse), Some(exponent)) if exponent == Expr::integer(-1) => {
                call(inverse, arguments)
            }
            (_, Some(exponent)) => power(call(function, arguments)?, exponent),
            (_, None) => call(function, arguments),
        }
    }

    /// Functions defined by others; their argument is used only once, so that the tree does not double.
    fn derived(&mut self, name: &str) -> Reading<Expr> {
        let base =
            if name == "log" && self.eat("_") { self.argument()? } else { Expr::integer(10) };
        let exponent = self.function_exponent()?;
        let argument = self.function_argument()?;
        let one = Expr::integer(1);
        let value = match name {
            "ln" => call(Function::Ln, vec![argument])?,
            "log" => {
                quotient(call(Function::Ln, vec![argument])?, call(Function::Ln, vec![base])?)?
            }
            "exp" => power(Expr::Constant(Constant::E), argument)?,
            "cot" => {
                let right_angle = quotient(Expr::Constant(Constant::Pi), Expr::integer(2))?;
                call(Function::Tan, vec![expr::sum(vec![right_angle, expr::negated(argument)])])?
            }
            "sec" => quotient(one, call(Function::Cos, vec![argument])?)?,
            _ => quotient(one, call(Function::Sin, vec![argument])?)?,
        };
        match exponent {
            Some(exponent) => power(value, exponent),
            None => Ok(value),
        }
    }

    fn function_exponent(&mut self) -> Reading<Option<Expr>> {
        if self.eat("^") { self.exponent().map(Some) } else { Ok(None) }
    }

    /// The argument of a function: a group, or the factors up to the next function or sign.
    fn function_argument(&mut self) -> Reading<Expr> {
        let outer = std::mem::replace(&mut self.degrees, true);
        let argument = self.nested(|parser| match parser.peek() {
            Some(Symbol("(" | "[" | "{" | "|")) => parser.atom()?.scalar(),
            Some(Symbol("-")) => {
                parser.at += 1;
                Ok(expr::negated(parser.factor()?.scalar()?))
            }
            _ => {
                let mut argument = parser.factor()?;
                while parser.starts_factor() && !parser.at_function() {
                    argument = value::multiply(argument, parser.factor()?)?;
                }
                argument.scalar()
            }
        });
        self.degrees = outer;
        argument
    }

    /// A matrix, after its `\begin`.
    fn matrix(&mut self, environment: &str) -> Reading<Value> {
        let name = environment.trim_end_matches('*');
        if !matches!(name, "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array") {
            return Err("it has an environment that is not a matrix");
        }
        let mut rows = vec![vec![self.sum()?.scalar()?]];
        loop {
            if self.eat("&") {
                let entry = self.sum()?.scalar()?;
                rows.last_mut().ok_or("it has an empty matrix")?.push(entry);
            } else if self.eat("\\\\") {
                if self.symbol() != Some("end") {
                    rows.push(vec![self.sum()?.scalar()?]);
                }
            } else {
                self.expect("end")?;
                let even = rows.iter().all(|row| row.len() == rows[0].len());
                return if even { Ok(Value::Matrix(rows)) } else { Err("its matrix has a gap") };
            }
        }
    }
}
