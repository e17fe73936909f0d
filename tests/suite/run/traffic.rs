//! What sharing a step costs on the wire.

use crate::program::Home;
use srft_team::traffic::{Traffic, link};

#[test]
fn a_plan_says_what_sharing_costs_on_the_wire() {
    let home = Home::new();
    let plan = "plan --device cpu --model tiny --lora-rank 4 --workers 6";
    let found = home.succeeds(&format!("{plan} --link 100m --step-secs 10 --json"));
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let shared = found["workers"].as_array().unwrap();
    let column = |key: &str| shared.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("workers"), [1, 2, 4, 6]);
    assert_eq!(column("join_bytes"), [0, 0, 0, 0], "every worker has the built-in model");
    let bytes: Vec<u64> = column("step_bytes").iter().map(|v| v.as_u64().unwrap()).collect();
    // Weights to each of the workers, a gradient from each of as many shards; the tokens are the same.
    assert_eq!(bytes[3] - bytes[2], 2 * (bytes[1] - bytes[0]));
    let secs = shared[3]["step_secs"].as_f64().unwrap();
    assert!((secs - 8.0 * bytes[3] as f64 / 0.94e8).abs() < 1e-9, "{secs}");
    let faster = shared[3]["speedup"].as_f64().unwrap();
    assert!((faster - 10.0 / (10.0 / 6.0 + secs)).abs() < 1e-9, "{faster}");
    let text = home.succeeds(&format!("{plan} --set train.shards=12"));
    assert!(text.contains("seconds on the wire") && !text.contains("stops paying"), "{text}");
    let text = home.succeeds(&format!("{plan} --link 1m --step-secs 1"));
    assert!(text.contains("it stops paying beyond 1 workers"), "{text}");
    home.fails(&format!("{plan} --link fast"), 2, &["--link", "`fast` is not a rate", "1g"]);
    home.fails(&format!("{plan} --step-secs 0"), 2, &["--step-secs"]);
}

/// Adapters of rank 16 of Qwen2.5-0.5B: 8.8 million numbers, 35.2 MB.
const ADAPTERS: Traffic = Traffic {
    trained: 8_798_208,
    files: 988_097_824,
    shards: 8,
    updates: 1,
    tokens: 0,
    chain: false,
};

#[test]
fn a_step_sends_weights_to_workers_and_gradients_from_shards() {
    assert_eq!(ADAPTERS.step_bytes(8), 16 * 4 * 8_798_208);
    let secs = ADAPTERS.step_secs(8, link("1g").unwrap());
    assert!((secs - 4.79).abs() < 0.01, "{secs}");
    let more = Traffic { updates: 2, tokens: 1000, ..ADAPTERS };
    assert_eq!(more.step_bytes(1), 2 * 9 * 4 * 8_798_208 + 30_000);
    let whole = Traffic { chain: true, ..ADAPTERS };
    assert_eq!([2, 64].map(|workers| whole.step_bytes(workers)), [2 * 4 * 8_798_208; 2]);
}

#[test]
fn more_workers_help_until_the_wire_is_full() {
    let at = |workers| {
        let cut = Traffic { shards: workers, ..ADAPTERS };
        cut.speedup(workers, link("1g").unwrap(), 34.0)
    };
    assert!(at(2) > 1.8 && at(4) > at(2) && at(64) < at(8), "{} {} {}", at(2), at(8), at(64));
}

#[test]
fn links_have_a_number_and_a_unit() {
    assert_eq!((link("100m"), link("2.5G")), (Some(1e8), Some(2.5e9)));
    for text in ["", "g", "1", "1k", "-1g", "0m", "1gg", "é"] {
        assert_eq!(link(text), None, "{text}");
    }
}
