//! What a reader should look at in a run: collapse, divergence, overfitting, groups without contrast.
//! Each rule compares recorded numbers, and its text names them.

use super::number::{fixed, percent, signed};
use super::read::RunRecord;
use super::results::{Mean, Outcome, mean_of};
use crate::config::{Objective, RewardValues, SelfTerm};
use crate::metrics::StepReport;

/// A run's entropy has collapsed if less than this share of it is left.
const COLLAPSED: f64 = 0.2;
/// From this share on, groups that are all right or all wrong are reported.
const MOST_GROUPS: f64 = 0.5;
/// From this share of a demonstration on, what rollouts began with is reported.
const MUCH_GIVEN: f64 = 0.1;
/// From this share on, rollouts cut by the length limit are reported.
const MANY_CUT: f64 = 0.1;
/// From this share on, rollouts that are right only in the looser form are reported.
const MANY_LOOSE: f64 = 0.05;
/// A gradient norm this many times the run's median is a spike.
const SPIKE: f64 = 10.0;
/// A fall of the mean reward is reported from this share of its range on; less is normal noise between
/// steps.
const FALL: f64 = 0.2;
/// Means at both ends of a run cover a tenth of its steps, at most this many.
const MOST_STEPS: usize = 10;

/// Something that stands out in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Lower ranks are reported first.
    pub rank: u8,
    /// Without the run's name and without a full stop.
    pub text: String,
}

/// What stands out in a run, the gravest first.
pub fn findings(run: &RunRecord) -> Vec<Finding> {
    let rules: [fn(&RunRecord) -> Option<String>; 13] = [
        diverged,
        reward_fell,
        gradient_jumped,
        readings_part,
        below_base,
        overfitted,
        within_interval,
        unscored,
        cut,
        guided,
        collapsed,
        all_wrong,
        all_right,
    ];
    let ranked = (0u8..).zip(rules);
    ranked.filter_map(|(rank, rule)| Some(Finding { rank, text: rule(run)? })).collect()
}

fn diverged(run: &RunRecord) -> Option<String> {
    run.diverged.as_ref().map(|_| format!("it diverged after step {}", run.updates()))
}

fn rollouts(o: &Objective) -> bool {
    o.uses_rollouts()
}

fn window(values: &[(u32, f64)]) -> usize {
    (values.len() / 10).clamp(1, MOST_STEPS)
}

fn mean(values: &[(u32, f64)]) -> f64 {
    values.iter().map(|v| v.1).sum::<f64>() / values.len() as f64
}

/// The means over the first and the last steps, and how many steps each covers; `None` for fewer than
/// two steps.
pub fn ends(values: &[(u32, f64)]) -> Option<(f64, f64, usize)> {
    let n = window(values);
    let apart = values.len() >= 2;
    apart.then(|| (mean(&values[..n]), mean(&values[values.len() - n..]), n))
}

fn of_rollouts(
    run: &RunRecord,
    value: fn(&StepReport) -> Option<f64>,
) -> Option<(f64, f64, usize)> {
    ends(&run.values(value, rollouts))
}

/// `in the last 10 steps`.
fn lately(n: usize) -> String {
    if n == 1 { "in the last step".into() } else { format!("in the last {n} steps") }
}

fn reward_fell(run: &RunRecord) -> Option<String> {
    let rewards = run.values(|r| r.reward, rollouts);
    let (_, last, n) = ends(&rewards)?;
    let best = rewards.windows(n).max_by(|a, b| mean(a).total_cmp(&mean(b)))?;
    let range = match run.config.objective.reward_values {
        RewardValues::Signed => 2.0,
        RewardValues::Binary => 1.0,
    };
    let (top, at) = (mean(best), best[n - 1].0);
    (top - last > FALL * range).then(|| {
        format!(
            "its mean reward fell from {} around step {at} to {}",
            signed(top, 2),
            signed(last, 2)
        )
    })
}

/// A policy that learns expressions equal to the answer that are no answers.
fn readings_part(run: &RunRecord) -> Option<String> {
    let rollout = &run.config.rollout;
    let all = (rollout.prompts * rollout.group).max(1) as f64;
    let loose = run.values(|r| Some(r.loose_only as f64), rollouts);
    let (first, last, n) = ends(&loose)?;
    let (low, high, _) = of_rollouts(run, |r| r.reward)?;
    (high > low && last > first && last >= MANY_LOOSE * all).then(|| {
        format!(
            "its reward rose, and {} of its rollouts had the gold answer's value, but in a form \
             that is not an answer, {} (loose_only, docs/verifiers.md): read its samples before \
             believing it",
            percent(last / all),
            lately(n)
        )
    })
}

fn gradient_jumped(run: &RunRecord) -> Option<String> {
    let mut norms: Vec<f64> =
        run.steps.iter().map(|r| r.grad_norm).filter(|&norm| norm > 0.0).collect();
    norms.sort_by(f64::total_cmp);
    let median = *norms.get(norms.len() / 2)?;
    let worst = run.steps.iter().max_by(|a, b| a.grad_norm.total_cmp(&b.grad_norm))?;
    let times = worst.grad_norm / median;
    (times > SPIKE).then(|| {
        format!(
            "its gradient norm reached {} times its median at step {}",
            fixed(times, 0),
            worst.step
        )
    })
}

fn below_base(run: &RunRecord) -> Option<String> {
    let words = |mean, words: &str| {
        let outcome = Outcome::of_mean(run, mean);
        let (last, [_, high]) = outcome.last?;
        let base = outcome.base.filter(|base| high < *base)?;
        Some(format!(
            "{words} it ended below its base, at {} after {}",
            percent(last),
            percent(base)
        ))
    };
    words(Mean::In, "in distribution").or_else(|| words(Mean::Out, "out of distribution"))
}

/// Improves in distribution and gets worse out of distribution.
fn overfitted(run: &RunRecord) -> Option<String> {
    let curve = |mean| {
        let points = run.evaluations.iter();
        points.filter_map(move |e| Some((e.step, mean_of(&e.scores, mean)?))).collect::<Vec<_>>()
    };
    let (inside, outside) = (curve(Mean::In), curve(Mean::Out));
    let &(step, (best, _)) = outside.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
    let &(_, (last, [_, high])) = outside.last()?;
    let then = inside.iter().find(|p| p.0 == step)?.1.0;
    let now = inside.last()?.1.0;
    (step > 0 && best > high && now >= then).then(|| {
        format!(
            "out of distribution it fell from {} at step {step} to {}, in distribution it did not",
            percent(best),
            percent(last)
        )
    })
}

fn within_interval(run: &RunRecord) -> Option<String> {
    let outcome = Outcome::of_mean(run, Mean::In);
    let ((_, [low, high]), base) = (outcome.last?, outcome.base?);
    let change = outcome.change()?;
    (low..=high).contains(&base).then(|| {
        format!(
            "its change in distribution, {} points, is within the 95% interval",
            signed(100.0 * change, 1)
        )
    })
}

fn unscored(run: &RunRecord) -> Option<String> {
    let sum = |of: fn(&StepReport) -> u64| run.steps.iter().map(of).sum::<u64>();
    let failed = [(sum(|r| r.unscored), "rollouts"), (sum(|r| r.unscored_demos), "demonstrations")];
    let named = failed.iter().filter(|(count, _)| *count > 0);
    let named: Vec<String> = named.map(|(count, what)| format!("{count} of its {what}")).collect();
    (!named.is_empty()).then(|| format!("the verifier failed on {}", named.join(" and ")))
}

fn cut(run: &RunRecord) -> Option<String> {
    let (_, share, n) = of_rollouts(run, |r| r.truncated_share)?;
    let (_, tokens, _) = of_rollouts(run, |r| r.response_tokens)?;
    let limit = run.config.rollout.max_new_tokens;
    let by_context = match of_rollouts(run, |r| r.context_cut_share) {
        Some((_, by_context, of)) if of == n => by_context,
        // Runs of earlier versions don't record what cut a rollout. If the length limit had cut all of
        // them, that many would have had the full length, and the mean could not be shorter.
        _ if tokens + 0.5 < share * limit as f64 => share,
        _ => 0.0,
    };
    let at = if by_context >= share {
        format!("by the model's context, before the limit of {limit} tokens")
    } else if by_context == 0.0 {
        format!("at {limit} tokens")
    } else {
        let at_limit = percent(share - by_context);
        format!("({at_limit} at {limit} tokens, {} by the model's context)", percent(by_context))
    };
    (share >= MANY_CUT)
        .then(|| format!("{} of its rollouts were cut {at} {}", percent(share), lately(n)))
}

/// Its reward in training is not the policy's own.
fn guided(run: &RunRecord) -> Option<String> {
    let (_, share, n) = of_rollouts(run, |r| r.given_share)?;
    (share >= MUCH_GIVEN).then(|| {
        format!(
            "its rollouts began with {} of their demonstrations {}, so its reward is not the policy's \
             own: compare evaluations",
            percent(share),
            lately(n)
        )
    })
}

fn collapsed(run: &RunRecord) -> Option<String> {
    let (first, last, _) = of_rollouts(run, |r| r.entropy)?;
    (last < COLLAPSED * first)
        .then(|| format!("its entropy fell from {} to {} nats", fixed(first, 3), fixed(last, 3)))
}

fn all_wrong(run: &RunRecord) -> Option<String> {
    let (_, share, n) = of_rollouts(run, |r| r.groups_all_wrong)?;
    (share >= MOST_GROUPS)
        .then(|| format!("{} of its groups were all wrong {}", percent(share), lately(n)))
}

fn all_right(run: &RunRecord) -> Option<String> {
    let (_, share, n) = of_rollouts(run, |r| r.groups_all_right)?;
    let signed =
        run.config.objective_at(run.updates().saturating_sub(1)).self_term == SelfTerm::Signed;
    let so = match signed {
        true => "which the signed self term goes on to reinforce",
        false => "which teach its self term nothing",
    };
    (share >= MOST_GROUPS)
        .then(|| format!("{} of its groups were all right {}, {so}", percent(share), lately(n)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, evaluation, run};
    use super::*;

    fn texts(run: &RunRecord) -> Vec<String> {
        findings(run).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn an_uneventful_run_has_nothing_to_look_at() {
        assert_eq!(texts(&run("a", 40)), Vec::<String>::new());
        assert_eq!(texts(&run("a", 1)), Vec::<String>::new());
        assert_eq!(texts(&run("a", 0)), Vec::<String>::new());
    }

    #[test]
    fn a_collapse_and_groups_without_contrast_are_told() {
        let mut run = run("a", 40);
        for (i, step) in run.steps.iter_mut().enumerate() {
            step.entropy = Some(0.4 - 0.0099 * i as f64);
            step.groups_all_right = Some(i as f64 / 40.0);
        }
        // Means of four steps: 0.4 − 1.5 · 0.0099, and 0.4 − 37.5 · 0.0099; 37.5 / 40.
        assert_eq!(
            texts(&run),
            [
                "its entropy fell from 0.385 to 0.029 nats",
                "93.8% of its groups were all right in the last 4 steps, which the signed self term goes \
                 on to reinforce"
            ]
        );
    }

    #[test]
    fn rewards_of_guided_rollouts_are_told() {
        let mut run = run("a", 40);
        run.steps.iter_mut().for_each(|step| step.given_share = Some(0.25));
        let told = "its rollouts began with 25.0% of their demonstrations in the last 4 steps, so its \
                    reward is not the policy's own: compare evaluations";
        assert_eq!(texts(&run), [told]);
    }

    #[test]
    fn readings_that_part_while_the_reward_rises_are_told() {
        let mut run = run("a", 40);
        let all = (run.config.rollout.prompts * run.config.rollout.group) as u64;
        for (i, step) in run.steps.iter_mut().enumerate() {
            step.loose_only = all * i as u64 / 40;
        }
        assert_eq!(texts(&run), Vec::<String>::new(), "the reward stays");
        for (i, step) in run.steps.iter_mut().enumerate() {
            step.reward = Some(i as f64 / 40.0);
        }
        let [told] = texts(&run).try_into().unwrap();
        assert!(told.contains("not an answer, in the last 4 steps"), "{told}");
        run.steps.iter_mut().for_each(|step| step.loose_only = 0);
        assert_eq!(texts(&run), Vec::<String>::new());
    }

    #[test]
    fn a_divergence_is_told_first() {
        let mut run = run("a", 40);
        for step in &mut run.steps[20..] {
            step.reward = Some(-0.5);
            (step.truncated_share, step.response_tokens) = (Some(1.0), Some(44.0));
        }
        run.steps[30].grad_norm = 50.0;
        assert_eq!(
            texts(&run),
            [
                "its mean reward fell from +0.20 around step 20 to −0.50",
                "its gradient norm reached 100 times its median at step 31",
                "100.0% of its rollouts were cut at 44 tokens in the last 4 steps"
            ]
        );
        run.steps.iter_mut().for_each(|step| step.response_tokens = Some(7.0));
        let cut = "100.0% of its rollouts were cut by the model's context, before the limit of 44 tokens \
                   in the last 4 steps";
        assert_eq!(texts(&run)[2], cut);
    }

    /// 30% cut with short responses could be due to either limit: the steps record which.
    #[test]
    fn what_cut_rollouts_is_told_as_it_was_counted() {
        let mut run = run("a", 40);
        for (by_context, told) in [
            (0.0, "30.0% of its rollouts were cut at 44 tokens"),
            (0.3, "30.0% of its rollouts were cut by the model's context, before the limit of 44"),
            (
                0.1,
                "30.0% of its rollouts were cut (20.0% at 44 tokens, 10.0% by the model's context)",
            ),
        ] {
            for tokens in [3.0, 40.0] {
                for step in &mut run.steps {
                    (step.truncated_share, step.response_tokens) = (Some(0.3), Some(tokens));
                    step.context_cut_share = Some(by_context);
                }
                let texts = texts(&run);
                assert!(texts.len() == 1 && texts[0].starts_with(told), "{texts:?}");
            }
        }
    }

    #[test]
    fn accuracy_that_fell_is_told() {
        let mut run = run("a", 40);
        let at = |step, inside, outside| {
            evaluation(step, &[("add", false, inside), ("two", true, outside)])
        };
        run.evaluations = vec![at(0, 0.3, 0.1), at(20, 0.6, 0.4), at(40, 0.9, 0.3)];
        let expected = "out of distribution it fell from 40.0% at step 20 to 30.0%, in distribution it did not";
        assert_eq!(texts(&run), [expected]);
        run.evaluations = vec![at(0, 0.3, 0.4), at(40, 0.32, 0.2)];
        assert_eq!(
            texts(&run),
            [
                "out of distribution it ended below its base, at 20.0% after 40.0%",
                "its change in distribution, +2.0 points, is within the 95% interval"
            ]
        );
    }

    #[test]
    fn what_the_objective_gives_no_meaning_is_not_judged() {
        let mut run = run("a", 40);
        run.config = config(&["objective.method=sft"]);
        for step in &mut run.steps[20..] {
            (step.entropy, step.reward) = (Some(0.0), Some(-1.0));
        }
        assert_eq!(texts(&run), Vec::<String>::new());
    }
}
