//! A data file; its first byte says in which format: l as JSONL, c as CSV, any other as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::data::file::{Rows, parse};
use srft_formats::data::shape::{Content, Needs};

const ALL: Needs = Needs { response: true, answer: true };
const NONE: Needs = Needs { response: false, answer: false };

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let file = match first {
        b'l' => "data.jsonl",
        b'c' => "data.csv",
        _ => "data.json",
    };
    let strict = parse(bytes, file, ALL);
    let Ok(read) = parse(bytes, file, NONE) else {
        assert!(strict.is_err());
        return;
    };
    check(&read, bytes);
    if let Ok(strict) = strict {
        assert_eq!(strict, read);
        assert!(read.rows.iter().all(|row| row.answer.is_some()));
    }
    if file == "data.jsonl" {
        let text = std::str::from_utf8(bytes).expect("it was read").trim_start_matches('\u{FEFF}');
        let array = format!("[{}]", text.trim_ascii_end().replace('\n', ",\n"));
        // Lines make an array; what is one document, or spread over lines, does not.
        if let Ok(array) = parse(array.as_bytes(), "data.json", NONE) {
            assert_eq!(array.rows, read.rows);
        }
    }
});

fn check(read: &Rows, bytes: &[u8]) {
    let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert!(!read.rows.is_empty());
    assert!(read.rows.iter().all(|row| (1..=lines).contains(&row.line)));
    assert!(read.rows.is_sorted_by_key(|row| row.line));
    for row in &read.rows {
        match &row.content {
            Content::Completion { prompt, .. } => assert!(!prompt.trim().is_empty()),
            Content::Chat(chat) => assert!(!chat.messages.is_empty()),
            Content::Text(text) => assert!(!text.trim().is_empty()),
            Content::Question(_) | Content::Made { .. } => {
                panic!("no file holds what a program made")
            }
        }
    }
}
