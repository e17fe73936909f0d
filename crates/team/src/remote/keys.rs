//! Who may: a token that coordinator and workers share, and the identities that follow from it.

use super::message::hex;
use iroh::{EndpointId, SecretKey};
use sha2::{Digest, Sha256};
use srft_trainer::error::{Error, Result, io};
use srft_trainer::platform::read_text;
use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The least length of a token, characters: whoever can guess it may use the workers.
const LEAST: usize = 32;

/// How many identities a role has: one connection each, since burn holds one socket an identity.
const ASKING: u32 = 1024;

/// Who asks a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The process of a run, for which the worker works.
    Coordinator,
    /// Another worker of a chain, which takes what is kept for it.
    Worker,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "peer",
        }
    }
}

/// The identities of a token. Whoever knows it can be a worker and a coordinator; a connection shows that
/// either side knows it, by TLS, before anything else is read.
#[derive(Clone)]
pub struct Keys {
    token: String,
}

impl Keys {
    /// Of a token.
    pub fn of(token: &str) -> Result<Self> {
        let token = token.trim();
        if token.len() < LEAST {
            return Err(Error::input(format!(
                "a token of {} characters; it needs at least {LEAST}",
                token.len()
            ))
            .next(
                "let `srft worker --token-file F` make one: give it a file that is not there yet",
            ));
        }
        Ok(Self { token: token.into() })
    }

    fn key(&self, role: &str) -> SecretKey {
        let hash = Sha256::digest(format!("srft {role} 1\0{}", self.token));
        SecretKey::from_bytes(&hash.into())
    }

    /// The workers'.
    pub fn worker(&self) -> SecretKey {
        self.key("worker")
    }

    /// One of those who ask in that role: of this process another one each time, and of another process hardly ever
    /// the same.
    pub fn asks(&self, role: Role) -> SecretKey {
        static FIRST: LazyLock<u32> = LazyLock::new(|| {
            let [a, b, c, d, ..] = SecretKey::generate().to_bytes();
            u32::from_le_bytes([a, b, c, d])
        });
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = FIRST.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        self.key(&format!("{} {}", role.name(), number % ASKING))
    }

    /// All who may ask in that role.
    pub fn all(&self, role: Role) -> HashSet<EndpointId> {
        (0..ASKING).map(|i| self.key(&format!("{} {i}", role.name())).public()).collect()
    }

    /// Of the token in a file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(&read_text(path)?).map_err(|e| e.at(path.display()))
    }
}

impl Debug for Keys {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Writes a fresh token into a file that only its owner can read; refused if there is one.
pub fn make_token(path: &Path) -> Result<()> {
    let bytes = SecretKey::generate().to_bytes(); // 256 random bits
    let token = hex(&bytes);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| writeln!(file, "{token}"));
    written.map_err(|e| io(path, e))
}
