//! PEFT's `adapter_config.json`, read and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_fuzz::model::lora::{Lora, TARGETS};

fuzz_target!(|input: &[u8]| {
    let Ok((lora, base)) = Lora::from_json(input, "adapter_config.json") else { return };
    assert!((1..=4096).contains(&lora.rank));
    assert!(lora.scale() > 0.0 && lora.scale().is_finite(), "{lora:?}");
    assert!((0.0..1.0).contains(&lora.dropout));
    assert!(!lora.targets.is_empty());
    assert!(lora.targets.iter().all(|target| TARGETS.contains(&target.as_str())));
    let again = Lora::from_json(&lora.to_json(&base), "adapter_config.json");
    assert_eq!(again.expect("it was written"), (lora, base));
});
