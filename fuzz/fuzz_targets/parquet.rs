//! A Parquet file. Where the crate under the reader panics, which the reader turns into an error, nothing
//! is said: libFuzzer would end the target at the first word.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::data::file::parse;
use srft_formats::data::shape::Needs;
use std::sync::Once;

static QUIET: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let needs = Needs { response: false, answer: false };
    let Ok(read) = parse(input, "data.parquet", needs) else { return };
    assert!(!read.rows.is_empty());
    assert!(read.rows.is_sorted_by(|a, b| a.line < b.line), "rows are numbered as they lie");
});
