//! `srft plan`.

use super::arguments::Plan;
use super::tables::table;
use super::{note, say};
use srft::config::Frozen;
use srft::error::{Error, Result};
use srft::model::Lora;
use srft::plan::{Circumstances, Item, plan as memory_plan, stored_bytes};
use srft::platform::memory_bytes;
use srft::run::{Reader, grader, held, lora_settings, model_folder};

/// Prints where a run's memory would go.
pub fn plan(arguments: Plan) -> Result<()> {
    let rank = ("--lora-rank", "lora.rank", arguments.lora_rank.map(|r| r.to_string()));
    let config = arguments.settings.resolve(Vec::new(), &[rank])?;
    let folder = model_folder(&config.model.path)?;
    let tokenizer = folder.tokenizer()?;
    let model = folder.shape(&tokenizer)?;
    let lora = match &folder.adapter {
        Some(adapter) => Some(Lora::from_json(&adapter.config, &adapter.place)?.0),
        None => lora_settings(&config)?,
    };
    let on_cpu = config.run.device == "cpu";
    let halves = held(&config, &folder)? == Frozen::Stored && folder.names_halves();
    let grader = grader(&config)?;
    let mut reader = Reader::new(&config, &folder, &tokenizer, &model, &grader)?;
    let (_, suites) = reader.source_and_suites()?;
    let longest = reader.longest();
    reader.notes.iter().for_each(note);
    let here = Circumstances { on_cpu, halves, longest, evaluates: !suites.is_empty() };
    let plan = memory_plan(&config, &model, lora.as_ref(), here);
    let mib = |bytes: usize| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let mut rows = Vec::new();
    for (when, items) in
        [("always", &plan.lasting), ("sampling", &plan.sampling), ("update", &plan.update)]
    {
        let row = |Item { name, bytes, of }: &Item| {
            vec![name.to_string(), mib(*bytes), when.to_string(), of.clone()]
        };
        rows.extend(items.iter().map(row));
    }
    let peak = plan.peak_bytes();
    rows.push(vec!["peak".into(), mib(peak), String::new(), "always + the larger of both".into()]);
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| serde_json::json!({"for": r[0], "mib": r[1], "when": r[2], "of": r[3]}))
            .collect();
        return say(serde_json::json!({"peak_bytes": peak, "items": rows}));
    }
    say(table(&["for", "MiB", "when", "of"], rows))?;
    say(format_args!("on disk: {} MiB", mib(stored_bytes(&config, &model, lora.as_ref()))))?;
    let has = match arguments.memory {
        Some(gib) => Some((gib * f64::from(1 << 30)) as usize),
        None if on_cpu => memory_bytes().map(|bytes| bytes as usize),
        None => None,
    };
    match has {
        Some(has) if peak <= has => say(format_args!("fits: {} of {} MiB", mib(peak), mib(has))),
        Some(has) => Err(Error::input(format!("{} MiB do not fit in {}", mib(peak), mib(has)))
            .next(
                "try --lora-rank 16, fewer rollout.slots, a shorter data.max_tokens with \
             rollout.max_new_tokens, or a smaller train.micro_batch_tokens",
            )),
        None => say("adapters do not tell their memory: --memory GIB says whether it fits"),
    }
}
