//! A gold answer and, after a byte 0, a response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::reward::math::{Gold, Verdict, final_answer, judge};

fuzz_target!(|input: &[u8]| {
    let [gold, response] = srft_fuzz::files(input).map(|file| file.map(String::from_utf8_lossy));
    let gold = gold.unwrap_or_default();
    let Ok(parsed) = Gold::parse(&gold) else { return };
    if let Some(response) = response {
        judge(&parsed, &gold, &response);
    }
    assert_ne!(judge(&parsed, "", &gold), Verdict::Wrong, "{gold:?}");
    let found = final_answer(&gold);
    let answer = found.as_deref().unwrap_or(&gold).trim();
    let boxed = format!("\\boxed{{{answer}}}");
    // A bare gold answer may be a sentence with a formula in it, which nobody looks for in a box,
    // and braces that don't pair end the box elsewhere.
    let has_formula = ["$", "\\(", "\\["].iter().any(|open| answer.contains(open));
    if final_answer(&boxed).as_deref() == Some(answer) && (found.is_some() || !has_formula) {
        // What announces an answer has other readings where the first can't be read; a box has none.
        let verdict = judge(&parsed, "", &boxed);
        let unread = found.is_some() && verdict == Verdict::Unreadable;
        assert!(unread || matches!(verdict, Verdict::Right | Verdict::Loose), "{answer:?}");
    }
});
