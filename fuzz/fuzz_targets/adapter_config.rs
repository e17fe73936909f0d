//! PEFT's `adapter_config.json`, read and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::model::lora::{Lora, TARGETS};

fuzz_target!(|input: &[u8]| {
    let place = "adapter_config.json";
    let Ok(lora) = Lora::from_json(input, 2, place) else { return };
    let base = Lora::base_in(input, place).expect("it was read").unwrap_or_default();
    assert!((1..=4096).contains(&lora.rank));
    assert!(lora.scale() > 0.0 && lora.scale().is_finite(), "{lora:?}");
    assert!((0.0..1.0).contains(&lora.dropout));
    assert!(!lora.targets.is_empty());
    assert!(lora.targets.iter().all(|target| TARGETS.contains(&target.as_str())));
    let written = lora.to_json(&base);
    assert_eq!(Lora::from_json(&written, 2, place).expect("it was written"), lora);
    let again = Lora::base_in(&written, place).expect("it was written");
    assert_eq!(again.unwrap_or_default(), base);
});
