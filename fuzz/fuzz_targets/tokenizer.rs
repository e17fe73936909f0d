//! `tokenizer.json` and, after a byte 0, a text. The library's panics, which `text` turns into errors,
//! don't count; each place of one is told once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::text::Tokenizer;
use std::collections::BTreeSet;
use std::panic;
use std::sync::Mutex;

static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn tell_once(panic: &panic::PanicHookInfo) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if TOLD.lock().is_ok_and(|mut places| places.insert(place)) {
        eprintln!("{panic}");
    }
}

// This hook instead of libfuzzer's, which aborts before anyone can catch: what nobody catches still
// ends the process.
fuzz_target!(init: panic::set_hook(Box::new(tell_once)), |input: &[u8]| {
    let [json, text] = srft_fuzz::files(input);
    let Ok(tokenizer) = Tokenizer::from_bytes(json.unwrap_or_default(), "tokenizer.json") else {
        return;
    };
    let text = String::from_utf8_lossy(text.unwrap_or(b"1+2= <s>"));
    let _ = tokenizer.encode(&text);
    if let Ok(ids) = tokenizer.encode_continuation(&text) {
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        for &id in &ids {
            assert!(tokenizer.id(&tokenizer.token(id)).is_some(), "{id} is spelled as nothing");
        }
        tokenizer.decode(&ids);
    }
    // What a model may sample: any row of an embedding that is larger than the vocabulary.
    let ids: Vec<u32> = text.bytes().map(u32::from).collect();
    tokenizer.decode(&ids);
});
