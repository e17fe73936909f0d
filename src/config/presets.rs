//! Methods as settings: what each changes from the default, the paper's SRFT as printed.

use serde::{Deserialize, Serialize};
use toml::{Table, toml};

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
