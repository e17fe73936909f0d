//! What an adapter does, in figures (`srft bench`): its own, a model's products one by one, a decoding step and an
//! update whole. Each result is verified before it is timed, and what does not fit into the time is said.

mod clock;
mod machine;
mod memory;
mod model;
mod noise;
mod product;
mod products;
mod record;
mod shape;

pub use record::*;
pub use shape::{Shape, is_named, names, shape};

use crate::config::{Frozen, Precision};
use crate::device::{self, Kind, open_in};
use crate::error::{Error, Result};
use crate::platform::{Stopwatch, free_memory_bytes};
use crate::selftest;
use clock::Clock;
use model::Subject;
use products::Products;
use std::sync::atomic::AtomicBool;

/// What can be measured besides the adapter's own figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A decoding step by rows.
    Decode,
    /// An update of adapters.
    Update,
    /// The model's products one by one.
    Products,
}

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Of which model.
    pub shape: Shape,
    /// How its frozen matrices are held: in f32, or stored as published models are, in bfloat16.
    pub frozen: Frozen,
    /// How large products are computed.
    pub precision: Precision,
    /// Only these parts.
    pub parts: Vec<Part>,
    /// Within so many seconds after the self-test.
    pub seconds: f64,
}

/// The share of the time that the adapter's own figures, decoding and the update take of what is left.
const OF_MACHINE: f64 = 0.1;
const OF_DECODE: f64 = 0.4;
const OF_UPDATE: f64 = 0.5;

/// Measures what is asked, until `stop` is set. Where it fails or is stopped, `bench` has what was measured until
/// then. `told` hears what is being measured.
pub async fn run(
    bench: &mut Bench,
    asked: Asked,
    adapter: &device::Adapter,
    stop: &AtomicBool,
    told: &dyn Fn(&str),
) -> Result<()> {
    let whole = Stopwatch::start();
    let result = measure(bench, asked, adapter, stop, told).await;
    bench.settle();
    bench.secs = whole.elapsed_secs();
    bench.left_out.extend(result.as_ref().err().map(|e| format!("all that follows: {}", e.what)));
    result
}

async fn measure(
    bench: &mut Bench,
    Asked { shape, frozen, precision, parts, seconds }: Asked,
    adapter: &device::Adapter,
    stop: &AtomicBool,
    told: &dyn Fn(&str),
) -> Result<()> {
    bench.version = env!("CARGO_PKG_VERSION");
    bench.commit = option_env!("SRFT_COMMIT");
    told("self-test");
    let selected = open_in(adapter, String::new(), precision).await?;
    bench.adapter = Some(Adapter {
        name: selected.name.clone(),
        backend: selected.backend.clone(),
        driver: selected.driver.clone(),
        kind: selected.kind.name(),
        precision: precision.name(),
    });
    bench.self_test = selftest::require(&selected).await?.passed;
    let listener = selected.listener();
    let device = &selected.device;
    let subject = Subject::new(shape.clone(), frozen)?;
    let plan_bytes = subject.plan_bytes(device)?;
    bench.model = Some(Model {
        name: shape.name.clone(),
        parameters: subject.parameters() as u64,
        held: if frozen == Frozen::F32 { "f32" } else { "bf16" },
        weight_bytes: subject.weight_bytes() as u64,
        plan_bytes: plan_bytes as u64,
    });
    let has = |part| parts.contains(&part);
    if has(Part::Decode) || has(Part::Update) {
        require_room(plan_bytes, selected.kind)?;
    }
    // Compiling the self-test's kernels takes as long as it takes.
    let clock = &Clock::start(seconds, stop);
    let max_bytes = adapter.max_binding_bytes.min(adapter.max_buffer_bytes);
    let secs = OF_MACHINE * clock.left_secs();
    bench.machine = Some(machine::machine(clock, device, max_bytes, secs, told).await?);
    memory::clean(device);

    if has(Part::Decode) || has(Part::Update) {
        told("random weights");
        let model = subject.model(device)?;
        if has(Part::Decode) {
            let until = (1.0 - OF_DECODE) * clock.left_secs();
            for (index, rows) in model::ROWS.into_iter().enumerate() {
                let noun = if rows == 1 { "row" } else { "rows" };
                let left = clock.left_secs() - until;
                // Three times a look's steps, for that many more rows.
                let wanted = bench
                    .decode
                    .last()
                    .map_or(0.0, |d| 3e-3 * d.step_ms * (model::LOOK * rows / d.rows) as f64);
                if left <= wanted {
                    bench.left_out.push(format!("decoding {rows} {noun}: no time"));
                    continue;
                }
                told(&format!("decoding {rows} {noun}"));
                let secs = left / (model::ROWS.len() - index) as f64;
                bench.decode.push(subject.decode(clock, &model, rows, secs).await?);
            }
        }
        if has(Part::Update) {
            told("an update");
            let secs = OF_UPDATE * clock.left_secs();
            match secs > 0.0 {
                true => bench.update = Some(subject.update(clock, model, secs).await?),
                false => bench.left_out.push("the update: no time".into()),
            }
        }
        bench.peak_bytes = memory::peak_bytes(device);
        memory::clean(device);
    }
    if has(Part::Products) {
        let rank = subject.config.lora.rank;
        let products = Products { model: &shape.config, rank, device, max_bytes };
        products.measure(clock, &mut bench.products, &mut bench.left_out, told).await?;
    }
    listener.require_silence()
}

/// Refuses a model that takes more than is free, where that is known.
fn require_room(bytes: usize, kind: Kind) -> Result<()> {
    let shares = matches!(kind, Kind::Cpu | Kind::Software | Kind::Integrated);
    let free = free_memory_bytes().filter(|_| shares);
    match free {
        Some(free) if bytes as u64 > free => Err(Error::input(format!(
            "the model takes about {} MiB, {} are free",
            bytes >> 20,
            free >> 20
        ))
        .at("--model")
        .next(format!("a smaller one ({}), or --only products", names().join(", ")))),
        _ => Ok(()),
    }
}
