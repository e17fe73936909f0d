//! The native shell: arguments → run → events printed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the shell is where it speaks")]

mod shell;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = shell::Arguments::parse();
    match pollster::block_on(shell::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let (srft::error::Kind::Machine, Some(words)) =
                (error.kind, srft::device::last_words())
            {
                eprintln!("  the driver said: {words}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
