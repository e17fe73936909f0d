//! Sampled rollouts of some steps with their rewards, and each group explained as the trainer computed
//! it.

use super::number::{fixed, signed};
use super::read::RunRecord;
use crate::config::{FixedWeight, Objective};
use crate::objective::advantage::EPSILON;
use crate::objective::{self, assemble};
use crate::records::{Role, TermCoefficients};
use crate::run::{SampledEpisode, SampledGroup};
use serde::Serialize;

/// How many steps of a run are shown: the first, the last, and some between.
const STEPS: usize = 6;
/// How many groups of a step are shown.
const GROUPS: usize = 4;
/// Most bytes of text in all runs together, so that a report stays small.
const TEXT_BYTES: usize = 800_000;
/// Most characters of one prompt or response.
const TEXT_CHARS: usize = 1200;

/// The rollouts that a report shows.
#[derive(Debug, Serialize)]
pub struct Samples {
    /// The steps, rising.
    pub steps: Vec<SampledStep>,
    /// Groups shown.
    pub shown: usize,
    /// Groups on file.
    pub on_file: usize,
    /// Texts that were cut.
    pub cut: usize,
}

/// A step, with the runs that sampled rollouts in it.
#[derive(Debug, Serialize)]
pub struct SampledStep {
    /// The update, from 1.
    pub step: u32,
    /// The runs.
    pub runs: Vec<SampledRun>,
}

/// A run's groups in one step.
#[derive(Debug, Serialize)]
pub struct SampledRun {
    /// Index of the run.
    pub run: usize,
    /// Groups of the step that are on file.
    pub on_file: usize,
    /// The first groups of the step.
    pub groups: Vec<GroupView>,
}

/// A group, explained.
#[derive(Debug, Serialize)]
pub struct GroupView {
    suite: String,
    prompt: Text,
    answer: String,
    right: usize,
    /// How many rollouts there are.
    of: usize,
    unscored: usize,
    /// Mean and standard deviation of the rewards, and how Â follows from them.
    calculation: String,
    /// Rollouts, then the demonstration.
    pub members: Vec<Member>,
}

/// A response of a group.
#[derive(Debug, Serialize)]
pub struct Member {
    who: String,
    demonstration: bool,
    /// The beginning of the response that the demonstration gave.
    given: Text,
    /// The rest of it.
    response: Text,
    /// right, wrong or unjudged.
    verdict: &'static str,
    truncated: bool,
    reward: String,
    /// Its score by each reward, where there are several.
    scores: String,
    /// Â of Eq. 7.
    pub advantage: String,
    /// The loss terms that act on it, in words.
    pub acts: Vec<String>,
}

/// A text, cut if it is long.
#[derive(Debug, Serialize)]
struct Text {
    text: String,
    /// Characters left out.
    left_out: usize,
}

impl Text {
    fn new(whole: &str) -> Self {
        let chars = whole.chars().count();
        let text = whole.chars().take(TEXT_CHARS).collect();
        Self { text, left_out: chars.saturating_sub(TEXT_CHARS) }
    }
}

impl GroupView {
    fn bytes(&self) -> usize {
        let responses: usize =
            self.members.iter().map(|m| m.given.text.len() + m.response.text.len()).sum();
        self.prompt.text.len() + responses
    }

    fn texts_cut(&self) -> usize {
        let texts = self.members.iter().flat_map(|m| [&m.given, &m.response]).chain([&self.prompt]);
        texts.filter(|t| t.left_out > 0).count()
    }
}

/// Chooses what is shown. Every run has the same share of the text; within it, the first groups of all
/// steps come before the second ones.
pub fn samples(runs: &[RunRecord]) -> Samples {
    let mut samples = Samples { steps: Vec::new(), shown: 0, on_file: 0, cut: 0 };
    let mut chosen: Vec<(u32, SampledRun)> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        samples.on_file += run.samples.len();
        let steps: Vec<&[SampledGroup]> = run.samples.chunk_by(|a, b| a.step == b.step).collect();
        let steps: Vec<&[SampledGroup]> = spread(steps.len()).map(|i| steps[i]).collect();
        let mut views: Vec<SampledRun> = steps
            .iter()
            .map(|groups| SampledRun { run: index, on_file: groups.len(), groups: Vec::new() })
            .collect();
        let mut room = TEXT_BYTES / runs.len();
        for place in 0..GROUPS {
            for (groups, view) in steps.iter().zip(&mut views) {
                let Some(group) = groups.get(place) else { continue };
                let taken_apart =
                    view_of(group, &run.config.objective_at(group.step.saturating_sub(1)));
                let Some(left) = room.checked_sub(taken_apart.bytes()) else { continue };
                room = left;
                samples.shown += 1;
                samples.cut += taken_apart.texts_cut();
                view.groups.push(taken_apart);
            }
        }
        let with_steps = steps.iter().map(|groups| groups[0].step).zip(views);
        chosen.extend(with_steps.filter(|(_, view)| !view.groups.is_empty()));
    }
    chosen.sort_by_key(|(step, view)| (*step, view.run));
    for (step, view) in chosen {
        match samples.steps.last_mut().filter(|s| s.step == step) {
            Some(last) => last.runs.push(view),
            None => samples.steps.push(SampledStep { step, runs: vec![view] }),
        }
    }
    samples
}

/// The first, the last, and evenly spread ones between, of `count`.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(STEPS);
    (0..kept).map(move |i| if kept < 2 { 0 } else { i * (count - 1) / (kept - 1) })
}

fn view_of(group: &SampledGroup, objective: &Objective) -> GroupView {
    let groups = [group.as_trained(objective)];
    let update = assemble(&groups, objective);
    let members: Vec<_> = update.members(&groups).into_iter().flatten().collect();
    let rewards: Vec<f64> = members.iter().filter_map(|m| m.reward).map(f64::from).collect();
    let shown = |(i, m): (usize, &objective::Member)| {
        let demonstration = m.role == Role::Demonstration;
        let own = m.response.strip_prefix(m.given_text);
        Member {
            who: if demonstration { "demonstration".into() } else { format!("rollout {}", i + 1) },
            demonstration,
            given: Text::new(own.map_or("", |_| m.given_text)),
            response: Text::new(own.unwrap_or(m.response)),
            verdict: match (m.reward, m.right) {
                (None, _) => "unjudged",
                (_, true) => "right",
                (_, false) => "wrong",
            },
            truncated: m.truncated,
            reward: m.reward.map_or("–".into(), |r| signed(r.into(), 2)),
            scores: group.episodes.get(i).map_or(String::new(), scores),
            advantage: m.reward.map_or("–".into(), |_| signed(m.advantage, 3)),
            acts: acting(m, objective),
        }
    };
    GroupView {
        suite: group.suite.clone(),
        prompt: Text::new(&group.prompt),
        answer: Text::new(&group.answer).text,
        right: group.episodes.iter().filter(|e| e.right).count(),
        of: group.episodes.len(),
        unscored: group.unscored.len(),
        calculation: calculation(&rewards, objective),
        members: members.iter().enumerate().map(shown).collect(),
    }
}

fn scores(episode: &SampledEpisode) -> String {
    let scores = episode.scores.iter().map(|(name, score)| format!("{name} {}", fixed(*score, 2)));
    scores.collect::<Vec<_>>().join(", ")
}

/// How Â follows from the rewards, with this group's numbers.
fn calculation(rewards: &[f64], objective: &Objective) -> String {
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n.max(1.0);
    let variance = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let members = format!("{} rewards, mean {}", rewards.len(), signed(mean, 4));
    if rewards.len() < 2 {
        return "one response alone has nothing to compare with: its Â is 0".into();
    }
    if rewards.iter().all(|r| r == &rewards[0]) {
        return format!("{members}; all are equal, so Â is exactly 0");
    }
    let std = fixed(variance.sqrt(), 4);
    let less_mean = match mean < 0.0 {
        true => format!("r + {}", fixed(-mean, 4)),
        false => format!("r − {}", fixed(mean, 4)),
    };
    let members = format!("{members}, standard deviation {std}");
    match objective.advantage_std {
        true => format!("{members}; Â = ({less_mean}) / ({std} + {EPSILON:e})"),
        false => format!("{members}, which this method does not divide by; Â = {less_mean}"),
    }
}

/// The loss terms that act on a member, and in which direction.
fn acting(member: &objective::Member, objective: &Objective) -> Vec<String> {
    let TermCoefficients { sft, rl_demo, self_logp, self_ratio, self_positive, entropy, kl } =
        member.sequence.terms;
    // How strongly its reward acts: 1 for plain right or wrong.
    let size = member.reward.map_or(1.0, |r| objective.reward_values.signed(r).abs());
    let weight = |name: &str, weight, scale: f64| match (objective.varies(weight), scale) {
        (true, _) => format!(", weighed by {name}"),
        (false, 1.0) => String::new(),
        (false, scale) => format!(", weighed by {scale}"),
    };
    let w_sft = weight("w_SFT", FixedWeight::Sft, objective.sft_weight_scale);
    let w_rl = match self_positive {
        true => weight("w_RL", FixedWeight::SelfTerm, objective.self_weight_scale),
        false => String::new(),
    };
    let way = |coefficient: f32| if coefficient < 0.0 { "more likely" } else { "less likely" };
    let mut acts = Vec::new();
    if sft != 0.0 {
        acts.push(format!("SFT: more likely{w_sft} (Eq. 8)"));
    }
    if rl_demo != 0.0 {
        acts.push(format!("RL on the demonstration: {} by Â (Eqs. 9–10)", way(rl_demo)));
    }
    if self_logp != 0.0 {
        let by = if size < 1.0 { format!(", {} times", fixed(size, 2)) } else { String::new() };
        acts.push(format!("self term: {}{w_rl}{by} (Eqs. 11–12)", way(self_logp)));
    }
    if self_ratio != 0.0 {
        acts.push(format!("self term: {} by Â{w_rl} (clipped ratio)", way(self_ratio)));
    }
    if entropy != 0.0 {
        acts.push("entropy bonus".into());
    }
    if kl != 0.0 {
        acts.push("KL penalty: towards the base".into());
    }
    if acts.is_empty() {
        acts.push("nothing".into());
    }
    acts
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, group, run};
    use super::*;

    fn acts(view: &GroupView) -> Vec<String> {
        view.members.iter().map(|m| m.acts.join("; ")).collect()
    }

    #[test]
    fn advantages_and_terms_are_the_trainers() {
        let group = group(1, "2+2=", &[("4", true), ("5", false), ("6", false)]);
        let view = view_of(&group, &config(&[]).objective);
        // The rewards are 1, −1, −1 and the demonstration's 1: mean 0, deviation 2/√3.
        let advantages: Vec<&str> = view.members.iter().map(|m| m.advantage.as_str()).collect();
        assert_eq!(advantages, ["+0.866", "−0.866", "−0.866", "+0.866"]);
        assert_eq!(
            view.calculation,
            "4 rewards, mean 0.0000, standard deviation 1.1547; Â = (r − 0.0000) / (1.1547 + 1e-6)"
        );
        assert_eq!(
            acts(&view),
            [
                "self term: more likely, weighed by w_RL (Eqs. 11–12)",
                "self term: less likely (Eqs. 11–12)",
                "self term: less likely (Eqs. 11–12)",
                "SFT: more likely, weighed by w_SFT (Eq. 8); RL on the demonstration: more likely by Â \
                 (Eqs. 9–10)"
            ]
        );
    }

    #[test]
    fn what_was_given_is_shown_apart() {
        let mut group = group(1, "2+2=", &[("2+2>4", true), ("5", false)]);
        group.episodes[0].given = "2+2".into();
        let texts = |method: &str| -> Vec<(String, String, String)> {
            let method = format!("objective.method={method}");
            let members = view_of(&group, &config(&[&method]).objective_at(0)).members.into_iter();
            members.map(|m| (m.given.text, m.response.text, m.acts.join("; "))).collect()
        };
        let ratio = |way| format!("self term: {way} likely by Â (clipped ratio)");
        let rollouts = [
            ("2+2".to_string(), ">4".to_string(), ratio("more")),
            (String::new(), "5".into(), ratio("less")),
        ];
        assert_eq!(texts("bread"), rollouts);
        assert_eq!(texts("prefix-rft"), rollouts);
        // What was given is imitated, and the demonstration is a member.
        let of_uft = texts("uft");
        assert_eq!(of_uft.len(), 3);
        assert_eq!(of_uft[2].2, "SFT: more likely, weighed by 0.001 (Eq. 8)");
    }

    #[test]
    fn equal_rewards_have_no_advantage_and_teach_grpo_nothing() {
        let mut group = group(1, "2+2=", &[("5", false), ("6", false)]);
        group.demonstration_reward = None;
        let view = view_of(&group, &config(&["objective.method=grpo"]).objective);
        assert_eq!(acts(&view), ["nothing", "nothing"]);
        assert_eq!(view.calculation, "2 rewards, mean −1.0000; all are equal, so Â is exactly 0");
    }

    #[test]
    fn first_last_and_between_are_shown_and_the_rest_is_counted() {
        let mut run = run("a", 200);
        for step in [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100] {
            run.samples.extend((0..10).map(|_| group(step, "2+2=", &[("4", true)])));
        }
        let samples = samples(std::slice::from_ref(&run));
        let steps: Vec<u32> = samples.steps.iter().map(|s| s.step).collect();
        assert_eq!(steps, [1, 21, 41, 61, 81, 100]);
        assert_eq!((samples.shown, samples.on_file), (6 * GROUPS, 110));
        assert_eq!(samples.steps[0].runs[0].on_file, 10);
        assert_eq!(spread(0).count(), 0);
        assert_eq!(spread(1).collect::<Vec<_>>(), [0]);
        assert_eq!(spread(3).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn long_texts_and_many_groups_stay_within_their_room() {
        let long = "é".repeat(10_000);
        let mut run = run("a", 200);
        for step in 1..=6 {
            let mut group = group(step, &long, &[]);
            let episode = SampledEpisode {
                response: long.clone(),
                reward: 1.0,
                right: true,
                truncated: true,
                ..SampledEpisode::default()
            };
            group.episodes = vec![episode; 64];
            run.samples.extend(vec![group; 8]);
        }
        let samples = samples(std::slice::from_ref(&run));
        let views = samples.steps.iter().flat_map(|s| &s.runs).flat_map(|r| &r.groups);
        let bytes: usize = views.map(GroupView::bytes).sum();
        assert!(bytes <= TEXT_BYTES && samples.shown >= 4, "{bytes} bytes, {}", samples.shown);
        assert_eq!(samples.cut, samples.shown * 65);
        let text = &samples.steps[0].runs[0].groups[0].prompt;
        assert_eq!((text.text.chars().count(), text.left_out), (1200, 8800));
    }
}
