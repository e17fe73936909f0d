//! The one error type: what failed, where, and what to do next.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong; decides the program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The user's input is wrong: a flag, a config key, a data line, a model folder. Exit code 2.
    Input,
    /// The machine failed us: no adapter, a lost device, a full disk. Exit code 3.
    Machine,
    /// The numbers are wrong: a self-test mismatch, a non-finite loss or gradient. Exit code 4.
    Numbers,
    /// The user asked to stop; everything is saved. Exit code 130, as shells expect after Ctrl-C.
    Interrupted,
}

/// An error that helps: one sentence of what, an optional place, and the next step.
#[derive(Debug, Clone)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: Kind,
    /// What failed, with expected and actual values.
    pub what: String,
    /// Where: `file:line`, a tensor's name, a config key.
    pub place: Option<String>,
    /// What the user can do next.
    pub next: Option<String>,
    /// Whether the next step is a generic hint, which a later, more specific one replaces.
    pub general: bool,
}

impl Error {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), place: None, next: None, general: false }
    }

    /// The user's input is wrong.
    pub fn input(what: impl Into<String>) -> Self {
        Self::new(Kind::Input, what)
    }

    /// The machine failed.
    pub fn machine(what: impl Into<String>) -> Self {
        Self::new(Kind::Machine, what)
    }

    /// The numbers are wrong.
    pub fn numbers(what: impl Into<String>) -> Self {
        Self::new(Kind::Numbers, what)
    }

    /// The user asked to stop.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self::new(Kind::Interrupted, what)
    }

    /// Adds the place in front of a more exact place that is already there.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(match self.place {
            Some(inner) => format!("{place}: {inner}"),
            None => place.to_string(),
        });
        self
    }

    /// Adds the next step. An existing next step is kept, since it was written closer to the failure,
    /// unless it is a generic hint.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        if self.general || self.next.is_none() {
            self.next = Some(next.into());
            self.general = false;
        }
        self
    }

    /// Adds a generic hint for the whole kind of error, shown unless a caller adds a better one.
    #[must_use]
    pub fn next_in_general(mut self, next: impl Into<String>) -> Self {
        if self.next.is_none() {
            self.next = Some(next.into());
            self.general = true;
        }
        self
    }

    /// The process exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Input => 2,
            Kind::Machine => 3,
            Kind::Numbers => 4,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(next) = &self.next {
            write!(f, "\n  next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An I/O error with the path that it concerns and, where one is known, a remedy.
pub fn io(path: &std::path::Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    let (make, next): (fn(String) -> Error, _) = match error.kind() {
        ErrorKind::NotFound => (Error::input, "check the path"),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            (Error::input, "a file is where a folder should be, or the other way round")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (Error::machine, "check the permissions, or choose another folder")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => (
            Error::machine,
            "free some space and run again with --resume; what was saved before is intact",
        ),
        _ => (Error::machine, "see the system's message above"),
    };
    make(error.to_string()).at(path.display()).next_in_general(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A generic hint for an I/O error once hid the hint that names what is needed.
    #[test]
    fn a_general_hint_gives_way_and_an_exact_one_stays() {
        let missing = || io(Path::new("a"), std::io::ErrorKind::NotFound.into());
        assert_eq!(missing().next.as_deref(), Some("check the path"));
        let exact = missing().next("give a folder with b");
        assert_eq!(exact.next.as_deref(), Some("give a folder with b"));
        let exact = exact.next("something else").next_in_general("check it");
        assert_eq!(exact.next.as_deref(), Some("give a folder with b"));
    }
}
