//! `srft plan`.

use super::arguments::Plan;
use super::tables::table;
use super::{note, say};
use srft::config::Frozen;
use srft::error::{Error, Result};
use srft::plan::{
    Circumstances, Item, assumed, budget, plan as memory_plan, recomputed, savings, stored_bytes,
};
use srft::platform::memory_bytes;
use srft::run::{Reader, grader, held, lora_settings, open_model};

/// Rank of the adapters suggested if the whole model does not fit.
const ADVISED_RANK: usize = 16;

/// Prints where a run's memory would go.
pub fn plan(arguments: Plan) -> Result<()> {
    let rank = ("--lora-rank", "lora.rank", arguments.lora_rank.map(|r| r.to_string()));
    let mut config = arguments.settings.resolve(Vec::new(), &[rank])?;
    if let Some(gib) = arguments.memory {
        config = config.with(|settings| settings.train.memory_gib = gib)?;
    }
    let folder = open_model(&config.model)?;
    let (tokenizer, model) = folder.text_and_shape()?;
    folder.notes(&model).iter().for_each(note);
    let lora = match &folder.adapter {
        Some(adapter) => Some(adapter.lora(model.layers)?),
        None => lora_settings(&config)?,
    };
    let on_cpu = config.run.device == "cpu";
    let frozen = match held(&config, &folder)? {
        Frozen::Stored => folder.frozen_bytes(),
        Frozen::F32 => None,
    };
    let grader = grader(&config)?;
    let mut reader = Reader::new(&config, &folder, &tokenizer, &model, &grader)?;
    let (_, suites) = reader.source_and_suites()?;
    let longest = reader.longest();
    reader.notes.iter().for_each(note);
    let here = Circumstances { on_cpu, frozen, longest, evaluates: !suites.is_empty() };
    if longest.is_none() && config.model.path != "tiny" {
        note(format_args!(
            "no --data is given: prompt and response are taken to have up to {} tokens together \
             (rollout.max_new_tokens = {})",
            assumed(&config, &model),
            config.rollout.max_new_tokens
        ));
    }
    let again = recomputed(&config, &model, lora.as_ref(), here, budget(&config, on_cpu));
    let plan = memory_plan(&config, &model, lora.as_ref(), here, again);
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
    let has = match config.train.memory_gib {
        0.0 if on_cpu => memory_bytes().map(|bytes| bytes as usize),
        _ => budget(&config, on_cpu),
    };
    match has {
        Some(has) if peak <= has => say(format_args!("fits: {} of {} MiB", mib(peak), mib(has))),
        Some(has) => {
            let adapted = config.with(|settings| settings.lora.rank = ADVISED_RANK)?;
            let adapters = lora_settings(&adapted)?;
            let ways = savings(&config, &model, lora.as_ref(), here, adapters.as_ref(), has);
            let way = |(way, peak): &(String, usize)| format!("{way} ({} MiB)", mib(*peak));
            let mut ways: Vec<String> = ways.iter().map(way).collect();
            ways.extend(
                longest.is_none().then(|| "--data F.jsonl, if its texts are shorter".into()),
            );
            ways.push("a smaller --max-new-tokens, or data.max_tokens".into());
            Err(Error::input(format!("{} MiB do not fit in {}", mib(peak), mib(has)))
                .next(format!("to need less, each on top of the ones before: {}", ways.join(", "))))
        }
        None => say("the adapter's memory is unknown: give --memory GIB to check whether it fits"),
    }
}
