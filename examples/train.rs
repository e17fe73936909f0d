//! The shortest way through the library: the built-in model on the built-in task, some steps of SRFT.
//!
//!     cargo run --release --example train

#![allow(clippy::print_stdout, reason = "an example is a program of its own")]

use srft::config::Config;
use srft::device::select;
use srft::error::Result;
use srft::metrics::StepReport;
use srft::run::{Parts, trainer};

/// The keys of docs/config.toml; what is not named has its default.
const SETTINGS: &str = r#"
objective.method = "srft"
rollout = { prompts = 4, group = 4 }
train.steps = 5
"#;

fn main() -> Result<()> {
    pollster::block_on(train("auto")).map(drop)
}

/// Trains on a device: `auto`, `cpu`, `vulkan` and so on.
pub async fn train(device: &str) -> Result<Vec<StepReport>> {
    let config = Config::resolve(&[Config::layer(SETTINGS, "the example")?])?;
    let steps = config.train.steps;
    let selected = select(device).await?;
    let Parts { mut trainer, .. } = trainer(config, &selected.device)?;
    let mut reports = Vec::new();
    for _ in 0..steps {
        let (report, groups) = trainer.step().await?;
        let group = &groups[0];
        println!("step {}, loss {:+.4}: {}", report.step, report.loss, group.example.prompt);
        for episode in &group.episodes {
            println!("  {:+.0}  {}", episode.reward, episode.response);
        }
        reports.push(report);
    }
    Ok(reports)
}
