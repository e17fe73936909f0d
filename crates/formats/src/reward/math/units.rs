//! What words after a number mean: a multiple (million, dozen), a unit (km, hours, apples), or that the
//! number alone is not the answer (or less, times).

use num_bigint::BigInt;
use num_rational::BigRational;

use super::expr::{Expr, Number, Reading, power, product};

/// Most units of one number.
const MAX_UNITS: usize = 8;

/// The meaning of a word next to a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A multiple: "million", "tenths".
    Times(BigRational),
    /// "squared", "cubed".
    Power(i64),
    /// "factorial".
    Factorial,
    /// A known unit: a number of base units, to a power.
    Unit(&'static str, BigRational, i64),
    /// Division by what follows: "per", "a", "each".
    Per,
    /// A power of what follows: "square", "cubic".
    Raise(i64),
    /// Nothing about the amount: "exactly", "in total".
    Filler,
    /// The number next to it is not the answer: "than", "times".
    Stop,
    /// The number after it is not the answer: "twice".
    Before,
    /// An unknown thing: "apples".
    Unknown,
}

/// The meaning of `word`, in lower case, next to a number.
pub fn meaning(word: &str) -> Meaning {
    use Meaning::{Before, Factorial, Filler, Per, Power, Raise, Stop, Times};
    match word {
        "hundred" | "hundreds" => Times(ten_to(2)),
        "thousand" | "thousands" => Times(ten_to(3)),
        "million" | "millions" => Times(ten_to(6)),
        "billion" | "billions" => Times(ten_to(9)),
        "trillion" | "trillions" => Times(ten_to(12)),
        "lakh" | "lakhs" => Times(ten_to(5)),
        "crore" | "crores" => Times(ten_to(7)),
        "dozen" | "dozens" => Times(ratio(12, 1)),
        "half" | "halves" => Times(ratio(1, 2)),
        "third" | "thirds" => Times(ratio(1, 3)),
        "quarter" | "quarters" | "fourth" | "fourths" => Times(ratio(1, 4)),
        "fifth" | "fifths" => Times(ratio(1, 5)),
        "sixth" | "sixths" => Times(ratio(1, 6)),
        "seventh" | "sevenths" => Times(ratio(1, 7)),
        "eighth" | "eighths" => Times(ratio(1, 8)),
        "ninth" | "ninths" => Times(ratio(1, 9)),
        "tenth" | "tenths" => Times(ratio(1, 10)),
        "hundredths" => Times(ratio(1, 100)),
        "thousandths" => Times(ratio(1, 1000)),
        "squared" => Power(2),
        "cubed" => Power(3),
        "factorial" => Factorial,
        "per" | "a" | "an" | "each" | "every" => Per,
        "square" | "sq" => Raise(2),
        "cubic" | "cu" => Raise(3),
        "about" | "approximately" | "approx" | "roughly" | "around" | "exactly" | "precisely"
        | "only" | "just" | "simply" | "total" | "altogether" | "in" | "of" | "all" | "long"
        | "wide" | "tall" | "high" | "deep" | "away" | "old" | "left" | "remaining" | "th"
        | "st" | "nd" | "rd" | "the" | "is" | "are" | "as" | "required" | "therefore" | "thus"
        | "hence" | "so" | "then" | "also" | "now" | "answer" | "final" | "units" | "unit" => {
            Filler
        }
        "than" | "not" | "no" | "never" | "least" | "most" | "less" | "fewer" | "greater"
        | "larger" | "smaller" | "over" | "under" | "below" | "above" | "between" | "minus"
        | "negative" | "plus" | "times" | "divided" | "multiplied" | "by" | "up" | "to"
        | "either" | "neither" | "maybe" | "perhaps" | "possibly" | "percent" | "nearly"
        | "almost" | "unless" | "if" | "except" | "without" | "mod" | "modulo" | "base"
        | "wrong" | "incorrect" => Stop,
        "root" | "cube" | "sum" | "product" | "difference" | "inverse" | "power" | "twice"
        | "double" | "triple" | "thrice" | "question" | "step" | "part" | "problem" => Before,
        _ => unit(word).unwrap_or(Meaning::Unknown),
    }
}

/// A unit: its base, the number of base units, and the power.
fn unit(word: &str) -> Option<Meaning> {
    // Months and years have no fixed number of days.
    let (base, count, exponent) = match word {
        "mm" | "millimeter" | "millimetre" => ("m", ratio(1, 1000), 1),
        "cm" | "centimeter" | "centimetre" => ("m", ratio(1, 100), 1),
        "dm" | "decimeter" | "decimetre" => ("m", ratio(1, 10), 1),
        "m" | "meter" | "metre" => ("m", ratio(1, 1), 1),
        "km" | "kilometer" | "kilometre" => ("m", ten_to(3), 1),
        "in" | "inch" | "inches" => ("m", ratio(254, 10_000), 1),
        "ft" | "foot" | "feet" => ("m", ratio(3048, 10_000), 1),
        "yd" | "yard" => ("m", ratio(9144, 10_000), 1),
        "mi" | "mile" => ("m", ratio(1_609_344, 1000), 1),
        "mg" | "milligram" => ("g", ratio(1, 1000), 1),
        "g" | "gram" => ("g", ratio(1, 1), 1),
        "kg" | "kilogram" | "kilo" => ("g", ten_to(3), 1),
        "ton" | "tonne" => ("ton", ratio(1, 1), 1),
        "oz" | "ounce" => ("lb", ratio(1, 16), 1),
        "lb" | "pound" => ("lb", ratio(1, 1), 1),
        "ml" | "milliliter" | "millilitre" | "cc" => ("l", ratio(1, 1000), 1),
        "l" | "liter" | "litre" => ("l", ratio(1, 1), 1),
        "pint" => ("gal", ratio(1, 8), 1),
        "quart" => ("gal", ratio(1, 4), 1),
        "gal" | "gallon" => ("gal", ratio(1, 1), 1),
        "ms" | "millisecond" => ("s", ratio(1, 1000), 1),
        "s" | "sec" | "second" => ("s", ratio(1, 1), 1),
        "min" | "minute" => ("s", ratio(60, 1), 1),
        "h" | "hr" | "hour" => ("s", ratio(3600, 1), 1),
        "day" => ("s", ratio(86_400, 1), 1),
        "week" | "wk" => ("s", ratio(604_800, 1), 1),
        "month" => ("month", ratio(1, 1), 1),
        "yr" | "year" => ("month", ratio(12, 1), 1),
        "decade" => ("month", ratio(120, 1), 1),
        "century" | "centuries" => ("month", ratio(1200, 1), 1),
        "cent" => ("dollar", ratio(1, 100), 1),
        "dollar" | "usd" | "buck" => ("dollar", ratio(1, 1), 1),
        "euro" | "eur" => ("euro", ratio(1, 1), 1),
        "rupee" | "rs" => ("rupee", ratio(1, 1), 1),
        "yen" => ("yen", ratio(1, 1), 1),
        "am" => ("am", ratio(1, 1), 1),
        "pm" => ("pm", ratio(1, 1), 1),
        "degree" | "deg" => ("degree", ratio(1, 1), 1),
        "radian" | "rad" => ("radian", ratio(1, 1), 1),
        "celsius" => ("celsius", ratio(1, 1), 1),
        "fahrenheit" => ("fahrenheit", ratio(1, 1), 1),
        "w" | "watt" => ("w", ratio(1, 1), 1),
        "kw" | "kilowatt" => ("w", ten_to(3), 1),
        "n" | "newton" => ("n", ratio(1, 1), 1),
        "j" | "joule" => ("j", ratio(1, 1), 1),
        "kj" | "kilojoule" => ("j", ten_to(3), 1),
        "v" | "volt" => ("v", ratio(1, 1), 1),
        "pa" | "pascal" => ("pa", ratio(1, 1), 1),
        "kpa" | "kilopascal" => ("pa", ten_to(3), 1),
        "hz" | "hertz" => ("hz", ratio(1, 1), 1),
        "khz" | "kilohertz" => ("hz", ten_to(3), 1),
        "mph" => ("mph", ratio(1, 1), 1),
        "kmh" | "kph" => ("kmh", ratio(1, 1), 1),
        "kwh" => ("kwh", ratio(1, 1), 1),
        plural => return unit(plural.strip_suffix('s').filter(|one| one.len() > 1)?),
    };
    Some(Meaning::Unit(base, count, exponent))
}

/// Whether up to three letters after a number are a word rather than variables: a unit, or, after a
/// space, a pronounceable word that isn't a usual run of variables.
pub fn is_short_word(letters: &str, spaced: bool) -> bool {
    let lower = letters.to_lowercase();
    match lower.len() {
        1 => "mghsl".contains(letters) || letters == "L" || spaced && "NJWVAKCF".contains(letters),
        2 if !spaced
            && matches!(&*lower, "in" | "a" | "an" | "is" | "as" | "of" | "no" | "to" | "so") =>
        {
            false
        }
        2 => {
            meaning(&lower) != Meaning::Unknown
                || matches!(&*lower, "tv" | "mb" | "gb" | "tb" | "kb")
        }
        _ => {
            let variables = |row: &str| lower.chars().all(|c| row.contains(c));
            let spoken = lower.contains(|c| "aeiouy".contains(c));
            meaning(&lower) != Meaning::Unknown
                || spaced && spoken && !variables("abc") && !variables("xyz")
        }
    }
}

/// A product of units, and whether all of its words were known.
#[derive(Debug, Clone)]
pub struct Measure {
    factors: Vec<Expr>,
    raise: i64,
    per: bool,
    /// Whether a word was no known unit.
    pub unknown: bool,
}

impl Measure {
    /// No unit yet.
    pub fn new() -> Self {
        Self { factors: Vec::new(), raise: 1, per: false, unknown: false }
    }

    /// The next unit divides.
    pub fn per(&mut self) {
        self.per = true;
    }

    /// The next unit has this power.
    pub fn raise(&mut self, exponent: i64) {
        self.raise = exponent;
    }

    /// Multiplies by a unit with the power written after it.
    pub fn unit(&mut self, base: &str, count: BigRational, exponent: i64) -> Reading<()> {
        if self.factors.len() >= MAX_UNITS {
            return Err("it has too many units");
        }
        let exponent = exponent * std::mem::replace(&mut self.raise, 1);
        let exponent = if std::mem::take(&mut self.per) { -exponent } else { exponent };
        let count = Number::new(count, false).ok_or("its numbers are too long")?;
        let one = product(vec![Expr::Number(count), Expr::Variable(format!("unit {base}"))]);
        self.factors.push(power(one, Expr::integer(exponent.clamp(-9, 9)))?);
        Ok(())
    }

    /// The units as an expression, if there are any and all are known.
    pub fn known(self) -> Option<Expr> {
        (!self.unknown && !self.factors.is_empty()).then(|| product(self.factors))
    }
}

/// The number that words spell, and how many words it takes: "forty two", "two hundred and five".
pub fn number_words(words: &[&str]) -> Option<(u64, usize)> {
    const ONES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] =
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let place = |list: &[&str], word: &str| list.iter().position(|w| *w == word);
    let (mut total, mut group, mut used) = (0_u64, 0_u64, 0);
    for (i, word) in words.iter().enumerate() {
        if let Some(one) = place(&ONES, word) {
            group += one as u64;
        } else if let Some(ten) = place(&TENS, word) {
            group += 10 * (ten as u64 + 2);
        } else if let (Some(scale), true) = (place(&["hundred"], word), group > 0) {
            group *= 100 + scale as u64;
        } else if let (Some(scale), true) =
            (place(&["thousand", "million", "billion"], word), group > 0)
        {
            total += group * 1000_u64.pow(scale as u32 + 1);
            group = 0;
        } else if *word == "and" && used > 0 {
            continue;
        } else {
            break;
        }
        if total > 1_000_000_000_000 || group > 1_000_000 {
            return None;
        }
        used = i + 1;
    }
    (used > 0).then_some((total + group, used))
}

fn ratio(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(numerator.into(), denominator.into())
}

fn ten_to(exponent: u32) -> BigRational {
    BigInt::from(10).pow(exponent).into()
}
