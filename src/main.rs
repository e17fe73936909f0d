//! The command-line program: reads arguments, runs a command, prints events.

mod shell;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = shell::Arguments::parse();
    match pollster::block_on(shell::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::note(format_args!("error: {error}"));
            if let (srft::error::Kind::Machine, Some(words)) =
                (error.kind, srft::device::last_words())
            {
                shell::note(format_args!("  the driver said: {words}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}
