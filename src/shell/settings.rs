//! The flags that set a run's settings, which most commands have: they are short names for some, and
//! `--set section.key=value` reaches all.

use super::progress::Downloading;
use clap::Args;
use srft::config::{Comparison, Config};
use srft::error::Result;
use srft::names::REASONING_GYM;
use srft::platform::read_text;
use srft::run::{BEST, OnFile};
use srft_hub::Hub;
use std::path::{Path, PathBuf};

/// Where settings come from, later over earlier: --config, --set, the named flags.
#[derive(Args, Default)]
pub struct Settings {
    /// TOML file of settings (see `srft config`).
    #[arg(long, value_name = "F.toml")]
    pub config: Option<PathBuf>,
    /// Any setting, for example --set optimizer.lr=5e-4 (repeatable).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// srft | srft-official | srft-hpt | srft-lean | sft | sft-kl | dft | eaft | trsft | grpo | dr-grpo | dapo |
    /// top-entropy | clip-cov | gtpo | gspo | cispo | opsd | uft | prefix-rft | bread | sft+grpo | sft-grpo |
    /// grpo-sft | luffy | relift | chord | hpt (docs/methods.md).
    #[arg(long)]
    pub method: Option<String>,
    /// Model folder, a run's folder (its `best`), GGUF file, `tiny`, or a name on the Hugging Face hub:
    /// org/name[:F.gguf][@revision].
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<String>,
    /// The base, if --model is an adapter whose base was moved.
    #[arg(long, value_name = "DIR|NAME")]
    pub base: Option<String>,
    /// Download nothing: what is named on the hub must be in its cache (as HF_HUB_OFFLINE=1).
    #[arg(long)]
    pub offline: bool,
    /// auto | cpu | vulkan | metal | dx12 | gl | index or part of a name.
    #[arg(long)]
    pub device: Option<String>,
    /// Seed of everything random.
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Data: JSONL, JSON, CSV or Parquet in TRL's formats, with answers if they are judged (repeatable), or
    /// a name on the hub: org/name[:config/split][@revision].
    #[arg(long, value_name = "FILE|NAME")]
    pub data: Vec<String>,
    /// Built-in task (arithmetic), or one of reasoning-gym's, judged by its own scorer:
    /// reasoning_gym:chain_sum?max_terms=3&size=500. That needs python3 with the package reasoning-gym.
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// Evaluation data in the same formats, one suite per file (repeatable).
    #[arg(long, value_name = "FILE")]
    pub eval_data: Vec<String>,
    /// Which columns of the data are which, if they have other names: user=question,assistant=answer,answer=answer
    /// (`data.columns`).
    #[arg(long, value_name = "PART=COLUMN,…", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// exact | numeric | gsm8k (numeric after ####) | math | choice | regex | command | task.
    #[arg(long)]
    pub verifier: Option<String>,
    /// A program that scores responses: for each, it reads one JSON line and writes one.
    #[arg(long, value_name = "COMMAND")]
    pub reward_cmd: Option<String>,
    /// Longest response, in tokens.
    #[arg(long, value_name = "TOKENS")]
    pub max_new_tokens: Option<usize>,
    /// A text that ends a response; what is judged ends before it (repeatable). A line break is $'\n' in
    /// most shells.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

const MAX_NEW: &str = "rollout.max_new_tokens";

impl Settings {
    /// Resolves the settings over `base` layers; `flags` are a command's own, (flag, key, value). What they name
    /// on the hub is then in its cache, and named at its commit.
    pub fn resolve(
        &self,
        base: Vec<(String, toml::Table)>,
        flags: &[(&str, &str, Option<String>)],
    ) -> Result<Config> {
        srft_hub::fetched(&self.named(base, flags)?, &self.hub())
    }

    /// The hub, as the environment and --offline have it.
    pub fn hub(&self) -> Hub {
        Hub::from_env(self.offline, Box::new(Downloading::new()))
    }

    /// Like [`Self::resolve`], but nothing is downloaded.
    pub fn named(
        &self,
        base: Vec<(String, toml::Table)>,
        flags: &[(&str, &str, Option<String>)],
    ) -> Result<Config> {
        let mut layers = base;
        if let Some(path) = &self.config {
            layers.push(Config::layer(&read_text(path)?, &path.display().to_string())?);
        }
        for text in &self.set {
            layers.push(Config::setting(text)?);
        }
        let named = [
            ("--method", "objective.method", self.method.clone()),
            ("--model", "model.path", self.model.as_deref().map(of_run)),
            ("--base", "model.base", self.base.clone()),
            ("--device", "run.device", self.device.clone()),
            ("--seed", "run.seed", self.seed.map(|s| s.to_string())),
            ("--task", "data.task", self.task.clone()),
            ("--verifier", "data.verifier", self.verifier.clone()),
            ("--reward-cmd", "reward.command", self.reward_cmd.clone()),
            ("--max-new-tokens", MAX_NEW, self.max_new_tokens.map(|n| n.to_string())),
        ];
        for (flag, key, value) in named.iter().chain(flags) {
            if let Some(value) = value {
                layers.push(Config::flag(flag, key, value));
            }
        }
        let lists = [
            ("--data", "data.train", &self.data),
            ("--eval-data", "data.eval", &self.eval_data),
            ("--columns", "data.columns", &self.columns),
            ("--stop", "rollout.stop", &self.stop),
        ];
        for (flag, key, values) in lists {
            if !values.is_empty() {
                let (section, key) = key.split_once('.').expect("a full key");
                layers.push(Config::one_key(flag, section, key, values.clone()));
            }
        }
        Config::resolve(&layers)
    }

    /// Takes `--data` or `--task` for evaluation, unless `--eval-data` is given: for commands that only look.
    pub fn look_at_data(&mut self) {
        if self.eval_data.is_empty() {
            self.eval_data = std::mem::take(&mut self.data);
        }
        if let Some(task) = self.task.take_if(|task| task.starts_with(REASONING_GYM)) {
            self.verifier.get_or_insert(Comparison::Task.name().into());
            if self.eval_data.is_empty() {
                self.eval_data.push(task);
            }
        }
    }
}

/// The best model, if `path` is a run's folder; else `path`.
pub fn of_run(path: &str) -> String {
    let run = Path::new(path);
    let best = run.join(BEST);
    let has_best = OnFile::of(run).is_run() && best.is_dir();
    if has_best { best.display().to_string() } else { path.into() }
}
