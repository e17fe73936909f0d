//! Several workers that share a session's runs, each with some of them.

use super::protocol::Share;
use crate::config::{Config, Settings};
use crate::device::Kind;
use crate::error::{Error, Result};

impl Share {
    /// One worker makes every run.
    pub const ALL: Self = Self { part: 0, of: 1 };

    /// How runs with these configs are shared on a device of this kind. A GPU is one, however many workers ask it; and
    /// what the runs show in common (the base, the probes, the suites) each worker takes from its own first run,
    /// so that runs are shared only where these are alike.
    pub fn of_runs(self, kind: Kind, configs: &[Config]) -> Result<Self> {
        let Self { part, of } = self;
        let alike = configs.windows(2).all(|pair| in_common(&pair[0]) == in_common(&pair[1]));
        let most = if kind.is_gpu() || !alike { 1 } else { configs.len() as u32 };
        let of = of.min(most);
        match part < of {
            true => Ok(Self { part, of }),
            false => {
                Err(Error::input(format!("no run is left for worker {part}")).at("share").next(
                    format!("these runs have {most} workers at most: {{ part: 0, of: {most} }}"),
                ))
            }
        }
    }

    /// Whether the run of this index is one of this worker's.
    pub fn has(self, index: usize) -> bool {
        index as u32 % self.of == self.part
    }

    /// Whether this worker is the first, which has what is of no run: the base's answers and evaluations, the data.
    pub fn is_first(self) -> bool {
        self.part == 0
    }
}

/// The settings without those that a method is made of.
fn in_common(config: &Config) -> Settings {
    let defaults = Settings::default();
    let settings: &Settings = config;
    Settings { objective: defaults.objective, optimizer: defaults.optimizer, ..settings.clone() }
}
