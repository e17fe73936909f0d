//! Numbers as they are written: thousands separators, repeating decimals, times of day.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, Zero};

use super::expr::{Number, Reading};
use super::lexer::Lexer;
use super::token::Token;

/// The largest power of ten in a number such as 1e300.
const MAX_EXPONENT: i32 = 2_000;
/// What may separate thousands: commas, spaces of several widths, marks.
const SEPARATORS: [&str; 16] = [
    "{,}", "\\,", "\\!,", ",\\!", ",\\! ", "\\ ", "\\;", "\\:", ",", " ", "\u{a0}", "\u{202f}",
    "\u{2009}", "_", "'", "’",
];
/// The longest period that is looked for in decimals such as 0.142857142857….
const MAX_PERIOD: usize = 12;

impl Lexer {
    /// A number; its first digit or its point comes next.
    pub fn number(&mut self) -> Reading<()> {
        if self.digits_alone > 0 {
            self.digits_alone -= 1;
            let digit = self.peek(0).and_then(|c| c.to_digit(10)).ok_or("it has a lone point")?;
            self.at += 1;
            self.tokens.push(Token::Number(Number::integer(digit.into())));
            return Ok(());
        }
        if let Some(time) = self.time() {
            self.tokens.push(Token::Name(time));
            return Ok(());
        }
        let mut digits = self.digits();
        digits += &self.thousands(&digits);
        let mut decimals = String::new();
        let decimal = self.peek(0) == Some('.') && self.peek(1) != Some('.');
        if decimal {
            self.at += 1;
            decimals = self.digits();
        }
        let scale = -(decimals.len() as i32);
        let mut value = whole(&format!("{digits}{decimals}")) * ten_to(scale);
        let period = if decimal { self.period(&decimals)? } else { None };
        if let Some(period) = &period {
            let nines = ten_to(period.len() as i32) - whole("1");
            value += whole(period) / nines * ten_to(scale);
        }
        if let Some(exponent) = self.scientific()? {
            value *= ten_to(exponent);
        }
        let rounded = !decimals.is_empty() && period.is_none();
        self.tokens
            .push(Token::Number(Number::new(value, rounded).ok_or("its numbers are too long")?));
        Ok(())
    }

    fn digits(&mut self) -> String {
        self.take_while(|c| c.is_ascii_digit())
    }

    /// 12:30 and 1:02:03: hours, then groups of two digits. A time of day, not a ratio.
    fn time(&mut self) -> Option<String> {
        let digits = |from: usize| {
            let length =
                (from..from + 3).take_while(|&i| self.peek(i).is_some_and(|c| c.is_ascii_digit()));
            let length = length.count();
            let text: String = self.text[self.at + from..][..length].iter().collect();
            (length, text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let (mut end, hours) = digits(0);
        let mut time = format!("time {hours}");
        let mut parts = 1;
        while parts < 3 && self.peek(end) == Some(':') {
            let (length, minutes) = digits(end + 1);
            if length != 2 || minutes >= 60 {
                return None;
            }
            time += &format!(":{minutes}");
            (end, parts) = (end + 1 + length, parts + 1);
        }
        let goes_on = match self.peek(end) {
            Some('.') => self.peek(end + 1).is_some_and(|c| c.is_ascii_digit()),
            next => next == Some(':'),
        };
        (hours <= 24 && parts > 1 && !goes_on).then(|| self.at += end)?;
        Some(time)
    }

    /// The digits after thousands separators: 1,234 and 1{,}234 and 1\,234 and 1 234.
    fn thousands(&mut self, first: &str) -> String {
        let start = self.at - first.len();
        if first.starts_with('0') || first.len() > 3 {
            return String::new();
        }
        // 5,1,234 is a list.
        let listed = self.brackets > 0 || start > 0 && self.text[start - 1] == ',';
        for separator in SEPARATORS.iter().filter(|s| **s != "," || !listed) {
            let (start, width) = (self.at, separator.chars().count());
            let mut groups = String::new();
            while self.starts_with(separator) {
                let before = self.at;
                self.at += width;
                let group = self.digits();
                if group.len() != 3 {
                    self.at = before;
                    break;
                }
                groups += &group;
            }
            // 1,234,5 is a list, and 1 234/567 has a fraction.
            let next = self.text[self.at..].iter().find(|c| !c.is_whitespace());
            let list =
                self.starts_with(separator) && self.peek(width).is_some_and(|c| c.is_ascii_digit());
            if groups.is_empty() || list || (*separator == " " && next == Some(&'/')) {
                self.at = start;
            } else {
                return groups;
            }
        }
        String::new()
    }

    /// The repeating digits after `decimals`: 0.1\overline{6}, 0.1(6), 0.1\dot{6}, 0.1666….
    fn period(&mut self, decimals: &str) -> Reading<Option<String>> {
        let start = self.at;
        if self.starts_with("\\overline{") || self.starts_with("\\bar{") {
            self.take_while(|c| c != '{');
            let period = self.braced().filter(|p| !p.is_empty());
            let digits = period.filter(|p| p.chars().all(|c| c.is_ascii_digit()));
            return digits.map(Some).ok_or("its decimals repeat no digits");
        }
        if self.starts_with("(") {
            self.at += 1;
            let period = self.digits();
            if !period.is_empty() && self.starts_with(")") {
                self.at += 1;
                return Ok(Some(period));
            }
        } else if let Some(first) = self.dotted() {
            // The first and the last digit of a period have dots.
            let between = self.digits();
            return Ok(Some(match self.dotted() {
                Some(last) => format!("{first}{between}{last}"),
                None => first,
            }));
        } else if ["...", "…", "\\ldots", "\\dots", "\\cdots"].iter().any(|d| self.starts_with(d))
        {
            let dots = if self.starts_with("...") { 3 } else { 1 };
            self.at += dots;
            self.take_while(|c| c.is_ascii_alphabetic());
            return Ok(repeated(decimals));
        }
        self.at = start;
        Ok(None)
    }

    fn dotted(&mut self) -> Option<String> {
        let digit = self.peek(5).filter(|c| c.is_ascii_digit() && self.starts_with("\\dot{"))?;
        (self.peek(6) == Some('}')).then(|| self.at += 7)?;
        Some(digit.into())
    }

    /// The exponent in 1.5e-3.
    fn scientific(&mut self) -> Reading<Option<i32>> {
        let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
        let digits = self.peek(1 + signed).is_some_and(|c| c.is_ascii_digit());
        if !matches!(self.peek(0), Some('e' | 'E')) || !digits {
            return Ok(None);
        }
        let negative = self.peek(1) == Some('-');
        self.at += 1 + signed;
        let exponent = self.digits().parse::<i32>().ok();
        let exponent =
            exponent.filter(|&e| e <= MAX_EXPONENT).ok_or("its exponents are too large")?;
        Ok(Some(if negative { -exponent } else { exponent }))
    }
}

/// The digits that repeat at the end of `decimals`: one digit at least three times, several at least
/// twice.
fn repeated(decimals: &str) -> Option<String> {
    (1..=MAX_PERIOD.min(decimals.len())).find_map(|length| {
        let period = &decimals[decimals.len() - length..];
        let times = if length == 1 { 3 } else { 2 };
        decimals.ends_with(&period.repeat(times)).then(|| period.to_string())
    })
}

/// The whole number that digits spell.
pub fn whole(digits: &str) -> BigRational {
    digits.parse::<BigInt>().unwrap_or_else(|_| BigInt::zero()).into()
}

/// A power of ten.
pub fn ten_to(exponent: i32) -> BigRational {
    Pow::pow(BigRational::from(BigInt::from(10)), exponent)
}
