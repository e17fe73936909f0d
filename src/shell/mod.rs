//! Commands of the program, one file each.

mod arguments;
mod devices;
mod explain;
mod generate;
mod progress;
mod score;
mod tables;
mod train;

pub use arguments::Arguments;

use arguments::Command;
use srft::error::Result;

/// Runs the command that was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Train(a) => train::train(a).await,
        Command::Pretrain(a) => train::pretrain(a).await,
        Command::Eval(a) => generate::eval(a).await,
        Command::Generate(a) => generate::generate(a).await,
        Command::Score(a) => score::score(a).await,
        Command::Explain(a) => explain::explain(a).await,
        Command::Devices(a) => devices::devices(a).await,
        Command::Config(a) => {
            if a.metrics {
                print!("{}", srft::metrics::as_markdown());
            } else {
                print!("{}", a.settings.resolve(Vec::new())?.to_annotated_toml());
            }
            Ok(())
        }
    }
}
