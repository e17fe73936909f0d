//! Taking an update apart: advantages, entropies, weights, each term's value and gradient norm.

use crate::config::AdvantageOf;
use crate::data::encode::encode;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::objective::{Member, Update, assemble};
use crate::ops::objective::{COLUMNS, column};
use crate::records::{
    Demonstration, Episode, Example, Group, Layout, Origin, Role, Temperature, TermCoefficients,
};
use crate::shards::Which;
use serde::{Deserialize, Serialize};

/// One number for each term, and for their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Terms {
    /// L_SFT, Eq. 8.
    pub sft: f64,
    /// L_RL,demo, Eqs. 9-10.
    pub rl_demo: f64,
    /// L_self, Eqs. 11-12.
    #[serde(rename = "self")]
    pub self_term: f64,
    /// The entropy bonus.
    pub entropy: f64,
    /// The KL penalty.
    pub kl: f64,
    /// Their sum, Eq. 13.
    pub total: f64,
}

/// One prompt's numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptExplanation {
    /// The prompt.
    pub prompt: String,
    /// Responses, the demonstration last.
    pub responses: Vec<String>,
    /// The beginning of each that the demonstration gave; empty where all was sampled.
    pub given: Vec<String>,
    /// Rewards, the demonstration's last; null where it was not judged.
    pub rewards: Vec<Option<f64>>,
    /// Â, the demonstration's last.
    pub advantages: Vec<f64>,
    /// Mean entropy of each response's tokens, nats, the demonstration's last.
    pub entropy: Vec<f64>,
    /// w_SFT of the demonstration.
    pub w_sft: Option<f64>,
    /// w_RL of each rollout; the loss uses it on the positive ones.
    pub w_rl: Vec<f64>,
}

/// An update, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// Each prompt's numbers.
    pub prompts: Vec<PromptExplanation>,
    /// Each term's value over the whole update.
    pub terms: Terms,
    /// Global L2 norm of each term's gradient over all weights.
    pub grad_norm: Terms,
}

/// A line of an episodes file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: String,
    /// Whether a chat template wrote it, special tokens included: no begin-of-text is added.
    #[serde(default)]
    templated: bool,
    demonstration: Option<String>,
    /// 1 if absent; given if the verifier did not accept the demonstration.
    demonstration_reward: Option<f32>,
    episodes: Vec<LineEpisode>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineEpisode {
    response: String,
    reward: f32,
    /// How many of the demonstration's first tokens it begins with, which were not sampled.
    #[serde(default)]
    given: usize,
}

/// Reads given episodes, one JSON object a prompt.
pub fn parse_episodes(text: &str, place: &str, learner: &Learner) -> Result<Vec<Group>> {
    let eos_tokens = &learner.policy.config.eos_tokens;
    let objective = learner.config.objective_at(0);
    let (values, temperature) =
        (objective.reward_values, Temperature(objective.temperature as f32));
    let group = |line: &str| -> Result<Group> {
        let line: Line = serde_json::from_str(line).map_err(|e| {
            Error::input(e.to_string()).next(
                "expected {\"prompt\", \"demonstration\", \"episodes\": [{\"response\", \"reward\"}]}",
            )
        })?;
        let layout = Layout { templated: line.templated, learned: Vec::new() };
        let mut example =
            Example { suite: "episodes".into(), prompt: line.prompt, layout, ..Example::default() };
        let prompt_tokens = encode(&learner.tokenizer, eos_tokens, &example)?.prompt;
        let mut respond = |text: &str| -> Result<Vec<u32>> {
            example.demonstration = Some(text.into());
            let encoded = encode(&learner.tokenizer, eos_tokens, &example)?;
            Ok(encoded.demonstration.unwrap_or_default())
        };
        let demonstration = match &line.demonstration {
            Some(text) => {
                let reward = line.demonstration_reward.unwrap_or(1.0);
                let (tokens, right) = (respond(text)?, values.is_right(reward));
                let reward = Some(reward);
                Some(Demonstration { tokens, reward, right, ..Demonstration::default() })
            }
            None => None,
        };
        let mut episodes = Vec::new();
        for (sample, e) in line.episodes.into_iter().enumerate() {
            let mut tokens = respond(&e.response)?;
            let shown = demonstration.as_ref().map_or(&[][..], |d| &d.tokens);
            let own = begun_with(&mut tokens, shown, e.given)?;
            // There was no sampler: `fill_logprobs` puts the policy's own log-probabilities here (ratio 1).
            episodes.push(Episode {
                sample,
                tokens: own,
                given_text: learner.tokenizer.decode(&shown[..e.given]),
                given: e.given,
                response: e.response,
                reward: e.reward,
                right: values.is_right(e.reward),
                temperature,
                ..Episode::default()
            });
        }
        example.demonstration = line.demonstration;
        let rollouts = episodes.iter().map(|e| e.given + e.tokens.len());
        for response in rollouts.chain(demonstration.iter().map(|d| d.tokens.len())) {
            learner.policy.config.require_fits(prompt_tokens.len(), response)?;
        }
        Ok(Group {
            origin: Origin::Drawn,
            example,
            prompt_tokens,
            episodes,
            demonstration,
            ..Group::default()
        })
    };
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let groups: Vec<Group> = lines
        .map(|(index, line)| group(line).map_err(|e| e.at(format!("{place}:{}", index + 1))))
        .collect::<Result<_>>()?;
    if groups.is_empty() {
        return Err(Error::input("the file holds no episodes")
            .at(place)
            .next("give one object per line: {\"prompt\", \"demonstration\", \"episodes\"}"));
    }
    Ok(groups)
}

/// The tokens of a response after the first `given`, which must be the demonstration's.
fn begun_with(tokens: &mut Vec<u32>, shown: &[u32], given: usize) -> Result<Vec<u32>> {
    let (whole, own) = (shown.len(), tokens.len());
    if given > 0 && given >= whole {
        let what = format!("{given} tokens are given of a demonstration of {whole}");
        return Err(Error::input(what)
            .next("give fewer: at least its last token is the policy's to sample"));
    }
    if given > 0 && (given >= own || tokens[..given] != shown[..given]) {
        let what =
            format!("a response that does not go on from the demonstration's first {given} tokens");
        return Err(Error::input(what)
            .next("begin `response` with that part of the demonstration, or leave out `given`"));
    }
    Ok(tokens.split_off(given))
}

/// Explains the update that `groups` would make.
pub async fn explain(learner: &Learner, groups: &mut [Group]) -> Result<Explanation> {
    fill_logprobs(learner, groups).await?;
    if learner.config.objective_at(0).advantage_of == AdvantageOf::Teacher {
        learner.teach(groups).await?;
    }
    if learner.config.objective_at(0).prefix_learned > 0.0 {
        learner.score_given(groups).await?;
    }
    let update = assemble(groups, &learner.config.objective_at(0));
    let masks: [fn(TermCoefficients) -> TermCoefficients; 6] = [
        |t| TermCoefficients { sft: t.sft, ..Default::default() },
        |t| TermCoefficients { rl_demo: t.rl_demo, ..Default::default() },
        |t| TermCoefficients {
            self_logp: t.self_logp,
            self_ratio: t.self_ratio,
            self_positive: t.self_positive,
            ..Default::default()
        },
        |t| TermCoefficients { entropy: t.entropy, ..Default::default() },
        |t| TermCoefficients { kl: t.kl, ..Default::default() },
        |t| t,
    ];
    let mut norms = [0.0; 6];
    for (norm, mask) in norms.iter_mut().zip(masks) {
        *norm = learner.gradient(&masked(&update, mask), 0).await?.norm;
    }
    let mut total = learner.gradient(&observed(&update), 0).await?;
    let bare = update.sequences.iter().zip(&mut total.sums).filter(|(s, _)| s.terms.is_zero());
    bare.for_each(|(_, sums)| sums[..column::LOSSES].fill(0.0));
    // An empty sum is -0.0 in Rust; adding 0.0 makes it 0.0.
    let sum = |column: usize| total.sums.iter().map(|s| s[column]).sum::<f64>() + 0.0;
    let values = [
        sum(column::SFT),
        sum(column::RL_DEMO),
        sum(column::SELF),
        sum(column::BONUS),
        sum(column::KL),
    ];
    let terms = |[sft, rl_demo, self_term, entropy, kl, total]: [f64; 6]| Terms {
        sft,
        rl_demo,
        self_term,
        entropy,
        kl,
        total,
    };
    let mut rows = total.sums.iter();
    let prompts = groups
        .iter()
        .zip(update.members(groups))
        .map(|(group, members)| {
            let rows: Vec<_> = rows.by_ref().take(members.len()).collect();
            let weights = |role| {
                let rows = members.iter().zip(&rows).filter(move |(m, _)| m.role == role);
                rows.map(|(_, row)| row[column::WEIGHT])
            };
            let entropy = |(m, row): (&Member, &&[f64; COLUMNS])| {
                row[column::ENTROPY] / m.sequence.loss_tokens() as f64
            };
            PromptExplanation {
                prompt: group.example.prompt.clone(),
                responses: members.iter().map(|m| m.response.into()).collect(),
                given: members.iter().map(|m| m.given_text.into()).collect(),
                rewards: members.iter().map(|m| m.reward.map(f64::from)).collect(),
                advantages: members.iter().map(|m| m.advantage).collect(),
                entropy: members.iter().zip(&rows).map(entropy).collect(),
                w_sft: weights(Role::Demonstration).next(),
                w_rl: weights(Role::Rollout).collect(),
            }
        })
        .collect();
    let [sft, rl_demo, self_term, entropy, kl] = values;
    Ok(Explanation {
        prompts,
        terms: terms([sft, rl_demo, self_term, entropy, kl, values.iter().sum()]),
        grad_norm: terms(norms),
    })
}

/// Episodes from a file have no sampler's log-probabilities: they get the policy's own, so that every
/// ratio is 1.
async fn fill_logprobs(learner: &Learner, groups: &mut [Group]) -> Result<()> {
    let scored = learner.score_rollouts(Which::Policy, groups).await?;
    let episodes = groups.iter_mut().flat_map(|g| &mut g.episodes);
    for (episode, scored) in episodes.zip(scored) {
        if episode.logprobs.is_empty() || episode.entropies.is_empty() {
            episode.entropies = scored.entropies;
        }
        if episode.logprobs.is_empty() {
            episode.logprobs = scored.logprobs;
        }
    }
    Ok(())
}

fn masked(update: &Update, mask: impl Fn(TermCoefficients) -> TermCoefficients) -> Update {
    let mut update = update.clone();
    for sequence in &mut update.sequences {
        sequence.terms = mask(sequence.terms);
    }
    update
}

/// The update with sequences without loss given a coefficient too small to change an f32 sum, so that the
/// kernel reports their entropies and weights as well.
fn observed(update: &Update) -> Update {
    masked(update, |t| match t.is_zero() {
        true => TermCoefficients { entropy: f32::MIN_POSITIVE, ..t },
        false => t,
    })
}
