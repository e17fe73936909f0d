//! A verifier of your own: nearly right earns something.
//!
//!     cargo run --release --example verifier

#![allow(clippy::print_stdout, reason = "an example is a program of its own")]

use srft::config::Config;
use srft::device::select;
use srft::error::Result;
use srft::records::Group;
use srft::reward::{Part, Scores, Submission};
use srft::run::{Parts, trainer};
use std::sync::Arc;

/// 1 for the gold answer, less the further a number is from it. Accuracy counts a half or more.
#[derive(Debug)]
struct Near;

impl Part for Near {
    fn name(&self) -> &'static str {
        "near"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
        Ok(submissions.iter().map(|s| Ok(near(s))).collect())
    }
}

fn near(submission: &Submission) -> f64 {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    // The built-in task's responses are a chain, `>` and the answer.
    let given = submission.response.rsplit_once('>').and_then(|(_, answer)| number(answer));
    match (given, number(&submission.example.answer)) {
        (Some(given), Some(gold)) if submission.finished => 1.0 / (1.0 + (given - gold).abs()),
        _ => 0.0,
    }
}

fn main() -> Result<()> {
    pollster::block_on(train("auto")).map(drop)
}

/// A step with it. A run in a folder takes it by `run::Given::judge`.
pub async fn train(device: &str) -> Result<Vec<Group>> {
    let config = Config::resolve(&[Config::setting("rollout.prompts=4")?])?;
    let Parts { mut trainer, .. } = trainer(config, &select(device).await?.device)?;
    trainer.grader.judge = Some(Arc::new(Near));
    let (report, groups) = trainer.step().await?;
    println!("mean reward {:?}", report.reward);
    for episode in groups.iter().flat_map(|group| &group.episodes) {
        println!("{:+.2}  {}", episode.reward, episode.response);
    }
    Ok(groups)
}
