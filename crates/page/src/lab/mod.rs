//! Several runs side by side, in step: SFT, RL and SRFT from the same base, seed and data, and what a
//! page shows of them. Commands come in, events go out; see [`protocol`].

mod answer;
mod asked;
mod brought;
mod facts;
mod herald;
mod inspect;
mod preset;
mod probes;
pub mod protocol;
mod session;
mod share;
mod shelf;
mod slot;
mod suites;
mod sums;
mod tab;

pub use brought::Brought;
pub use shelf::Shelf;

use crate::error::{Error, Result};
use crate::platform::{exists, remove_folder_atomic};
use protocol::{Command, Complaint, Event, Ready, Share, State};
use session::{Opened, Session};
use std::path::{Path, PathBuf};
use tab::Tab;

/// Receives events, each with the bytes of its file if it has one.
pub type Emit = Box<dyn Fn(Event, Option<Vec<u8>>)>;

/// Holds the runs and carries out commands.
pub struct Lab {
    home: PathBuf,
    shelf: Box<dyn Shelf>,
    emit: Emit,
    share: Share,
    opened: Option<Opened>,
    session: Option<Session>,
    stopped: Option<PathBuf>, // the folder of a session that was stopped, which stays until the next
    sessions: u32,            // begun so far; each has a folder of its own in `home`
}

impl Lab {
    /// A lab without runs, of the built-in model. Their folders will be made in `home`.
    pub fn new(home: impl Into<PathBuf>, emit: Emit) -> Self {
        Self::with(home, Box::new(Tab), emit)
    }

    /// A lab whose runs can read what is on that shelf.
    pub fn with(home: impl Into<PathBuf>, shelf: Box<dyn Shelf>, emit: Emit) -> Self {
        let home = home.into();
        let share = Share::ALL;
        Self { home, shelf, emit, share, opened: None, session: None, stopped: None, sessions: 0 }
    }

    /// Whether [`Lab::advance`] has work to do: the runs play, or an evaluation is under way.
    pub fn is_busy(&self) -> bool {
        self.is_playing() || self.is_evaluating()
    }

    /// Whether a requested evaluation is under way.
    pub fn is_evaluating(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_evaluating)
    }

    fn is_playing(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_playing)
    }

    /// Carries out a command; errors are events too. `bytes` are the file of a `load`.
    pub async fn handle(&mut self, command: Command, bytes: Option<Vec<u8>>) {
        if let Err(error) = self.obey(command, bytes).await {
            self.complain(&error);
        }
    }

    /// Does a slice of the evaluation under way, or one step of the run that has done the fewest.
    pub async fn advance(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.is_evaluating() {
            if let Err(error) = session.evaluate_on(&self.emit).await {
                self.complain(&error);
            }
            return;
        }
        let result = session.advance(&self.emit).await;
        if let Err(error) = &result {
            session.pause();
            self.complain(error);
        }
        if !self.is_playing() {
            self.tell_state();
        }
    }

    async fn obey(&mut self, command: Command, bytes: Option<Vec<u8>>) -> Result<()> {
        match command {
            Command::Bring { name } => self.shelf.bring(&name, bytes)?,
            Command::Look(look) => (self.emit)(Event::Facts(self.shelf.look(&look)?), None),
            Command::Share(share) => self.share = share,
            Command::Start(start) => {
                let opened = self.open(&start.device).await?;
                let home = self.new_home()?;
                let made = Session::start(&start, self.share, &*self.shelf, opened, &home).await;
                self.welcome(made, &home).await?;
            }
            Command::Load { device, settings } => {
                let bytes = bytes.ok_or_else(|| {
                    Error::input("a load without a file").next("send the file's bytes too")
                })?;
                let opened = self.open(&device).await?;
                let home = self.new_home()?;
                let made = Session::load(bytes, &settings, self.share, &*self.shelf, opened, &home);
                let made = made.await;
                self.welcome(made, &home).await?;
            }
            Command::Stop => {
                self.stopped =
                    self.session.take().map(|session| session.home).or(self.stopped.take());
                self.tell_state();
            }
            Command::Step { to } => {
                self.running()?.play_to(to);
                self.tell_state();
            }
            Command::Resume => {
                self.running()?.play();
                self.tell_state();
            }
            Command::Pause => {
                self.running()?.pause();
                self.tell_state();
            }
            Command::Evaluate { suites, examples } => {
                let session = self.session.as_mut().ok_or_else(no_runs)?;
                session.evaluate(&*self.shelf, &suites, examples)?;
            }
            Command::Cancel => self.running()?.cancel(),
            Command::Ask { prompt, temperature, tokens } => {
                let session = self.session.as_mut().ok_or_else(no_runs)?;
                let answers = session.ask(&*self.shelf, &prompt, temperature, tokens).await?;
                (self.emit)(Event::Sample { prompt, answers }, None);
            }
            Command::Inspect { run, prompt } => {
                let view = self.running()?.inspect(run, prompt).await?;
                (self.emit)(Event::Group(view), None);
            }
            Command::Save { adapters } => {
                let session = self.session.as_mut().ok_or_else(no_runs)?;
                let (name, step, bytes) = session.save(&*self.shelf, adapters, &self.emit).await?;
                (self.emit)(Event::Saved { name, step }, Some(bytes));
            }
        }
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(no_runs)
    }

    /// Opens the device unless it is open.
    async fn open(&mut self, device: &str) -> Result<Opened> {
        if let Some(opened) = self.opened.as_ref().filter(|o| o.wanted == device) {
            return Ok(opened.clone());
        }
        let opened = Opened::select(device).await?;
        Ok(self.opened.insert(opened).clone())
    }

    /// An empty folder for the next session's runs; the present session's stay.
    fn new_home(&mut self) -> Result<PathBuf> {
        if let Some(home) = self.stopped.take() {
            clear(&home)?;
        }
        loop {
            self.sessions += 1;
            let home = self.home.join(self.sessions.to_string());
            if !exists(&home) {
                return Ok(home);
            }
        }
    }

    /// Replaces the present session by the new one, made in `home`. If making it failed, the present one is
    /// kept, paused.
    async fn welcome(&mut self, made: Result<Session>, home: &Path) -> Result<()> {
        let (view, strips, session) = match Self::seen(made).await {
            Ok(made) => made,
            Err(error) => {
                clear(home)?;
                if self.is_playing() {
                    self.session.iter_mut().for_each(Session::pause);
                    self.tell_state();
                }
                return Err(error);
            }
        };
        let before = self.session.replace(session).map(|session| session.home.clone());
        before.as_deref().map_or(Ok(()), clear)?;
        (self.emit)(Event::Ready(view), None);
        for strip in strips {
            (self.emit)(strip, None);
        }
        self.tell_state();
        Ok(())
    }

    /// A session with the events that show it to the page.
    async fn seen(made: Result<Session>) -> Result<(Ready, Vec<Event>, Session)> {
        let session = made?;
        Ok((session.view()?, session.strips().await?, session))
    }

    fn tell_state(&self) {
        let (state, step) = match &self.session {
            None => (State::Stopped, 0),
            Some(session) if session.is_done() => (State::Done, session.step()),
            Some(session) if session.is_playing() => (State::Playing, session.step()),
            Some(session) => (State::Paused, session.step()),
        };
        (self.emit)(Event::State { state, step }, None);
    }

    /// Emits an error.
    pub fn complain(&self, error: &Error) {
        (self.emit)(Event::Error(Complaint::from(error)), None);
    }
}

fn clear(folder: &Path) -> Result<()> {
    if exists(folder) { remove_folder_atomic(folder) } else { Ok(()) }
}

fn no_runs() -> Error {
    Error::input("there are no runs yet").next("send `start` or `load` first")
}
