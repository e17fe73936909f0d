//! `srft bench`: every figure is there, within the time, on both backends. How large they are is the machine's affair.

use crate::program::{Home, assert_error};
use serde_json::Value;

/// Every number in it, by its place.
fn numbers(value: &Value, place: &str, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(n) => found.push((place.into(), n.as_f64().unwrap())),
        Value::Array(all) => all.iter().for_each(|v| numbers(v, place, found)),
        Value::Object(all) => {
            all.iter().for_each(|(k, v)| numbers(v, &format!("{place}.{k}"), found))
        }
        _ => {}
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const WHOLE: [&str; 12] = [
    "version",
    "commit",
    "adapter",
    "self_test",
    "model",
    "machine",
    "decode",
    "update",
    "peak_bytes",
    "products",
    "left_out",
    "secs",
];

fn has_every_figure(device: &str, backend: &str, seconds: u32, ways: &[&str]) {
    let home = Home::new();
    let all =
        home.succeeds(&format!("bench --json --model tiny --device {device} --seconds {seconds}"));
    let bench: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(keys(&bench), WHOLE);
    assert_eq!(bench["adapter"]["backend"], backend);
    assert!(bench["self_test"].as_array().unwrap().len() > 10);
    assert_eq!(keys(&bench["model"]), ["name", "parameters", "held", "weight_bytes", "plan_bytes"]);
    let machine = [
        "launch_us",
        "host_write_us",
        "wait_us",
        "readback_us",
        "bandwidth_gb_per_sec",
        "peak_gflop_per_sec",
    ];
    assert_eq!(keys(&bench["machine"]), machine);
    // A slow machine has no time for the longer ones, and says so.
    let mut rows: Vec<u64> = vec![1, 16, 64];
    let left_out = bench["left_out"].to_string();
    rows.retain(|rows| {
        !left_out.contains(&format!(
            "decoding {rows} {}: no time",
            if *rows == 1 { "row" } else { "rows" }
        ))
    });
    let decode = bench["decode"].as_array().unwrap();
    assert_eq!(decode.iter().map(|d| d["rows"].as_u64().unwrap()).collect::<Vec<_>>(), rows);
    let of_decode = ["rows", "past", "step_ms", "tokens_per_sec", "limit", "of_limit"];
    decode.iter().for_each(|d| assert_eq!(keys(d), of_decode));
    let of_update =
        ["sequences", "prompt", "response", "rank", "ms", "tokens_per_sec", "limit", "of_limit"];
    match left_out.contains("the update: no time") {
        true => assert!(bench["update"].is_null()),
        false => assert_eq!(keys(&bench["update"]), of_update),
    }
    let products = bench["products"].as_array().unwrap();
    let of_product = [
        "matrix",
        "n",
        "k",
        "m",
        "by",
        "ms",
        "gflop_per_sec",
        "of_peak",
        "of_bandwidth",
        "limit",
        "of_limit",
    ];
    for (index, product) in products.iter().enumerate() {
        assert_eq!(keys(product), of_product);
        assert!(product["of_peak"].as_f64().unwrap() <= 1.0, "{product}");
        assert!(ways.contains(&product["by"].as_str().unwrap()), "{product}");
        let same = |p: &Value| ["n", "k", "m", "by"].iter().all(|key| p[key] == product[key]);
        assert_eq!(products.iter().position(same), Some(index), "{product} is there twice");
    }
    // The tiny model's first four have the same dimensions, and are measured once.
    let matrices =
        ["q, o, k, v", "gate, up", "down", "A of gate", "A of down", "B of gate", "head, a part"];
    for name in matrices {
        let found = products.iter().any(|p| p["matrix"] == name);
        assert!(found || left_out.contains(&format!("\"{name}: ")), "{name}: {all}");
    }
    let mut found = Vec::new();
    numbers(&bench, "", &mut found);
    assert!(found.len() > 10, "{all}");
    for (place, number) in found {
        assert!(number > 0.0 || cfg!(not(target_os = "linux")), "{place} is {number}");
    }
}

#[test]
fn every_figure_is_there_on_the_cpu() {
    has_every_figure("cpu", "flex", 8, &["burn", "srft", "srft bf16"]);
}

#[test]
fn every_figure_is_there_on_vulkan() {
    let ways = ["burn", "srft", "srft bf16", "tiles 128", "tiles 64", "page"];
    has_every_figure("vulkan", "vulkan", 20, &ways);
}

#[test]
fn what_has_no_time_is_named_and_the_last_line_is_to_send_in() {
    let home = Home::new();
    let printed = home.succeeds("bench --model tiny --device cpu --seconds 2 --frozen f32");
    for words in [
        "self-test ",
        "tiny: 0.568 million parameters, matrices in f32",
        "| a launch, in a queue ",
        "left out: ",
        " (no time)",
        "to send in (docs/gpu.md), measured in ",
    ] {
        assert!(printed.contains(words), "{words} in\n{printed}");
    }
    let line = printed.lines().last().unwrap();
    for words in ["srft 0.", "; CPU; flex; ", "launch ", "tiny f32", " self-tests passed"] {
        assert!(line.contains(words), "{words} in {line}");
    }
    // Only what is asked for.
    let only = home.succeeds("bench --json --model tiny --device cpu --seconds 5 --only products");
    let only: Value = serde_json::from_str(&only).unwrap();
    assert_eq!((&only["decode"], &only["update"]), (&Value::Array(Vec::new()), &Value::Null));
    assert!(!only["products"].as_array().unwrap().is_empty());
}

/// A model's folder gives its shape, its weights are not read.
#[test]
fn a_folder_gives_its_shape_and_what_is_wrong_with_it_is_said() {
    let home = Home::new();
    std::fs::write(home.path("model/model.safetensors"), "not read").unwrap();
    let of_model = "bench --device cpu --seconds 1 --json --model";
    let bench: Value = serde_json::from_str(&home.succeeds(&format!("{of_model} model"))).unwrap();
    assert_eq!(bench["model"]["parameters"], 2 * 16 * 16 + 2 * 8 * 16 + 3 * 24 * 16 + 23 * 16);

    let names = srft::bench::names();
    let help = home.succeeds("bench --help").split_whitespace().collect::<Vec<_>>().join(" ");
    let list = names.join(" | ");
    assert!(help.contains(&list), "--model should name {list}:\n{help}");
    home.fails("bench --model smollm2", 2, &["`smollm2`", "--model", &names.join(", ")]);
    let mut large: Value = serde_json::from_slice(&home.read("model/config.json")).unwrap();
    large["intermediate_size"] = 1_000_000.into();
    large["num_hidden_layers"] = 100_000.into();
    home.write("model/config.json", large.to_string());
    home.fails(&format!("{of_model} model"), 2, &["MiB", "are free", "--only products"]);
    home.fails("bench --seconds 0", 2, &["--seconds"]);
    home.fails("bench --device nonsense", 2, &["srft devices"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_prints_what_is_measured() {
    use std::process::{Command, Stdio};
    let home = Home::new();
    let mut command = home.command("bench --json --device cpu --model smollm2-135m --seconds 600");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let signal = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_error(&output, "bench, interrupted", 130, &["stopped before everything was measured"]);
    let bench: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(keys(&bench), WHOLE);
    assert!(bench["left_out"].to_string().contains("all that follows: stopped"), "{bench}");
}
