//! Mathematical equivalence against Python's math-verify (`golden/make_math.py`, which says what
//! the cases are): every verdict is math-verify's, or ours where the case gives the reason.

use std::collections::BTreeMap;

use serde::Deserialize;
use srft::reward::math::{Gold, Verdict, judge};

const CASES: &str = include_str!("golden/math/cases.jsonl");

/// Every category, its cases, and on how many of them math-verify agrees.
const EXPECTED: [(&str, usize, usize); 27] = [
    ("absolute value", 17, 17),
    ("adversarial", 72, 70),
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
    ("matrices", 23, 23),
    ("percent", 41, 40),
    ("plus-minus", 26, 25),
    ("polynomials", 54, 51),
    ("roots", 65, 62),
    ("scientific", 27, 25),
    ("sets", 63, 62),
    ("text", 51, 51),
    ("thousands", 33, 30),
    ("tuples", 48, 47),
    ("unions", 26, 24),
    ("units", 55, 51),
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

fn cases() -> Vec<Case> {
    let mut lines = CASES.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let found = (header.format.as_str(), header.version);
    assert_eq!(found, ("srft-golden", 1), "regenerate it: {}", header.regenerate);
    lines.map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn every_case_has_its_verdict() {
    let mut wrong = Vec::new();
    for Case { gold, response, math_verify, ours, .. } in cases() {
        let parsed = Gold::parse(&gold).unwrap_or_else(|e| panic!("{e}"));
        let verdict = judge(&parsed, &response);
        let expected = ours.unwrap_or(math_verify);
        if (verdict == Verdict::Right) != expected {
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
