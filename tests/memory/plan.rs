//! `srft plan`'s prediction against what both backends allocate.

use crate::alone::alone;
use crate::backends::devices;
use crate::{COUNTED, MODEL};
use burn::backend::DispatchDevice;
use burn::tensor::Device;
use pollster::block_on;
use srft::config::{Frozen, Storage};
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::plan::{Circumstances, plan};
use srft::records::Example;
use srft::run::lora_settings;
use srft::text::Tokenizer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// 16 rollouts that nearly reach the context's end and the demonstrations; on an adapter, since a
/// software one decodes slowly, the demonstrations alone.
fn step(on_cpu: bool) -> String {
    format!(
        "[objective]\nmethod = \"{}\"\n[rollout]\nprompts = 4\ngroup = 4\nmax_new_tokens = 230\n\
         [train]\nmicro_batch_tokens = 1024\n",
        if on_cpu { "srft" } else { "sft" }
    )
}

/// How the memory of one step is counted.
trait Counter {
    /// Bytes held now.
    fn held(&self) -> usize;
    /// The most that was held while `step` ran.
    fn peak(&self, step: &mut dyn FnMut()) -> usize;
}

/// What this process allocates.
struct OfProcess;

impl Counter for OfProcess {
    fn held(&self) -> usize {
        COUNTED.current_usage()
    }

    fn peak(&self, step: &mut dyn FnMut()) -> usize {
        COUNTED.reset_peak_usage();
        step();
        COUNTED.peak_usage()
    }
}

/// What an adapter's allocator has given out, looked at all the time.
struct OfAdapter<'a>(&'a Device);

impl Counter for OfAdapter<'_> {
    fn held(&self) -> usize {
        self.0.memory_pool_usage().expect("an adapter with an allocator").bytes_in_use as usize
    }

    fn peak(&self, step: &mut dyn FnMut()) -> usize {
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let watcher = threads.spawn(|| {
                let mut peak = 0;
                while !done.load(Ordering::Relaxed) {
                    peak = peak.max(self.held());
                    std::thread::sleep(Duration::from_micros(500)); // others ask for memory too
                }
                peak
            });
            step();
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap()
        })
    }
}

/// A run of one step, its plan against the count; why they differ by more than 15%.
fn compare(settings: &str, halves: bool, device: &Device, counter: &dyn Counter) -> Option<String> {
    let on_cpu = matches!(device.as_dispatch(), DispatchDevice::Flex(_));
    let settings = format!("{}{settings}", step(on_cpu));
    let config = crate::common::config(&settings);
    let shape = ModelConfig::from_json(MODEL.as_bytes(), "test").unwrap();
    let lora = lora_settings(&config).unwrap();
    let here = Circumstances { on_cpu, halves, longest: None, evaluates: true };
    let predicted = plan(&config, &shape, lora.as_ref(), here).peak_bytes();
    let before = counter.held();
    let mut model = if halves {
        let home = tempfile::tempdir().unwrap();
        let tokenizer = ModelFolder::tiny().tokenizer;
        let folder = ModelFolder::of_parts("test", MODEL.into(), Vec::new(), tokenizer);
        let whole = Llama::random(shape, 1, &Device::flex());
        block_on(folder.save(&home.path().join("m"), &whole, Storage::Bf16)).unwrap();
        let folder = ModelFolder::read(&home.path().join("m")).unwrap();
        folder.load_frozen(Frozen::Stored, device).unwrap().0
    } else {
        Llama::random(shape, 1, device)
    };
    if let Some(lora) = lora {
        model.adapt(lora, 1);
    }
    let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "tiny").unwrap();
    let example = |i: usize| Example {
        suite: "s".into(),
        prompt: format!("{i}+{i}=1234567890123456"),
        demonstration: Some("1".repeat(229)),
        answer: "1".into(),
        layout: Default::default(),
        extra: Default::default(),
    };
    let examples = (0..8).map(example).collect();
    let mut trainer = crate::common::trainer(model, tokenizer, &settings, examples);
    let peak = counter.peak(&mut || {
        let (report, _) = block_on(trainer.step()).unwrap();
        assert!(!on_cpu || report.rollout_tokens > 16 * 200, "{report:?}");
        assert!(report.trained_tokens > 4 * 220, "{report:?}");
    });
    let counted = peak - before;
    let ratio = predicted as f64 / counted as f64;
    let mib = |bytes: usize| bytes >> 20;
    (!(0.85..=1.15).contains(&ratio)).then(|| {
        let backend = if on_cpu { "CPU" } else { "adapter" };
        format!(
            "{backend}, {settings:?}, halves {halves}: predicted {} MiB, counted {} MiB, ratio \
             {ratio:.3}",
            mib(predicted),
            mib(counted)
        )
    })
}

#[test]
fn predictions_are_within_15_percent_of_counted_allocations() {
    alone("plan::predictions_are_within_15_percent_of_counted_allocations", predictions);
}

fn predictions() {
    let mut wrong = Vec::new();
    for (settings, halves) in [
        ("checkpointing = false\n", false),
        ("checkpointing = true\n", false),
        ("checkpointing = false\n[lora]\nrank = 8\n", false),
        ("checkpointing = true\n[lora]\nrank = 8\n", false),
        ("checkpointing = true\n[lora]\nrank = 8\n", true),
        ("checkpointing = false\n[lora]\nrank = 8\n", true),
        ("checkpointing = true\n[lora]\nrank = 32\ntargets = \"q_proj v_proj\"\n", false),
    ] {
        for (_, device) in &devices() {
            let counter: &dyn Counter = match device.as_dispatch() {
                DispatchDevice::Flex(_) => &OfProcess,
                _ => &OfAdapter(device),
            };
            wrong.extend(compare(settings, halves, device, counter));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
