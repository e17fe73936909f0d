//! `srft bench`.

use super::arguments::Bench as Arguments;
use super::progress::Downloading;
use super::say;
use super::stop::stop_on_interrupt;
use super::tables::{percent, table};
use indicatif::{ProgressBar, ProgressStyle};
use srft::bench::{Asked, Bench, Limit, Machine, Part, is_named, run, shape};
use srft::config::{Config, Model, Precision};
use srft::device::find;
use srft::error::{Error, Result};
use srft::report::{grouped, significant, span, tabled};
use srft_hub::{Hub, fetched_model};
use std::io::IsTerminal;
use std::time::Duration;

/// What the first Ctrl-C is answered with.
const STOPPING: &str = "\nstopping; what is measured so far is printed";

/// Measures an adapter and prints the figures.
pub async fn bench(arguments: Arguments) -> Result<()> {
    if arguments.seconds == 0 {
        return Err(Error::input("0 seconds").at("--seconds").next("give it at least 1"));
    }
    let mut model = Model { path: arguments.model.clone(), ..Model::default() };
    if !is_named(&model.path) {
        let hub = Hub::from_env(arguments.offline, Box::new(Downloading::new()));
        model.path = fetched_model(&model.path, &hub)?;
    }
    let shape = shape(&model)?;
    let precision = Config::flag("--precision", "run.precision", &arguments.precision);
    let precision = Config::resolve(&[precision])?.run.precision;
    let (adapter, _) = find(&arguments.device).await?;
    let mut parts: Vec<Part> = arguments.only.iter().map(|&part| part.into()).collect();
    if parts.is_empty() {
        parts = vec![Part::Decode, Part::Update, Part::Products];
    }
    let stop = stop_on_interrupt(STOPPING)?;
    let style =
        ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}").expect("a valid template");
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new_spinner().with_style(style),
        false => ProgressBar::hidden(),
    };
    bar.enable_steady_tick(Duration::from_millis(100));
    let told = |what: &str| bar.set_message(what.to_string());
    let seconds = f64::from(arguments.seconds);
    let asked = Asked { shape, frozen: arguments.frozen.into(), precision, parts, seconds };
    let mut bench = Bench::default();
    let result = run(&mut bench, asked, &adapter, &stop, &told).await;
    bar.finish_and_clear();
    match arguments.json && bench.adapter.is_some() {
        true => say(serde_json::to_string_pretty(&bench).expect("a plain record"))?,
        false => print(&bench)?,
    }
    result
}

fn print(bench: &Bench) -> Result<()> {
    let (Some(adapter), Some(model)) = (&bench.adapter, &bench.model) else { return Ok(()) };
    say(format_args!(
        "{} ({}, {}), {}: self-test {} passed",
        adapter.name,
        adapter.backend,
        adapter.kind,
        adapter.driver,
        bench.self_test.len()
    ))?;
    say(format_args!(
        "{}: {} million parameters, matrices in {}, random; sampling and update take about {} MiB\n",
        model.name,
        significant(model.parameters as f64 / 1e6),
        model.held,
        grouped(model.plan_bytes >> 20)
    ))?;
    let Some(machine) = &bench.machine else { return Ok(()) };
    say(table(&["the adapter", "measured"], machine_rows(machine)))?;
    if !bench.decode.is_empty() || bench.update.is_some() {
        say(format_args!(
            "\n{}",
            table(&["the model", "ms", "tokens/s", "bound by", "of that bound"], model_rows(bench))
        ))?;
    }
    if !bench.products.is_empty() {
        say(format_args!("\n{}", products(bench)))?;
        say(
            "bound by: what would take longer at the figures above, reading and writing the matrices or the arithmetic",
        )?;
    }
    for what in &bench.left_out {
        say(format_args!("left out: {what}"))?;
    }
    say(format_args!(
        "\nto send in (docs/gpu.md), measured in {}:\n{}",
        span(bench.secs),
        line(bench)
    ))
}

fn machine_rows(machine: &Machine) -> Vec<Vec<String>> {
    let us = |us: f64| format!("{} µs", significant(us));
    let per_sec = |giga: f64, unit: &str| match giga {
        1000.0.. => format!("{} T{unit}/s", significant(giga / 1e3)),
        _ => format!("{} G{unit}/s", significant(giga)),
    };
    [
        ("a launch, in a queue", us(machine.launch_us)),
        ("a small write from the host", us(machine.host_write_us)),
        ("a launch and a wait", us(machine.wait_us)),
        ("a launch and a readback", us(machine.readback_us)),
        ("memory", per_sec(machine.bandwidth_gb_per_sec, "B")),
        ("products in f32", per_sec(machine.peak_gflop_per_sec, "FLOP")),
    ]
    .map(|(name, value)| vec![name.to_string(), value])
    .to_vec()
}

fn bound(limit: Limit) -> [String; 2] {
    [limit.limit.into(), format!("{}%", percent(limit.of_limit))]
}

fn model_rows(bench: &Bench) -> Vec<Vec<String>> {
    let row = |name: String, ms: f64, tokens: f64, limit: Limit| {
        let [by, of] = bound(limit);
        vec![name, significant(ms), significant(tokens), by, of]
    };
    let rows = |n: usize| if n == 1 { "1 row".into() } else { format!("{n} rows") };
    let decode = bench.decode.iter().map(|d| {
        row(format!("decoding step, {}", rows(d.rows)), d.step_ms, d.tokens_per_sec, d.limit)
    });
    let update = bench.update.iter().map(|u| {
        let length = u.prompt + u.response;
        let name = format!("update, {} × {length} tokens, rank {}", u.sequences, u.rank);
        row(name, u.ms, u.tokens_per_sec, u.limit)
    });
    decode.chain(update).collect()
}

/// A line for each matrix and number of rows, a column for each who computes it.
fn products(bench: &Bench) -> impl std::fmt::Display {
    let mut ways: Vec<&str> = Vec::new();
    let mut lines: Vec<[usize; 3]> = Vec::new();
    for p in &bench.products {
        if !ways.contains(&p.by) {
            ways.push(p.by);
        }
        if !lines.contains(&[p.n, p.k, p.m]) {
            lines.push([p.n, p.k, p.m]);
        }
    }
    let mut header = vec!["matrix (N × K)".to_string(), "M".into()];
    header.extend(ways.iter().map(|by| format!("{by}, ms")));
    header.extend(["GFLOP/s", "bound by", "of that bound"].map(String::from));
    let row = |line: &[usize; 3]| {
        let of_line: Vec<_> = bench.products.iter().filter(|p| [p.n, p.k, p.m] == *line).collect();
        let first = of_line[0];
        let mut row =
            vec![format!("{} ({} × {})", first.matrix, first.n, first.k), first.m.to_string()];
        row.extend(ways.iter().map(|by| {
            let found = of_line.iter().find(|p| p.by == *by);
            found.map_or("–".into(), |p| significant(p.ms))
        }));
        // The figures on the right are of what the model uses.
        let ours = of_line.iter().find(|p| p.by == "srft").unwrap_or(&of_line[0]);
        row.push(significant(ours.gflop_per_sec));
        row.extend(bound(ours.limit));
        row
    };
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    tabled(&header, lines.iter().map(row).collect(), 1)
}

/// Everything in one line, for an issue.
fn line(bench: &Bench) -> String {
    let mut parts = vec![match bench.commit {
        Some(commit) => format!("srft {} ({commit})", bench.version),
        None => format!("srft {}", bench.version),
    }];
    parts.extend(bench.adapter.iter().map(|a| format!("{}; {}; {}", a.name, a.backend, a.driver)));
    let units = bench.adapter.iter().map(|a| a.precision).filter(|&p| p != Precision::F32.name());
    parts.extend(units.map(|precision| format!("products in {precision}")));
    parts.extend(bench.machine.iter().map(|m| {
        format!(
            "launch {} µs, wait {} µs, {} GB/s, {} GFLOP/s",
            significant(m.launch_us),
            significant(m.wait_us),
            significant(m.bandwidth_gb_per_sec),
            significant(m.peak_gflop_per_sec)
        )
    }));
    parts.extend(bench.model.iter().map(|m| format!("{} {}", m.name, m.held)));
    parts.extend(
        bench
            .decode
            .iter()
            .map(|d| format!("decode {} {} tok/s", d.rows, significant(d.tokens_per_sec))),
    );
    parts.extend(
        bench.update.iter().map(|u| format!("update {} tok/s", significant(u.tokens_per_sec))),
    );
    parts.extend(bench.peak_bytes.map(|bytes| format!("{} MiB", bytes >> 20)));
    parts.push(format!("{} self-tests passed", bench.self_test.len()));
    parts.join("; ")
}
