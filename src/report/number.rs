//! Numbers as people read them: fixed decimals, a true minus, units that suit the size.

/// Fixed decimals, with a true minus instead of a hyphen; no sign before 0.
pub fn fixed(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => rest.into(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// Fixed decimals, always with a sign, except before 0.
pub fn signed(x: f64, digits: usize) -> String {
    let text = fixed(x, digits);
    match text.starts_with('−') || text.bytes().all(|b| matches!(b, b'0' | b'.')) {
        true => text,
        false => format!("+{text}"),
    }
}

/// A share in percent: `94.8%`.
pub fn percent(share: f64) -> String {
    format!("{}%", fixed(100.0 * share, 1))
}

/// A whole number with commas: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span of time: `4.2 s`, `3 min 20 s`, `2 h 5 min`.
pub fn span(secs: f64) -> String {
    let whole = secs.round() as u64;
    match whole {
        0..60 => format!("{} s", fixed(secs, 1)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Six significant digits for a file, without an exponent; empty if it is not a number.
pub fn exact(x: f64) -> String {
    if !x.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{x:.5e}").parse().expect("a number");
    rounded.to_string()
}

/// Three significant digits, but all digits before the point: `0.000812`, `−1.32`, `153`.
pub fn significant(x: f64) -> String {
    let magnitude = if x == 0.0 { 0.0 } else { x.abs().log10().floor() };
    fixed(x, (2.0 - magnitude).clamp(0.0, 12.0) as usize)
}

/// As few digits as a setting or a tick needs: `0.0008`, `2e-5`, `32`.
pub fn short(x: f64) -> String {
    let text = match x.abs() {
        0.0 => "0".into(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:e}"),
        _ => x.to_string(),
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_true_signs_and_zero_has_none() {
        assert_eq!([fixed(-0.456, 2), fixed(-0.001, 2), fixed(2.0, 0)], ["−0.46", "0.00", "2"]);
        assert_eq!([signed(1.0, 1), signed(-1.0, 1), signed(-0.01, 1)], ["+1.0", "−1.0", "0.0"]);
        assert_eq!(
            [short(8e-4), short(-2e-5), short(0.0), short(3e7)],
            ["0.0008", "−2e−5", "0", "3e7"]
        );
    }

    #[test]
    fn sizes_get_their_units() {
        assert_eq!([grouped(0), grouped(999), grouped(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([span(4.24), span(59.99), span(200.0)], ["4.2 s", "1 min 0 s", "3 min 20 s"]);
        assert_eq!(span(7500.0), "2 h 5 min");
        assert_eq!([exact(1.0 / 3.0), exact(1e-7), exact(f64::NAN)], ["0.333333", "0.0000001", ""]);
    }
}
