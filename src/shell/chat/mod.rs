//! `srft chat`: a conversation in the terminal, or a message a line through a pipe.
//!
//! Standard output gets the answers alone; the prompt sign and all that is said about the conversation goes
//! to standard error. On a terminal a bad command or message is told, and the conversation goes on; in a
//! pipe it ends the program, as any bad input does.

mod lines;
mod speaker;

pub use speaker::{message, prompt_of, template_of};

use super::arguments::Chat;
use super::generate::sampling;
use super::ready::ready;
use super::settings::of_run;
use super::stop::stop_on_interrupt;
use super::{load, note, print};
use lines::Lines;
use serde_json::json;
use speaker::{Asking, Speaker};
use srft::config::{Config, Model};
use srft::device::Selected;
use srft::error::{Error, Kind, Result};
use srft::ops::sampling::Sampling;
use srft::platform::{absolute, exists, write_atomic};
use srft::run::OnFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name by which `--beside` asks for the model before training.
const BASE: &str = "base";

const HELP: &str = "\
/system TEXT     another system message from now on; without TEXT, none
/temperature T   0 always takes the most probable token
/reset           begin anew; the system message stays
/save FILE       write the conversation as JSONL, which --data reads
/help            this list
/quit            leave (so does Ctrl-D)
Ctrl-C stops an answer. A message of several lines stands between two \"\"\"; one that begins with / has a
space before it.";

/// Talks until the input ends.
pub async fn chat(arguments: Chat) -> Result<()> {
    let top_p = ("--top-p", "rollout.top_p", arguments.top_p.map(|p| p.to_string()));
    let config = arguments.settings.resolve(Vec::new(), &[top_p])?;
    let sampling = sampling(&config, arguments.temperature)?;
    let beside = match arguments.beside.as_deref() {
        None | Some(BASE) => arguments.beside.clone(),
        Some(named) => Some(srft_hub::fetched_model(&of_run(named), &arguments.settings.hub())?),
    };
    let selected = ready(&config, false).await?;
    let speakers = speakers(&config, beside.as_deref(), &selected)?;
    let stop = stop_on_interrupt("\nCtrl-C again, or Ctrl-D, leaves")?;
    let mut lines = Lines::new();
    let (terminal, system) = (lines.terminal, arguments.system);
    lines.tell(format_args!("{}: a message, or /help", config.model.path));
    let (turn, saved) = (0, Vec::new());
    let mut session = Session { config, sampling, system, speakers, turn, stop, terminal, saved };
    while let Some(line) = lines.next()? {
        match session.hear(&line).await {
            Ok(Heard::Done) => {}
            Ok(Heard::Told(what)) => lines.tell(what),
            Ok(Heard::Leave) => break,
            Err(e) if terminal && e.kind == Kind::Input => note(format_args!("error: {e}")),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Who answers, in this order: what `--beside` names, and the model.
fn speakers(config: &Config, beside: Option<&str>, selected: &Selected) -> Result<Vec<Speaker>> {
    let (folder, model, tokenizer) = load(&config.model, selected)?;
    let beside = match beside {
        None => None,
        Some(BASE) if model.lora().is_some() => {
            let bare = model.without_adapters();
            Some(Speaker::new(BASE, &folder, bare, tokenizer.clone())?)
        }
        Some(named) => {
            let other = match named {
                BASE => began_with(&config.model)?,
                path => Model { path: path.into(), base: String::new(), ..config.model.clone() },
            };
            let (folder, model, tokenizer) = load(&other, selected)?;
            Some(Speaker::new(named, &folder, model, tokenizer)?)
        }
    };
    let own = Speaker::new(&config.model.path, &folder, model, tokenizer)?;
    Ok(beside.into_iter().chain([own]).collect())
}

/// The model that the run began with whose `best` or checkpoint this is.
fn began_with(model: &Model) -> Result<Model> {
    let path = absolute(Path::new(&model.path));
    let run = path.ancestors().skip(1).take(2).find(|above| OnFile::of(above).is_run());
    let run = run.ok_or_else(|| {
        Error::input("its base is not known: it is neither an adapter nor in a run's folder")
            .at(&model.path)
            .next("name the other model: --beside DIR")
    })?;
    Ok(OnFile::of(run).config()?.model.clone())
}

/// What a line came to.
enum Heard {
    /// An answer.
    Done,
    /// Something else, to be confirmed.
    Told(String),
    /// The end.
    Leave,
}

struct Session {
    config: Config,
    sampling: Sampling,
    system: Option<String>,
    speakers: Vec<Speaker>,
    /// Messages so far: each is answered with other random numbers.
    turn: u32,
    stop: Arc<AtomicBool>,
    terminal: bool,
    /// Files that `/save` wrote, and may write again.
    saved: Vec<PathBuf>,
}

impl Session {
    /// Does what a line asks.
    async fn hear(&mut self, line: &str) -> Result<Heard> {
        let Some(command) = line.strip_prefix('/') else { return self.ask(line.trim()).await };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let told = match name {
            "help" => HELP.into(),
            "quit" => return Ok(Heard::Leave),
            "reset" => {
                self.speakers.iter_mut().for_each(Speaker::forget);
                "begun anew".into()
            }
            "system" => {
                self.system = (!rest.is_empty()).then(|| rest.into());
                if rest.is_empty() { "no system message".into() } else { format!("system: {rest}") }
            }
            "temperature" => {
                let temperature = rest.parse().map_err(|_| {
                    Error::input(format!("the temperature `{rest}` is no number"))
                        .next("for example /temperature 0.6")
                })?;
                self.sampling = sampling(&self.config, Some(temperature))?;
                format!("temperature {temperature}")
            }
            "save" => self.save(rest)?,
            _ => {
                return Err(Error::input(format!("no command is called /{name}"))
                    .next("/help lists them; put a space before a message that begins with /"));
            }
        };
        Ok(Heard::Told(told))
    }

    /// Has a message answered, by each in turn.
    async fn ask(&mut self, message: &str) -> Result<Heard> {
        if message.is_empty() {
            return Ok(Heard::Done);
        }
        let (stop, several) = (&self.stop, self.speakers.len() > 1);
        let stopped = || stop.load(Ordering::SeqCst);
        let system = self.system.as_deref();
        let asking =
            Asking { config: &self.config, sampling: self.sampling, system, turn: self.turn };
        for speaker in &mut self.speakers {
            stop.store(false, Ordering::SeqCst);
            let mut read = true;
            let mut tell = |text: &str| {
                read &= print(text)?;
                Ok(read && !stopped())
            };
            let prompt = speaker.prompt(&asking, message)?;
            if several {
                tell(&format!("{}: ", speaker.name))?;
            }
            let told = speaker.answer(&asking, message, &prompt, &mut tell).await?;
            tell("\n")?;
            if !read {
                return Ok(Heard::Leave); // a closed pipe, as in `| head`
            }
            if stopped() && !self.terminal {
                return Err(Error::interrupted("the answer was stopped"));
            }
            told.iter().filter(|_| !stopped()).for_each(note);
        }
        self.turn += 1;
        Ok(Heard::Done)
    }

    /// Writes each speaker's conversation as a line; files that were there before stay.
    fn save(&mut self, path: &str) -> Result<String> {
        let refused = |what: &str, next: &str| Err(Error::input(what).at("/save").next(next));
        if path.is_empty() {
            return refused("no file is named", "/save FILE");
        }
        let file = absolute(Path::new(path));
        if exists(&file) && !self.saved.contains(&file) {
            return refused(&format!("{path} is there already"), "give another name");
        }
        let mut lines = String::new();
        for speaker in self.speakers.iter().filter(|speaker| speaker.has_spoken()) {
            let mut line = json!({"messages": speaker.messages(self.system.as_deref(), 0)});
            if self.speakers.len() > 1 {
                line["model"] = speaker.name.as_str().into();
            }
            lines += &format!("{line}\n");
        }
        if lines.is_empty() {
            return refused("nothing was said yet", "ask something first");
        }
        write_atomic(&file, lines.as_bytes())?;
        self.saved.push(file);
        Ok(format!("saved: {path}"))
    }
}
