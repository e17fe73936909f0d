//! The report on runs as one HTML file.

use super::charts::charts;
use super::frame::{Section, page, percent_encoded};
use super::look::{Look, looks};
use super::number::{fixed, grouped, span};
use super::read::{DYNAMICS, RunRecord, SHIFT};
use super::results::{COSTS, Time, costs, no_evaluation, table};
use super::samples::samples;
use super::sentences::{notices, sentences};
use super::settings::{between, from_default};
use crate::analysis::draw;
use serde::Serialize;
use serde_json::json;

/// Number of responses whose tokens are coloured.
const STRIPS: usize = 8;

/// The data of every section.
struct Report<'a> {
    runs: &'a [RunRecord],
    looks: Vec<Look>,
}

/// The sections, in the order of the page.
fn sections<'a>() -> [Section<Report<'a>>; 6] {
    [
        Section {
            id: "happened",
            title: "What happened",
            template: concat!(
                include_str!("page/outcome.html.jinja"),
                include_str!("page/happened.html.jinja")
            ),
            fill: happened,
        },
        Section {
            id: "curves",
            title: "Curves",
            template: include_str!("page/curves.html.jinja"),
            fill: curves,
        },
        Section {
            id: "shift",
            title: "What training moved",
            template: include_str!("page/shift.html.jinja"),
            fill: shift,
        },
        Section {
            id: "rollouts",
            title: "Sampled rollouts",
            template: include_str!("page/rollouts.html.jinja"),
            fill: rollouts,
        },
        Section {
            id: "configuration",
            title: "Configuration",
            template: include_str!("page/configuration.html.jinja"),
            fill: configuration,
        },
        Section {
            id: "environment",
            title: "Environment",
            template: include_str!("page/environment.html.jinja"),
            fill: environment,
        },
    ]
}

/// The report on `runs` as self-contained HTML.
pub fn html(runs: &[RunRecord]) -> String {
    let report = Report { runs, looks: looks(runs) };
    let names: Vec<&str> = runs.iter().map(|r| r.name.as_str()).collect();
    let sources: Vec<String> = runs.iter().map(|r| r.path.display().to_string()).collect();
    let last_step = runs.iter().map(RunRecord::updates).max().unwrap_or(0).max(1);
    let head = json!({
        "names": names.join(", "),
        "sources": sources,
        "runs": report.named(),
        "last_step": last_step,
    });
    page(head, &report, &sections())
}

/// A run as every section shows it.
#[derive(Serialize)]
struct Named {
    index: usize,
    name: String,
    path: String,
    about: String,
    #[serde(flatten)]
    look: Look,
}

impl Report<'_> {
    fn named(&self) -> Vec<Named> {
        let named = |(index, (run, look)): (usize, (&RunRecord, &Look))| Named {
            index,
            name: run.name.clone(),
            path: run.path.display().to_string(),
            about: run.method(),
            look: *look,
        };
        self.runs.iter().zip(&self.looks).enumerate().map(named).collect()
    }
}

fn happened(report: &Report) -> serde_json::Value {
    let costs: Vec<Vec<String>> = report.runs.iter().map(costs).collect();
    json!({
        "sentences": sentences(report.runs),
        "notices": notices(report.runs),
        "rows": table(report.runs),
        "no_evaluation": no_evaluation(report.runs),
        "cost_names": COSTS,
        "costs": costs,
    })
}

fn curves(report: &Report) -> serde_json::Value {
    let (groups, zero) = charts(report.runs, &report.looks);
    let data: Vec<Vec<String>> =
        groups.iter().map(|g| g.charts.iter().map(|c| percent_encoded(&c.csv)).collect()).collect();
    json!({
        "groups": groups,
        "data": data,
        "zero": zero,
        "window": super::chart::AVERAGED,
        "no_evaluation": no_evaluation(report.runs),
        "evaluated": report.runs.iter().any(|r| !r.evaluations.is_empty()),
    })
}

fn shift(report: &Report) -> serde_json::Value {
    let drawn = |run: &RunRecord| {
        json!({
            "shift": run.shift.as_ref().map(|shift| draw::token_shift(shift, STRIPS)),
            "dynamics": run.dynamics.as_ref().map(draw::dynamics),
        })
    };
    json!({
        "drawn": report.runs.iter().map(drawn).collect::<Vec<_>>(),
        "shift_file": SHIFT,
        "dynamics_file": DYNAMICS,
    })
}

fn rollouts(report: &Report) -> serde_json::Value {
    json!({"samples": samples(report.runs)})
}

fn configuration(report: &Report) -> serde_json::Value {
    let each: Vec<serde_json::Value> = report
        .runs
        .iter()
        .map(|run| {
            json!({
                "method": run.config.objective.method.name(),
                "differences": from_default(run),
                "toml": run.config.to_annotated_toml(),
            })
        })
        .collect();
    json!({"between": between(report.runs), "each": each})
}

fn environment(report: &Report) -> serde_json::Value {
    let each: Vec<serde_json::Value> = report
        .runs
        .iter()
        .map(|run| {
            let time = Time::of(run);
            let parts: Vec<serde_json::Value> = time
                .parts()
                .into_iter()
                .map(|(name, secs, share)| {
                    let width = fixed(100.0 * share, 2);
                    json!({"name": name, "time": span(secs), "percent": fixed(100.0 * share, 1), "width": width})
                })
                .collect();
            let mut facts = vec![
                ("device", run.device.clone().unwrap_or_else(|| "not on file yet".into())),
                ("asked for", run.config.run.device.clone()),
            ];
            if let Some(summary) = &run.summary {
                let speed = |rate: f64| format!("{} tokens/s", grouped(rate.round() as u64));
                let peak = summary.peak_memory_bytes;
                facts.extend([
                    ("srft", summary.version.clone()),
                    ("sampling", speed(summary.rollout_tokens_per_sec)),
                    ("updates", speed(summary.trained_tokens_per_sec)),
                    ("peak memory", peak.map_or("unknown".into(), |b| format!("{} MiB", b >> 20))),
                ]);
            }
            json!({"facts": facts, "parts": parts, "total": span(time.total())})
        })
        .collect();
    json!({"each": each})
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, evaluation, group, run};
    use super::super::read::Status;
    use super::*;
    use crate::run::SampledEpisode;

    const HOSTILE: &str = "</script><img src=x onerror=\"alert('1')\">{{ 7 * 7 }}&amp;";

    fn whole(name: &str) -> RunRecord {
        let mut run = run(name, 20);
        let at = |step, a| evaluation(step, &[("add", false, a), ("two", true, a / 2.0)]);
        run.evaluations = vec![at(0, 0.3), at(10, 0.6), at(20, 0.9)];
        run.samples =
            vec![group(1, "2+2=", &[("4", true), ("5", false)]), group(11, "1+3=", &[("4", true)])];
        run
    }

    fn count(html: &str, what: &str) -> usize {
        html.matches(what).count()
    }

    #[test]
    fn a_report_has_every_section_and_chart() {
        let mut grpo = whole("b");
        grpo.config = config(&["objective.method=grpo", "train.steps=20"]);
        let html = html(&[whole("a"), grpo]);
        for section in sections() {
            assert!(html.contains(&format!("<section id=\"{}\"", section.id)), "{}", section.id);
        }
        // Two of evaluations, and four of suites since there are two; w_SFT and the like are drawn for
        // a alone.
        assert_eq!(count(&html, "id=\"chart-accuracy-"), 2);
        assert_eq!(count(&html, "id=\"chart-suite-"), 2);
        for (chart, lines) in [("reward", 2), ("w-sft", 1), ("loss-rl-demo", 1), ("grad-norm", 2)] {
            let from = html.find(&format!("id=\"chart-{chart}\"")).expect(chart);
            let figure = &html[from..from + html[from..].find("</figure>").unwrap()];
            assert_eq!(count(figure, "class=\"line\""), lines, "{chart}");
            assert_eq!(count(figure, "data-points=\"20\""), lines, "{chart}");
        }
        let elsewhere = ["src=", "href=\"http", "url(", "@import", "fetch("];
        assert!(elsewhere.iter().all(|e| !html.contains(e)), "everything is in the file");
        assert!(html.contains("objective.method") && html.contains("CPU (flex)"));
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut run = whole(HOSTILE);
        run.path = HOSTILE.into();
        run.device = Some(HOSTILE.into());
        run.notes = vec![HOSTILE.into()];
        run.config = run.config.with(|s| s.data.train = vec![HOSTILE.into()]).unwrap();
        run.evaluations = vec![
            evaluation(0, &[(HOSTILE, false, 0.3)]),
            evaluation(10, &[(HOSTILE, false, 0.3)]),
            evaluation(20, &[(HOSTILE, false, 0.3)]),
        ];
        let episode = SampledEpisode {
            response: HOSTILE.into(),
            given: HOSTILE.into(),
            reward: 1.0,
            scores: [(HOSTILE.into(), 1.0)].into(),
            right: true,
            truncated: true,
        };
        for group in &mut run.samples {
            (group.prompt, group.suite, group.answer) =
                (HOSTILE.into(), HOSTILE.into(), HOSTILE.into());
            group.demonstration = Some(HOSTILE.into());
            group.episodes = vec![episode.clone()];
        }
        run.steps[0].rewards.insert(HOSTILE.into(), 0.5);
        run.shift = Some(super::super::fixture::shift(HOSTILE));
        let html = html(&[run, whole("b")]);
        assert!(count(&html, "onerror") > 20, "it is shown");
        assert_eq!(count(&html, "<img"), 0);
        assert_eq!(count(&html, "</script"), 1, "the report's own");
        assert_eq!(count(&html, "<script"), 1);
        assert_eq!(count(&html, "onerror=\""), 0, "a quote would end an attribute");
        assert!(!html.contains("49&amp;amp;"), "no template is made of it");
    }

    #[test]
    fn runs_that_have_little_to_show_are_shown() {
        let mut stopped = run("stopped", 1);
        stopped.status = Status::Stopped;
        stopped.device = None;
        for runs in [vec![run("a", 0)], vec![run("a", 1)], vec![stopped, whole("b")]] {
            let html = html(&runs);
            let (shown, _) = html.split_once("<script").unwrap();
            assert!(shown.contains("<section id=\"environment\""));
            assert!(!shown.contains("NaN") && !shown.contains(">inf"), "{}", runs[0].name);
        }
    }

    #[test]
    fn two_usual_runs_make_a_small_file() {
        let mut run = run("a", 200);
        for (i, step) in run.steps.iter_mut().enumerate() {
            (step.reward, step.entropy) =
                (Some(1.0 / (1.0 + i as f64)), Some(0.3 / (1.0 + i as f64)));
            (step.loss, step.grad_norm) = ((i as f64).sin(), (i as f64).cos().abs());
        }
        let responses = [("5+3=8,1>18", true); 8];
        for step in (1..200).step_by(10) {
            run.samples.extend((0..32).map(|_| group(step, "12+34=", &responses)));
        }
        let mut other = whole("b");
        (other.steps, other.samples) = (run.steps.clone(), run.samples.clone());
        let bytes = html(&[run, other]).len();
        assert!(bytes < 1_000_000, "{bytes} bytes");
    }
}
