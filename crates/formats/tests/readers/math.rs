//! Mathematical equivalence against Python's math-verify (`tests/golden/make_math.py`, which says what
//! the cases are): every verdict is math-verify's, or ours where the case gives the reason.

use std::collections::BTreeMap;
use std::io::{Write, stdout};

use serde::Deserialize;
use srft_formats::reward::math::{Gold, Verdict, judge};

const CASES: &str = include_str!("../../../../tests/golden/math/cases.jsonl");
/// Pairs that were judged by hand; `why` says where the strict reading means otherwise.
const PAIRS: &str = include_str!("../../../../tests/golden/math/pairs.jsonl");

/// Every category, its cases, and on how many of them math-verify agrees.
const EXPECTED: [(&str, usize, usize); 27] = [
    ("absolute value", 17, 17),
    ("adversarial", 72, 69),
    ("approximations", 30, 30),
    ("complex", 18, 14),
    ("constants", 42, 42),
    ("decimals", 54, 52),
    ("equations", 76, 72),
    ("extraction", 52, 46),
    ("factorials", 24, 23),
    ("fractions", 53, 52),
    ("functions", 80, 78),
    ("inequalities", 50, 46),
    ("integers", 52, 50),
    ("intervals", 43, 41),
    ("matrices", 23, 22),
    ("percent", 41, 39),
    ("plus-minus", 26, 25),
    ("polynomials", 54, 51),
    ("roots", 65, 62),
    ("scientific", 27, 25),
    ("sets", 63, 62),
    ("text", 51, 51),
    ("thousands", 33, 30),
    ("tuples", 48, 47),
    ("unions", 26, 24),
    ("units", 55, 50),
    ("variables", 45, 45),
];

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
    regenerate: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    category: String,
    gold: String,
    response: String,
    math_verify: bool,
    ours: Option<bool>,
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    category: String,
    gold: String,
    response: String,
    want: bool,
    why: Option<String>,
}

/// Lines of a golden file behind its header.
fn lines(file: &str) -> impl Iterator<Item = &str> {
    let mut lines = file.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let found = (header.format.as_str(), header.version);
    assert_eq!(found, ("srft-golden", 1), "{}", header.regenerate);
    lines
}

fn cases() -> Vec<Case> {
    let lines = lines(CASES);
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn every_case_has_its_verdict() {
    let mut wrong = Vec::new();
    for Case { gold, response, math_verify, ours, .. } in cases() {
        let parsed = Gold::parse(&gold).unwrap_or_else(|e| panic!("{e}"));
        let verdict = judge(&parsed, "", &response);
        let expected = ours.unwrap_or(math_verify);
        // math-verify compares values alone, as `math.form = "any"` does.
        if matches!(verdict, Verdict::Right | Verdict::Loose) != expected {
            wrong.push(format!("gold {gold}, response {response}: {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn differences_have_reasons_and_reasons_differences() {
    for case in cases() {
        let differs = case.ours.is_some_and(|ours| ours != case.math_verify);
        assert_eq!(case.ours.is_some(), differs, "{}: {}", case.gold, case.response);
        assert_eq!(case.why.is_some(), differs, "{}: {}", case.gold, case.response);
    }
}

#[test]
fn every_category_has_its_cases() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in cases() {
        let (all, agreed) = counts.entry(case.category).or_default();
        *all += 1;
        *agreed += usize::from(case.ours.is_none());
    }
    let table: Vec<_> =
        counts.iter().map(|(name, &(all, agreed))| (&**name, all, agreed)).collect();
    assert_eq!(table, EXPECTED);
}

#[test]
fn pairs_are_judged_as_by_hand() {
    let pairs: Vec<Pair> = lines(PAIRS).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut agreed, mut false_accepts, mut others) = (0, 0, Vec::new());
    for Pair { category, gold, response, want, why } in &pairs {
        let right = Gold::parse(gold).is_ok_and(|g| judge(&g, "", response) == Verdict::Right);
        agreed += usize::from(right == *want);
        false_accepts += usize::from(right && !want);
        if right != *want && why.is_none() || right == *want && why.is_some() {
            others.push(format!("{category}: gold {gold}, response {response}: {right}"));
        }
    }
    // `print!` would be kept from whoever runs all tests.
    let all = pairs.len();
    let line =
        format!("agreement with pairs.json: {agreed} of {all}, {false_accepts} false accepts");
    writeln!(stdout(), "\n{line}").unwrap();
    assert!(agreed * 100 >= all * 92 && false_accepts * 100 <= all, "{line}");
    assert!(others.is_empty(), "without a reason:\n{}", others.join("\n"));
}
