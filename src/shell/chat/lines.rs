//! The lines of standard input.

use super::super::note;
use srft::error::{Error, Result, io};
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdin};
use std::path::Path;

/// Surrounds a message of several lines.
const QUOTES: &str = "\"\"\"";

/// Reads standard input line by line, behind a prompt sign if somebody types.
pub struct Lines {
    /// Whether somebody types.
    pub terminal: bool,
}

impl Lines {
    pub fn new() -> Self {
        Self { terminal: stdin().is_terminal() }
    }

    /// Tells who types something.
    pub fn tell(&self, what: impl Display) {
        if self.terminal {
            note(what);
        }
    }

    /// The next command or message; `None` at the end of the input.
    pub fn next(&mut self) -> Result<Option<String>> {
        let Some(line) = self.line("> ")? else { return Ok(None) };
        let Some(first) = line.trim().strip_prefix(QUOTES) else { return Ok(Some(line)) };
        let mut message = first.to_string();
        while !message.trim_end().ends_with(QUOTES) {
            match self.line(". ")? {
                Some(line) => message += &format!("\n{line}"),
                None => {
                    return Err(Error::input("the input ends within a message")
                        .next(format!("end it with {QUOTES}")));
                }
            }
        }
        // A space keeps it from being a command.
        Ok(Some(format!(" {}", message.trim_end().trim_end_matches(QUOTES))))
    }

    fn line(&self, sign: &str) -> Result<Option<String>> {
        if self.terminal {
            let _ = write!(stderr(), "{sign}");
        }
        let mut line = String::new();
        match stdin().read_line(&mut line) {
            Ok(0) => {
                self.tell("");
                Ok(None)
            }
            Ok(_) => Ok(Some(line.trim_end_matches(['\n', '\r']).into())),
            Err(e) if e.kind() == ErrorKind::InvalidData => {
                Err(Error::input("a line is not UTF-8").next("convert the input to UTF-8"))
            }
            Err(e) => Err(io(Path::new("standard input"), e)),
        }
    }
}
