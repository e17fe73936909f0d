//! A run's inputs besides its settings: data files, what a program gave, the model under adapters.
//! `inputs.json` has the length and CRC-32 of each from when the run began, so that a resumed run
//! does not silently go on with other inputs.

use super::given::{GIVEN, Given, NOTHING};
use super::on_file::INPUTS;
use crate::config::{Config, Model, Objective, Settings};
use crate::error::{Error, Result};
use crate::model::{ModelFolder, Print};
use crate::platform::{exists, read, write_atomic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Largest file of a reward command that counts as the user's script, bytes; a larger one is an
/// interpreter.
const LARGEST_SCRIPT: u64 = 1 << 20;

/// Lengths and CRC-32s, by the setting that names the file and the file's path.
type Prints = BTreeMap<String, Print>;

/// Prefix of the names of a model's files.
const OF_MODEL: &str = "model.path: ";

/// A run's inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The fingerprint in the run's checkpoints.
    pub run: u32,
    /// Files that must not change.
    files: Prints,
    /// Files that may be corrected between two starts; changes are noted.
    scripts: Prints,
}

/// The names of the files that changed.
fn changed(now: &Prints, before: &Prints) -> Vec<String> {
    let others = now.iter().filter(|(name, print)| before.get(*name) != Some(*print));
    others.map(|(name, _)| name.clone()).collect()
}

fn print(bytes: &[u8]) -> Print {
    (bytes.len() as u64, crc32fast::hash(bytes))
}

impl Inputs {
    /// The inputs of a run as they are now. `base` is the model that the run reads, if it reads more than
    /// its own checkpoint.
    pub fn of(
        config: &Config,
        given: &Given,
        base: Option<&ModelFolder>,
        run: u32,
    ) -> Result<Self> {
        let (mut files, mut scripts) = (BTreeMap::new(), BTreeMap::new());
        for (key, path) in named(config) {
            let print = match path.strip_prefix(GIVEN).map(|name| given.examples(name)) {
                Some(Ok(examples)) => print(&serde_json::to_vec(examples).expect("plain records")),
                Some(Err(_)) => continue, // whoever reads them says so
                None => print(&given.reads.contents(path, config)?),
            };
            files.insert(format!("{key}: {path}"), print);
        }
        let penalised = config.stages().iter().any(Objective::uses_base);
        let own = match base {
            None if penalised => given.open(&config.model).ok(),
            _ => None,
        };
        if let Some(folder) = base.or(own.as_ref()) {
            let prints = folder.prints().into_iter();
            files.extend(prints.map(|(name, print)| (format!("{OF_MODEL}{name}"), print)));
        }
        for (name, line) in config.reward_commands() {
            for word in shlex::split(line).unwrap_or_default() {
                let path = Path::new(&word);
                if std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST_SCRIPT) {
                    scripts.insert(format!("reward.{name}: {word}"), print(&read(path)?));
                }
            }
        }
        Ok(Self { run, files, scripts })
    }

    /// The inputs of a study's runs as they are now. Runs may have different models, so a model's files are
    /// named with their folder; models for which `reads` is false are left out.
    pub fn of_all(configs: &[Config], reads: impl Fn(&Model) -> bool) -> Result<Self> {
        let (mut all, mut seen) = (Self::default(), Vec::new());
        for config in configs {
            let Settings { model, data, reward, .. } = &**config;
            let named = (model, &data.train, &data.eval, reward);
            if seen.contains(&named) {
                continue;
            }
            seen.push(named);
            let base = if reads(model) { Some(NOTHING.open(model)?) } else { None };
            let Self { mut files, scripts, .. } = Self::of(config, &NOTHING, base.as_ref(), 0)?;
            files.retain(|name, _| base.is_some() || !name.starts_with(OF_MODEL));
            all.files.extend(files.into_iter().map(|(name, print)| {
                let of_model = name.strip_prefix(OF_MODEL);
                let whole = of_model.map(|file| format!("{OF_MODEL}{}/{file}", model.path));
                (whole.unwrap_or(name), print)
            }));
            all.scripts.extend(scripts);
        }
        Ok(all)
    }

    /// The inputs that the run in `path` began with; `None` if it was written by an older version or by a
    /// page, which write no such file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let path = path.join(INPUTS);
        if !exists(&path) {
            return Ok(None);
        }
        serde_json::from_slice(&read(&path)?).map(Some).map_err(|e| {
            Error::input(e.to_string())
                .at(path.display())
                .next("put the file back as it was, or remove it: the inputs are then not checked")
        })
    }

    /// Writes the inputs into the run in `path`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self).expect("a plain record");
        text.push(b'\n');
        write_atomic(&path.join(INPUTS), &text)
    }

    /// Compares with the inputs that the run `began` with. Returns the merged inputs and notes to the user;
    /// a changed file is an error unless the user `accepts` it.
    pub fn since(self, began: Option<Self>, accepts: bool) -> Result<(Self, Vec<String>)> {
        self.since_of("run", began, accepts)
    }

    /// Like [`Self::since`], for a study, in which a later run may read files that no run has read before.
    pub fn since_whole(
        self,
        mut began: Option<Self>,
        accepts: bool,
    ) -> Result<(Self, Vec<String>)> {
        if let Some(began) = &mut began {
            for (now, began) in
                [(&self.files, &mut began.files), (&self.scripts, &mut began.scripts)]
            {
                for (name, print) in now {
                    began.entry(name.clone()).or_insert(*print);
                }
            }
        }
        self.since_of("study", began, accepts)
    }

    fn since_of(
        self,
        whole: &str,
        began: Option<Self>,
        accepts: bool,
    ) -> Result<(Self, Vec<String>)> {
        let Some(mut began) = began else {
            let unknown = format!(
                "the {whole} has no record of its input files, so whether they changed was not \
                 checked"
            );
            let notes = if self.files.is_empty() { vec![] } else { vec![unknown] };
            return Ok((self, notes));
        };
        let files = changed(&self.files, &began.files);
        let since = format!("changed since the {whole} began");
        if !files.is_empty() && !accepts {
            return Err(Error::input(format!("{since}: {}", files.join(", ")))
                .next("put it back as it was, or continue with the changes: --accept-changes"));
        }
        let scripts = changed(&self.scripts, &began.scripts);
        let notes = files.into_iter().chain(scripts);
        let notes = notes.map(|name| format!("{since}: {name}")).collect();
        began.files.extend(self.files);
        began.scripts.extend(self.scripts);
        Ok((began, notes))
    }
}

/// The data files that the settings name, each with its key.
fn named(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let train = config.data.train.iter().map(|path| ("data.train", path.as_str()));
    train.chain(config.data.eval.iter().map(|path| ("data.eval", path.as_str())))
}
