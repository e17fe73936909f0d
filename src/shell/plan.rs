//! `srft plan`.

use super::arguments::Plan;
use super::tables::table;
use super::{note, say};
use srft::config::Frozen;
use srft::error::{Error, Result};
use srft::model::ModelFolder;
use srft::plan::{
    Circumstances, Item, assumed, budget, plan as memory_plan, recomputed, savings, stored_bytes,
    trained,
};
use srft::platform::memory_bytes;
use srft::run::{Reader, grader, held, lora_settings, open_model};
use srft_team::traffic::{Traffic, link};
use std::cmp::Ordering;

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
    let shared = match arguments.workers {
        Some(most) => {
            let tokens = config.rollout.prompts
                * config.rollout.group
                * longest.unwrap_or_else(|| assumed(&config, &model));
            let traffic = Traffic {
                trained: trained(&model, lora.as_ref()),
                files: sent_bytes(&folder),
                shards: config.train.shards,
                updates: config.train.epochs * config.train.minibatches,
                tokens,
                chain: lora.is_none(),
            };
            Some(sharing(traffic, usize::from(most), &arguments.link, arguments.step_secs)?)
        }
        None => None,
    };
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| serde_json::json!({"for": r[0], "mib": r[1], "when": r[2], "of": r[3]}))
            .collect();
        let mut found = serde_json::json!({"peak_bytes": peak, "items": rows});
        if let Some(shared) = shared {
            found["workers"] = shared.iter().map(Sharing::to_json).collect();
        }
        return say(found);
    }
    say(table(&["for", "MiB", "when", "of"], rows))?;
    say(format_args!("on disk: {} MiB", mib(stored_bytes(&config, &model, lora.as_ref()))))?;
    if let Some(shared) = shared {
        let most = shared.last().map_or(0, |row| row.workers);
        let heads =
            ["workers", "shards", "MB to join", "MB a step", "seconds on the wire", "faster"];
        say(table(&heads, shared.iter().map(Sharing::row).collect()))?;
        let faster = |one: &&Sharing, other: &&Sharing| one.speedup.partial_cmp(&other.speedup);
        let best = shared.iter().max_by(|a, b| faster(a, b).unwrap_or(Ordering::Equal));
        if let Some(best) = best.filter(|best| best.speedup.is_some() && best.workers < most) {
            say(format_args!("it stops paying beyond {} workers or so", best.workers))?;
        }
        let way = match lora {
            Some(_) => "every byte passes the coordinator",
            None => "weights and gradients go from worker to worker",
        };
        note(format_args!("{way}; workers alike, none of its own work (docs/cluster.md)"));
    }
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

/// What sharing a step with some workers costs.
struct Sharing {
    workers: usize,
    shards: usize,
    join_bytes: usize,
    step_bytes: usize,
    secs: f64,
    speedup: Option<f64>,
}

/// One worker, and twice as many each time up to `most`. A step that no setting cuts has a shard for each.
fn sharing(traffic: Traffic, most: usize, rate: &str, alone: Option<f64>) -> Result<Vec<Sharing>> {
    let bits = link(rate).ok_or_else(|| {
        Error::input(format!("`{rate}` is not a rate"))
            .at("--link")
            .next("for example 100m, 1g or 10g")
    })?;
    if alone.is_some_and(|secs| !(secs > 0.0 && secs.is_finite())) {
        return Err(Error::input("a step takes more than 0 seconds")
            .at("--step-secs")
            .next("give what a run's first steps say"));
    }
    let powers = (0..).map(|power| 1 << power).take_while(|&workers| workers < most);
    let of = |workers: usize| {
        let shards = if traffic.shards == 1 { workers } else { traffic.shards };
        let traffic = Traffic { shards, ..traffic };
        Sharing {
            workers,
            shards,
            join_bytes: workers * traffic.files,
            step_bytes: traffic.step_bytes(workers),
            secs: traffic.step_secs(workers, bits),
            speedup: alone.map(|secs| traffic.speedup(workers, bits, secs)),
        }
    };
    Ok(powers.chain([most]).map(of).collect())
}

impl Sharing {
    fn row(&self) -> Vec<String> {
        let mb = |bytes: usize| format!("{:.1}", bytes as f64 / 1e6);
        vec![
            self.workers.to_string(),
            self.shards.to_string(),
            mb(self.join_bytes),
            mb(self.step_bytes),
            format!("{:.2}", self.secs),
            self.speedup.map_or("?".into(), |times| format!("{times:.2}×")),
        ]
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "workers": self.workers, "shards": self.shards, "join_bytes": self.join_bytes,
            "step_bytes": self.step_bytes, "step_secs": self.secs, "speedup": self.speedup,
        })
    }
}

/// Bytes of the files that a worker is sent.
fn sent_bytes(folder: &ModelFolder) -> usize {
    let whole = if folder.is_built_in() { Vec::new() } else { folder.files() };
    whole.iter().chain(&folder.adapter_files()).map(|(_, bytes)| bytes.len()).sum()
}
