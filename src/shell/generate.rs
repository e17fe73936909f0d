//! `srft eval` and `srft generate`.

use super::arguments::{Eval, Generate};
use super::chat::{message, prompt_of, template_of};
use super::progress::Reading;
use super::ready::ready;
use super::tables::{percent, problems, table, with_interval};
use super::{load, note, print, say};
use serde_json::json;
use srft::config::Config;
use srft::error::{Error, Result};
use srft::eval::{Judge, Suite, mean_accuracy, scores};
use srft::ops::sampling::Sampling;
use srft::platform::{FolderWriter, require_folder};
use srft::rollout::{Past, Plan, all_cut, respond, stream};
use srft::run::{Given, Reader, grader, suite_files, write_suites};
use std::collections::BTreeSet;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::sync::Arc;

/// The kind of results in a folder of samples.
const SAMPLES: &str = "evaluation";

/// Accuracy on every suite.
pub async fn eval(mut arguments: Eval) -> Result<()> {
    // This command's only data is what it evaluates.
    arguments.settings.look_at_data();
    let samples = ("--samples", "eval.samples", arguments.samples.map(|s| s.to_string()));
    let config = arguments.settings.resolve(Vec::new(), &[samples])?;
    if let Some(path) = &arguments.out {
        require_folder(path, SAMPLES, arguments.overwrite)?;
    }
    let selected = ready(&config, arguments.json).await?;
    let (folder, model, tokenizer) = load(&config.model, &selected)?;
    let grader = grader(&config)?;
    let given = Given { watch: Some(Arc::new(Reading::new())), ..Given::default() };
    let mut reader = Reader::of(&config, &given, &folder, &tokenizer, &model.config, &grader)?;
    let suites = reader.suites()?;
    reader.notes.iter().for_each(note);
    if let Some(path) = &arguments.out {
        require_no_input(path, &suites, &config)?;
    }
    let judge = Judge { tokenizer: &tokenizer, grader: &grader, config: &config };
    let all = judge.samples(&model, &suites).await?;
    let k = config.eval.samples;
    let scores = scores(&suites, &all, k);
    if let Some(path) = &arguments.out {
        let folder = FolderWriter::export(path, SAMPLES, arguments.overwrite)?;
        write_suites(folder, &suites, &all)?;
    }
    if arguments.json {
        return say(json!({"model": config.model.path, "scores": scores}));
    }
    let named: BTreeSet<&String> = scores.iter().flat_map(|s| s.rewards.keys()).collect();
    let mut rows: Vec<Vec<String>> = scores
        .iter()
        .map(|s| {
            let mut row = vec![
                s.suite.clone(),
                problems(s, &suites),
                with_interval(s.accuracy, s.interval),
                with_interval(s.pass, s.pass_interval),
            ];
            row.truncate(if k > 1 { 4 } else { 3 });
            // A suite that could not be scored has none.
            let mean =
                |name| s.rewards.get(name).map_or(String::new(), |mean| format!("{mean:.2}"));
            row.extend(named.iter().map(|&name| mean(name)));
            row
        })
        .collect();
    for (name, ood) in [("mean, in distribution", false), ("mean, out of distribution", true)] {
        if let (Some(mean), true) = (mean_accuracy(&scores, ood), scores.len() > 1) {
            let n: usize = scores.iter().filter(|s| s.ood == ood).map(|s| s.n).sum();
            rows.push(vec![name.into(), n.to_string(), percent(mean)]);
        }
    }
    let (avg, pass) = (format!("avg@{k} % [95%]"), format!("pass@{k} % [95%]"));
    let mut header = vec!["suite", "problems", &avg, &pass];
    header.truncate(if k > 1 { 4 } else { 3 });
    header.extend(named.iter().map(|name| name.as_str()));
    say(table(&header, rows))?;
    let sampled = all.iter().flatten().map(|s| (s.tokens, s.truncated));
    if let Some(why) = all_cut(sampled, config.rollout.max_new_tokens) {
        note(format_args!("note: {why}"));
    }
    match scores.iter().map(|s| s.unscored).sum::<usize>() {
        0 => Ok(()),
        n => say(format_args!("{n} samples could not be scored and are left out")),
    }
}

/// Refuses samples that would overwrite the file from which their suite was read.
fn require_no_input(out: &Path, suites: &[Suite], config: &Config) -> Result<()> {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    let read: Vec<_> = config.data.eval.iter().filter_map(|p| whole(Path::new(p))).collect();
    let files = suite_files(suites.iter().map(|suite| &*suite.name)).into_iter();
    let mut taken = files
        .map(|name| out.join(name))
        .filter(|path| whole(path).is_some_and(|path| read.contains(&path)));
    match taken.next() {
        None => Ok(()),
        Some(path) => Err(Error::input("the samples would overwrite the file that is read")
            .at(path.display())
            .next("give another --out")),
    }
}

/// Samples from a model.
pub async fn generate(arguments: Generate) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let selected = ready(&config, arguments.json).await?;
    let (folder, model, tokenizer) = load(&config.model, &selected)?;
    let prompt = match arguments.chat {
        false => tokenizer.encode(&arguments.prompt)?,
        true => {
            let without = "leave out --chat: the prompt is then what the model reads";
            let template = template_of(&folder, without)?;
            let system = arguments.system.iter().map(|text| message("system", text));
            let messages: Vec<_> = system.chain([message("user", &arguments.prompt)]).collect();
            prompt_of(&template, &tokenizer, &messages)?
        }
    };
    let plan = Plan {
        group: arguments.n.max(1),
        sampling: sampling(&config, arguments.temperature)?,
        ..Plan::of(&config, &tokenizer, &model.config.eos_tokens, 0)
    };
    let cut = |truncated| if truncated { "  (cut at the length limit)" } else { "" };
    let before = if arguments.chat { "" } else { &arguments.prompt };
    if plan.group == 1 && !arguments.json && stdout().is_terminal() {
        print(before)?;
        let past = &mut Past::default();
        let response = stream(&model, &tokenizer, &prompt, &plan, past, |new| print(new)).await?;
        return say(cut(response.truncated));
    }
    for response in respond(&model, &[prompt], &plan).await? {
        let text = plan.stops.text(&tokenizer, &response.tokens);
        if arguments.json {
            say(json!({
                "prompt": arguments.prompt,
                "response": text,
                "tokens": response.tokens,
                "logprobs": response.logprobs,
                "entropies": response.entropies,
                "truncated": response.truncated,
            }))?;
        } else {
            say(format_args!("{before}{text}{}", cut(response.truncated)))?;
        }
    }
    Ok(())
}

/// How a config's rollouts are drawn, at another temperature if one is given: 0 may be among them.
pub fn sampling(config: &Config, temperature: Option<f64>) -> Result<Sampling> {
    let temperature = temperature.unwrap_or(config.rollout.temperature) as f32;
    Sampling { temperature, ..Sampling::of(&config.rollout) }.checked()
}
