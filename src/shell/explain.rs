//! `srft explain`.

use super::arguments::Explain;
use super::ready::ready;
use super::say;
use super::tables::table;
use srft::error::Result;
use srft::explain::{Explanation, Terms, explain as explain_update, parse_episodes};
use srft::platform::read_text;
use srft::records::Example;
use srft::run::{Parts, trainer};

/// Shows an update with all its parts.
pub async fn explain(arguments: Explain) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let selected = ready(&config, arguments.json).await?;
    let Parts { trainer, .. } = trainer(config, &selected.device)?;
    let mut groups = match (&arguments.episodes, &arguments.prompt) {
        (Some(path), _) => {
            parse_episodes(&read_text(path)?, &path.display().to_string(), &trainer.learner)?
        }
        (None, Some(prompt)) => {
            let example = Example {
                suite: "prompt".into(),
                prompt: prompt.clone(),
                demonstration: arguments.demonstration.clone(),
                answer: arguments.answer.clone().unwrap_or_default(),
                ..Example::default()
            };
            trainer.groups(vec![example]).await?
        }
        (None, None) => {
            let seed = trainer.learner.config.run.seed;
            trainer.groups(trainer.source.examples(seed, 0, 1)).await?
        }
    };
    let explanation = explain_update(&trainer.learner, &mut groups).await?;
    if arguments.json { say(to_json(&explanation)) } else { print(&explanation) }
}

/// The documented JSON: flat lists over the whole file, and the lists of each prompt.
fn to_json(e: &Explanation) -> serde_json::Value {
    let flat = |f: fn(&srft::explain::PromptExplanation) -> Vec<f64>| -> Vec<f64> {
        e.prompts.iter().flat_map(f).collect()
    };
    serde_json::json!({
        "advantages": flat(|p| p.advantages.clone()),
        "entropy": flat(|p| p.entropy.clone()),
        "w_sft": flat(|p| p.w_sft.into_iter().collect()),
        "w_rl": flat(|p| p.w_rl.clone()),
        "terms": e.terms,
        "grad_norm": e.grad_norm,
        "prompts": e.prompts,
    })
}

fn print(e: &Explanation) -> Result<()> {
    for p in &e.prompts {
        let rollouts = p.w_rl.len();
        let rows = p.responses.iter().enumerate().map(|(i, response)| {
            let (kind, weight) = match p.w_sft {
                Some(w) if i >= rollouts => ("demonstration", format!("w_SFT {w:.4}")),
                _ => ("rollout", format!("w_RL {:.4}", p.w_rl[i])),
            };
            // A line stands between what was given and what was sampled.
            let own = response.strip_prefix(&*p.given[i]).filter(|_| !p.given[i].is_empty());
            vec![
                own.map_or(response.clone(), |own| format!("{}│{own}", p.given[i])),
                kind.into(),
                p.rewards[i].map_or("–".into(), |r| format!("{r:+.1}")),
                format!("{:+.3}", p.advantages[i]),
                format!("{:.4}", p.entropy[i]),
                weight,
            ]
        });
        say(&p.prompt)?;
        let header = ["response", "", "reward", "advantage", "entropy (nats)", "weight"];
        say(format_args!("{}\n", table(&header, rows.collect())))?;
    }
    let row = |name: &str, f: fn(&Terms) -> f64| {
        vec![name.into(), format!("{:+.6}", f(&e.terms)), format!("{:.6}", f(&e.grad_norm))]
    };
    let rows = vec![
        row("L_SFT (Eq. 8)", |t| t.sft),
        row("L_RL,demo (Eqs. 9-10)", |t| t.rl_demo),
        row("L_self (Eqs. 11-12)", |t| t.self_term),
        row("entropy bonus", |t| t.entropy),
        row("KL penalty", |t| t.kl),
        row("total (Eq. 13)", |t| t.total),
    ];
    say(table(&["term", "value", "gradient norm"], rows))
}
