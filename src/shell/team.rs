//! Who shares a run's steps: `--devices`, `--workers`, and `srft worker` on the other side.

use super::arguments::{Train, Worker};
use super::note;
use super::ready::ready_on;
use srft::config::Config;
use srft::device::Selected;
use srft::error::{Error, Result};
use srft::platform::read_text;
use srft::run::Hire;
use srft_team::local::Devices;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The flags that name others than the run's own device.
const FLAGS: &str = "--devices, --workers";

/// Those who share a run's steps with its own device.
pub struct Members {
    /// Other devices of this machine.
    devices: Vec<String>,
    /// Other machines.
    workers: Vec<String>,
    token_file: Option<PathBuf>,
}

impl Members {
    /// Takes them from the arguments; the first device is the run's own.
    pub fn of(arguments: &mut Train) -> Result<Self> {
        let mut devices = std::mem::take(&mut arguments.devices).into_iter();
        arguments.settings.device = devices.next().or(arguments.settings.device.take());
        let mut workers = Vec::new();
        for named in &arguments.workers {
            match Path::new(named).is_file() {
                true => workers.extend(listed(&read_text(Path::new(named))?)),
                false => workers.push(named.clone()),
            }
        }
        workers.retain(|name| !name.trim().is_empty());
        let refused = |what: String| {
            Err(Error::input(what).at("--workers").next("name each worker once, or leave it out"))
        };
        if workers.is_empty() && !arguments.workers.is_empty() {
            return refused("it names no worker".into());
        }
        let mut sorted = workers.clone();
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return refused(format!("`{}` is named twice", twice[0]));
        }
        let token_file = arguments.token_file.clone();
        Ok(Self { devices: devices.collect(), workers, token_file })
    }

    fn count(&self) -> usize {
        self.devices.len() + self.workers.len()
    }

    /// The setting of a new run that its settings can override: a shard for each.
    pub fn shards(&self) -> Option<(String, toml::Table)> {
        let shards = (self.count() + 1).to_string();
        (self.count() > 0).then(|| Config::flag(FLAGS, "train.shards", &shards))
    }

    /// Opens the devices and finds the workers, if there are any.
    pub async fn ready(
        &self,
        config: &Config,
        home: &Selected,
        json: bool,
    ) -> Result<Option<Arc<dyn Hire>>> {
        let shards = config.train.shards;
        match self.count() {
            0 => return Ok(None),
            _ if shards == 1 => {
                return Err(Error::input("train.shards is 1: one device does all of every step")
                    .at(FLAGS)
                    .next("start a run with --set train.shards=N, or leave these out"));
            }
            more if more >= shards => note(format_args!(
                "train.shards = {shards}: at most so many of the {} devices are at work at a time",
                more + 1
            )),
            _ => {}
        }
        let mut others = Vec::new();
        for device in &self.devices {
            others.push(ready_on(device, config, json).await?);
        }
        let devices = Devices { home: home.clone(), others };
        match &self.token_file {
            Some(token_file) => remote::find(devices, self.workers.clone(), token_file),
            None => Ok(Some(Arc::new(devices))),
        }
    }
}

/// The workers that a file lists, one a line; `#` begins a comment.
fn listed(text: &str) -> impl Iterator<Item = String> {
    let name = |line: &str| line.split('#').next().unwrap_or_default().trim().to_string();
    text.lines().map(name).filter(|name| !name.is_empty())
}

/// Works for runs that are started elsewhere, until Ctrl-C.
pub async fn worker(arguments: Worker) -> Result<()> {
    remote::work(arguments).await
}

#[cfg(feature = "remote")]
mod remote {
    use super::super::arguments::Worker;
    use super::super::note;
    use super::super::ready::ready_on;
    use super::super::stop::stop_on_interrupt;
    use srft::config::Config;
    use srft::error::Result;
    use srft::run::Hire;
    use srft_team::local::Devices;
    use srft_team::remote::client::Workers;
    use srft_team::remote::keys::{Keys, make_token};
    use srft_team::remote::place::Place;
    use srft_team::remote::server::serve;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    pub fn find(
        devices: Devices,
        names: Vec<String>,
        token_file: &Path,
    ) -> Result<Option<Arc<dyn Hire>>> {
        let keys = Keys::read(token_file)?;
        Ok(Some(Arc::new(Workers { devices, names, keys })))
    }

    pub async fn work(arguments: Worker) -> Result<()> {
        let Worker { token_file, port, device, precision, folder } = arguments;
        let shown = token_file.display();
        if !token_file.exists() {
            make_token(&token_file)?;
            note(format_args!(
                "a token was made: copy {shown} to the other machines, and show it to no one"
            ));
        }
        let keys = Keys::read(&token_file)?;
        let precision = Config::flag("--precision", "run.precision", &precision);
        let config = Config::resolve(&[precision])?;
        let selected = ready_on(&device, &config, false).await?;
        let place = Place::new(&folder, selected, &keys, |news| note(news))?;
        let stop = stop_on_interrupt("\nthe worker ends; press Ctrl-C again to end at once")?;
        let listens = || {
            note(format_args!(
                "listening on UDP port {port}: srft train … --workers HOST:{port} --token-file {shown}. Ctrl-C ends it"
            ));
        };
        serve(&keys, port, place, listens, || stop.load(Ordering::SeqCst))
    }
}

#[cfg(not(feature = "remote"))]
mod remote {
    use super::super::arguments::Worker;
    use srft::error::{Error, Result};
    use srft::run::Hire;
    use srft_team::local::Devices;
    use std::path::Path;
    use std::sync::Arc;

    fn absent() -> Error {
        Error::input("this srft was built without workers on other machines")
            .next("build it with them: cargo install --path . --features remote")
    }

    pub fn find(_: Devices, _: Vec<String>, _: &Path) -> Result<Option<Arc<dyn Hire>>> {
        Err(absent())
    }

    pub async fn work(_: Worker) -> Result<()> {
        Err(absent())
    }
}
