//! Methods as settings: what each changes from the default, the paper's SRFT as printed.

use serde::{Deserialize, Serialize};
use toml::{Table, Value, toml};

/// A named set of objective switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// SRFT as printed (arXiv 2506.19767, Eq. 13).
    Srft,
    /// SRFT as the authors' script is reported to run.
    SrftOfficial,
    /// SRFT as re-implemented in Unify-Post-Training (HPT).
    SrftHpt,
    /// Mean negative log-likelihood of the demonstrations.
    Sft,
    /// Group-relative policy optimisation, rollouts only.
    Grpo,
    /// LUFFY: shaped off-policy and plain on-policy terms over one group.
    Luffy,
    /// Two stages: SFT, then GRPO.
    SftGrpo,
    /// Two stages: GRPO, then SFT.
    GrpoSft,
}

impl Method {
    /// All methods.
    pub const ALL: [Method; 8] = [
        Method::Srft,
        Method::SrftOfficial,
        Method::SrftHpt,
        Method::Sft,
        Method::Grpo,
        Method::Luffy,
        Method::SftGrpo,
        Method::GrpoSft,
    ];

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Method::Srft => "srft",
            Method::SrftOfficial => "srft-official",
            Method::SrftHpt => "srft-hpt",
            Method::Sft => "sft",
            Method::Grpo => "grpo",
            Method::Luffy => "luffy",
            Method::SftGrpo => "sft-grpo",
            Method::GrpoSft => "grpo-sft",
        }
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|m| m.name()).collect()
    }

    /// The method of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// What the method changes from the defaults, as a layer of settings.
    pub fn preset(self) -> Table {
        match self {
            Method::Srft => Table::new(),
            Method::SrftOfficial => toml! {
                [objective]
                entropy_over = "token"
                sft_weight_sign = "plus"
                self_term = "advantage"
                demo_shaping = "p/(p+0.1)"
                advantage_std = false
                entropy_coeff = 0.001
            },
            // Its srft_type is "paper": the signed self term, no advantage in it. Two averages differ
            // there that one `aggregate` cannot: L_SFT is a token mean, the bonus (0.001) one over
            // all responses.
            Method::SrftHpt => toml! {
                [objective]
                demo_shaping = "p/(p+0.1)"
                advantage_std = false
                aggregate = "sum-constant"
                group_of = "shared"
            },
            Method::Sft => toml! {
                [objective]
                rl_demo = false
                self_term = "none"
                entropy_weights = false
                sft_weight_scale = 1.0
            },
            Method::Grpo => toml! {
                [objective]
                sft = false
                rl_demo = false
                self_term = "advantage"
                entropy_weights = false
                self_weight_scale = 1.0
                aggregate = "sequence-mean"
            },
            Method::Luffy => toml! {
                [objective]
                sft = false
                self_term = "advantage"
                entropy_weights = false
                self_weight_scale = 1.0
                demo_shaping = "p/(p+0.1)"
                advantage_std = false
                aggregate = "sum-constant"
                group_of = "shared"
            },
            Method::SftGrpo => two_stages(Method::Sft, Method::Grpo),
            Method::GrpoSft => two_stages(Method::Grpo, Method::Sft),
        }
    }
}

fn two_stages(first: Method, second: Method) -> Table {
    let mut table = first.preset();
    if let Some(objective) = table.get_mut("objective").and_then(toml::Value::as_table_mut) {
        objective.insert("second".into(), second.name().into());
    }
    table
}

/// What suits a pretrained language model, where the defaults suit the built-in one: smaller steps,
/// longer responses, fewer at a time, and a memory that holds no layer's inside but one.
const OWN_MODEL: &str = "
[rollout]
prompts = 8
max_new_tokens = 512
slots = 64
[optimizer]
lr = 1e-5
[train]
checkpointing = true
";

/// Adapters begin at zero and are small: they bear ten times the step (Schulman et al., 2025).
const OWN_ADAPTERS: &str = "
[optimizer]
lr = 1e-4
";

/// The defaults for the model that the layers name: below every layer, above nothing else.
pub fn of_model(layers: &[(String, Table)]) -> Table {
    let last = |section: &str, key: &str| {
        layers.iter().rev().find_map(|(_, layer)| layer.get(section)?.get(key).cloned())
    };
    let named = last("model", "path").is_some_and(|path| path.as_str() != Some("tiny"));
    let adapted = last("lora", "rank").and_then(|rank| rank.as_integer()).is_some_and(|r| r > 0);
    let mut table = Table::new();
    for (applies, text) in [(named, OWN_MODEL), (adapted, OWN_ADAPTERS)] {
        if applies {
            for (section, keys) in text.parse::<Table>().expect("TOML") {
                let slot = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                slot.as_table_mut()
                    .expect("a section")
                    .extend(keys.as_table().cloned().into_iter().flatten());
            }
        }
    }
    table
}
