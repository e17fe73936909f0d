//! Exact numbers as people write them, for comparing answers: no rounding, no tolerance.

/// Words after a number that change its value, so that they are no unit.
const CHANGING: [&str; 25] = [
    "hundred", "thousand", "million", "billion", "trillion", "dozen", "k", "m", "b", "e", "x",
    "or", "and", "to", "than", "not", "of", "more", "less", "times", "squared", "cubed", "plus",
    "minus", "half",
];

/// A fraction of two decimals of any length.
#[derive(Debug, Clone)]
pub(super) struct Rational {
    negative: bool,
    numerator: Decimal,
    denominator: Decimal,
}

/// A non-negative decimal: `digits` · 10^`exponent`, without zeros at either end (zero: no digits).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    digits: Vec<u8>,
    exponent: i64,
}

impl Rational {
    /// Reads `42`, `-1,234.5`, `.5`, `3/4`, `6.02e23`, also with what may surround a number in an
    /// answer: `$29.00`, `50%`, `29 dollars`, `**7**`, `7.`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let marks = |c: char| c.is_whitespace() || "*_`".contains(c);
        let text = text.trim_matches(marks);
        let text = text.strip_suffix(['.', '!']).map_or(text, |bare| bare.trim_end_matches(marks));
        // Spaces of any width and currency signs may come before and among the digits.
        let text =
            without_unit(text).replace(['$', '€', '£', '\u{a0}', '\u{202f}', '\u{2009}'], "");
        let text = text.trim().replace("\\", "");
        // U+2212 is the minus sign that typeset answers use.
        let (negative, magnitude) = match text.strip_prefix(['-', '\u{2212}']) {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        let (numerator, denominator) = match magnitude.split_once('/') {
            Some((upper, lower)) => (Decimal::parse(upper.trim())?, Decimal::parse(lower.trim())?),
            None => (Decimal::parse(magnitude)?, Decimal::new(vec![1], 0)),
        };
        let negative = negative && !numerator.digits.is_empty();
        (!denominator.digits.is_empty()).then_some(Self { negative, numerator, denominator })
    }
}

/// a/b = c/d exactly when a·d = c·b.
impl PartialEq for Rational {
    fn eq(&self, other: &Self) -> bool {
        self.negative == other.negative
            && self.numerator.times(&other.denominator) == other.numerator.times(&self.denominator)
    }
}

impl Decimal {
    /// Drops zeros at both ends.
    fn new(mut digits: Vec<u8>, mut exponent: i64) -> Self {
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        let zeros = digits.iter().take_while(|&&d| d == 0).count();
        digits.drain(..zeros);
        let exponent = if digits.is_empty() { 0 } else { exponent };
        Self { digits, exponent }
    }

    fn parse(text: &str) -> Option<Self> {
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            // i32, so that sums of exponents can't overflow i64.
            Some((mantissa, power)) => (mantissa, i64::from(power.parse::<i32>().ok()?)),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = without_separators(whole)?;
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = digits.iter().map(|d| d - b'0').collect();
        Some(Self::new(digits, power - fraction.len() as i64))
    }

    /// Schoolbook multiplication.
    fn times(&self, other: &Self) -> Self {
        let (a, b) = (&self.digits, &other.digits);
        let mut columns = vec![0u64; a.len() + b.len()];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                columns[i + j + 1] += u64::from(x * y);
            }
        }
        let mut carry = 0;
        for column in columns.iter_mut().rev() {
            carry += *column;
            *column = carry % 10;
            carry /= 10;
        }
        let digits = columns.iter().map(|&d| d as u8).collect();
        Self::new(digits, self.exponent + other.exponent)
    }
}

/// A number without the percent sign or the words after it, if they don't change its value.
fn without_unit(text: &str) -> &str {
    let bare = text.strip_suffix('%').unwrap_or(text).trim_end();
    let bare = bare.strip_suffix('\\').unwrap_or(bare);
    let Some(end) = bare.rfind(|c: char| c.is_ascii_digit()) else { return bare };
    let (number, words) = bare.split_at(end + 1);
    let unit = words.trim_start();
    let plain = |c: char| c.is_alphabetic() || " /.".contains(c);
    let changes = |word: &str| CHANGING.contains(&word.to_lowercase().as_str());
    let dropped =
        unit.len() < words.len() && unit.chars().all(plain) && !unit.split(' ').any(changes);
    if dropped { number } else { bare }
}

/// `1,234,567` without its commas; `None` unless they separate groups of three digits.
fn without_separators(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let mut plain = first.to_string();
    for group in groups {
        if group.len() != 3 || !(1..=3).contains(&first.len()) {
            return None;
        }
        plain.push_str(group);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_in_different_dress() {
        for (a, b) in [
            ("42", "42.0"),
            ("042", "42"),
            ("+7", "7."),
            (".5", "1/2"),
            ("-0", "0"),
            ("0e9", "0.00"),
            ("1,234,567.50", "1234567.5"),
            ("1.2e3", "1,200"),
            ("12E-1", "6/5"),
            ("\u{2212}3", "-3"),
            ("-6/8", "-3/4"),
            ("0.1/0.3", "1/3"),
            ("123456789012345678901234567890", "123456789012345678901234567890.000"),
            ("1e400", "10e399"),
            ("$29.00", "29"),
            ("-$29", "-29"),
            ("$-29", "-29"),
            ("- 29", "-29"),
            ("29 dollars", "29"),
            ("29 dollars per day.", "29"),
            ("29.", "29"),
            ("50%", "50"),
            ("50 \\%", "50"),
            ("**7**", "7"),
            ("`7`", "7"),
            ("**$1,234.50**", "1234.5"),
            ("1\u{202f}234", "1234"),
        ] {
            assert!(Rational::parse(a).is_some(), "{a}");
            assert_eq!(Rational::parse(a), Rational::parse(b), "{a} {b}");
        }
    }

    #[test]
    fn different_numbers_stay_different() {
        for (a, b) in [
            ("1", "-1"),
            ("1", "10"),
            ("0.3333333333", "1/3"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000001"),
            ("0", "1e-400"),
        ] {
            assert!(Rational::parse(a).is_some() && Rational::parse(b).is_some(), "{a} {b}");
            assert_ne!(Rational::parse(a), Rational::parse(b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_none() {
        for text in [
            "",
            " ",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e5.5",
            "--1",
            "1/0",
            "1/",
            "/2",
            "1/2/3",
            "1 2",
            "5 million",
            "5 or 6",
            "5 6",
            "5x",
            "5 more than 6",
            "about 5",
            "5 percent of 10",
            "dollars",
            "$",
            "1,23",
            "1234,567",
            ",123",
            "1,,234",
            "1.2.3",
            "1.234,5",
            "0x10",
            "inf",
            "NaN",
            "四",
            "1e99999999999",
        ] {
            assert!(Rational::parse(text).is_none(), "{text:?}");
        }
    }
}
