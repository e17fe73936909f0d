//! The one error type: what failed, where, and what to do next.

use std::fmt;

/// Result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong; decides the program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Error {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), place: None, next: None }
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

    /// Adds the place; an inner, more exact place that is already there stays in front.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(match self.place {
            Some(inner) => format!("{place}: {inner}"),
            None => place.to_string(),
        });
        self
    }

    /// Adds the next step; one that is already there stays.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.get_or_insert(next.into());
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

/// An I/O error with the path that it concerns and, where one is known, the way out.
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
    make(error.to_string()).at(path.display()).next(next)
}
