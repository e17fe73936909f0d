//! Devices that share a run's steps: its numbers are those of one, whoever does what and whatever fails.

use super::training::weight_bits;
use crate::program::{Home, RUN, assert_same_run};
use burn::tensor::{Tensor, TensorData};
use pollster::block_on;
use srft::config::Config;
use srft::device::{Selected, select};
use srft::error::{Error, Result};
use srft::learner::Team;
use srft::metrics::StepReport;
use srft::random::Stream;
use srft::run::{Given, Hire, Observer, Run, Shared};
use srft::shards::{Job, Outcome};
use srft_team::chain::{Chain, Peer};
use srft_team::crew::Crew;
use srft_team::local::{OnDevice, kind};
use srft_team::queue::PATIENCE;
use srft_team::worker::{Again, Kept, Weights, Worker};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

/// What goes wrong at a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Faults {
    None,
    /// Some calls fail, panic or are slow.
    Some,
    /// It can sample, but no gradient comes.
    NoGradient,
    /// And for that it hangs.
    Hangs,
    /// Members add up gradients among themselves, and some fail at that.
    Chain,
}

/// Members on the CPU.
#[derive(Debug)]
struct Members {
    count: usize,
    works_here: bool,
    faults: Faults,
    /// Whether all but the first are links of a chain.
    links: bool,
}

impl Hire for Members {
    fn team(&self, run: &Shared<'_>) -> Result<Arc<dyn Team>> {
        let here = cpu();
        let board = Arc::default();
        let open = |i: usize| -> Result<Box<dyn Worker>> {
            let device = OnDevice::open(run, &here, format!("member {i}"))?;
            let stream = Stream::new(run.config.run.seed, 77, i as u32);
            let (faults, links) = (self.faults, self.links && i > 1);
            let (board, kept) = (Arc::clone(&board), HashMap::new());
            Ok(Box::new(Unreliable { device, stream, faults, ill: 0, links, board, kept }))
        };
        let workers = (1..=self.count).map(open).collect::<Result<_>>()?;
        let home = self.works_here.then(|| kind(&here));
        // Only who dawdles is to be overtaken, not who has to share a machine with other tests.
        let is_patient = self.faults == Faults::None;
        let patience = if is_patient { PATIENCE } else { Duration::from_millis(20) };
        Ok(Arc::new(Crew::patient(home.as_deref(), workers, patience)))
    }
}

/// Sums that members keep for each other, by link and block.
type Board = Arc<Mutex<HashMap<(usize, usize), Vec<f32>>>>;

struct Unreliable {
    device: OnDevice,
    stream: Stream,
    faults: Faults,
    ill: u32,
    links: bool,
    board: Board,
    kept: HashMap<usize, Vec<Tensor<2>>>,
}

impl Worker for Unreliable {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn kind(&self) -> &str {
        self.device.kind()
    }

    fn perform(&mut self, weights: &Weights, job: &Job) -> Result<Outcome> {
        match (self.faults, self.stream.below(8), job) {
            (Faults::Some, 0, _) => Err(Error::machine("the cable was pulled")),
            (Faults::Some, 1, _) => {
                let outcome = self.device.perform(weights, job);
                drop(outcome);
                panic!("after all of the work");
            }
            (Faults::Some, 2 | 3, _) => {
                let outcome = self.device.perform(weights, job);
                sleep(Duration::from_millis(300));
                outcome
            }
            (Faults::NoGradient, _, Job::Gradient { .. }) => Err(Error::machine("out of memory")),
            (Faults::Hangs, _, Job::Gradient { .. }) => {
                sleep(Duration::from_secs(30));
                Err(Error::machine("too late"))
            }
            _ => self.device.perform(weights, job),
        }
    }

    fn links(&self) -> bool {
        self.links
    }

    fn keep(&mut self, weights: &Weights, job: &Job, number: usize) -> Result<Kept> {
        let Outcome::Gradient(part) = self.perform(weights, job)? else { unreachable!() };
        self.kept.insert(number, part.tensors);
        Ok(Kept { peer: Peer { address: self.name().into(), session: 1 }, sums: part.sums })
    }

    fn pass_on(
        &mut self,
        chain: &Chain,
        me: usize,
        weights: &Weights,
    ) -> Result<Option<Vec<Tensor<2>>>> {
        let last = chain.links.len() - 1;
        let mut sum = Vec::new();
        let is_whole = chain.take_part(me, weights.shapes.len(), |link, block| {
            if self.faults == Faults::Chain && self.stream.below(300) == 0 {
                return Err(Error::machine("the cable was pulled"));
            }
            if self.faults == Faults::Chain && self.stream.below(300) == 0 {
                chain.break_off("the other's cable was pulled");
            }
            let before =
                link.checked_sub(1).and_then(|l| self.board.lock().unwrap().remove(&(l, block)));
            let parts = chain.links[link].jobs.iter().map(|job| self.kept[job][block].clone());
            let before = before.map(|values| {
                let data = TensorData::new(values, weights.shapes[block]);
                Tensor::<2>::from_data(data, &cpu().device)
            });
            let total = before.into_iter().chain(parts).reduce(|a, b| a + b).unwrap();
            match link == last {
                true => sum.push(total),
                false => {
                    let values = block_on(srft::ops::readback::floats(total)).unwrap();
                    self.board.lock().unwrap().insert((link, block), values);
                }
            }
            Ok(())
        })?;
        Ok((is_whole && !sum.is_empty()).then_some(sum))
    }

    fn recover(&mut self) -> Again {
        self.ill += 1;
        let is_well = self.ill.is_multiple_of(2) || self.faults != Faults::Some;
        if is_well { Again::Now } else { Again::Later }
    }
}

fn cpu() -> Selected {
    block_on(select("cpu")).unwrap()
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn noted(&mut self, note: &str) {
        self.0.push(note.into());
    }
}

/// Reports, scores and weights of a run, and what was told.
type Told = (Vec<StepReport>, String, Vec<u32>, Vec<String>);

/// Two steps and an evaluation of the built-in model.
fn two_steps(settings: &[&str], members: Option<Members>) -> Told {
    let team = members.map(|m| Arc::new(m) as Arc<dyn Hire>);
    let home = tempfile::tempdir().unwrap();
    let common = [
        "rollout.prompts=6",
        "rollout.group=3",
        "rollout.max_new_tokens=12",
        "train.steps=2",
        "eval.examples=3",
    ];
    let layers = common.iter().chain(settings).map(|s| Config::setting(s).unwrap());
    let config = Config::resolve(&layers.collect::<Vec<_>>()).unwrap();
    let given = Given { team, ..Given::default() };
    let mut run = Run::create_with(config, &given, &cpu(), &home.path().join("run")).unwrap();
    let mut notes = Notes::default();
    let mut reports = Vec::new();
    for _ in 0..2 {
        reports.push(block_on(run.advance(&mut notes)).unwrap().0.without_times());
    }
    let scores = block_on(run.scores(&mut notes)).unwrap();
    (reports, format!("{scores:?}"), weight_bits(&run.trainer().learner.policy), notes.0)
}

const METHODS: [&[&str]; 9] = [
    &["train.shards=4"],
    &[
        "train.shards=3",
        "objective.method=grpo",
        "train.minibatches=2",
        "train.epochs=2",
        "rollout.temperature=0.8",
    ],
    &["train.shards=4", "lora.rank=4", "lora.dropout=0.2"],
    &["train.shards=2", "objective.method=sft-kl"],
    &["train.shards=4", "objective.entropy_over=batch"],
    &["train.shards=4", "objective.method=opsd"],
    &[
        "train.shards=3",
        "objective.method=grpo",
        "objective.rollout_kl=0.05",
        "objective.rollout_kl_in=reward",
    ],
    &["train.shards=4", "objective.method=prefix-rft"],
    &["train.shards=8", "objective.method=relift"],
];

#[test]
fn however_many_share_a_step_its_bits_are_those_of_one() {
    for settings in METHODS {
        let (reports, scores, weights, _) = two_steps(settings, None);
        for (count, works_here) in [(1, true), (2, false), (4, true)] {
            let members = Members { count, works_here, faults: Faults::None, links: false };
            let (r, s, w, notes) = two_steps(settings, Some(members));
            assert_eq!((&r, &s), (&reports, &scores), "{settings:?}, {count} members");
            assert!(
                w == weights,
                "{settings:?}, {count} members: the reports agree, the weights do not"
            );
            assert_eq!(notes, Vec::<String>::new(), "all went well");
        }
    }
}

#[test]
fn members_that_fail_panic_or_dawdle_change_nothing_and_are_told_of() {
    let mut told = Vec::new();
    for settings in METHODS {
        let (reports, scores, weights, _) = two_steps(settings, None);
        for works_here in [true, false] {
            let members = Members { count: 3, works_here, faults: Faults::Some, links: false };
            let (r, s, w, notes) = two_steps(settings, Some(members));
            assert_eq!((&r, &s), (&reports, &scores), "{settings:?}");
            assert!(w == weights, "{settings:?}: the reports agree, the weights do not");
            told.extend(notes);
        }
    }
    for words in ["the cable was pulled", "it panicked", "works again", "does it too"] {
        assert!(told.iter().any(|note| note.contains(words)), "{words}: {told:#?}");
    }
}

/// Sums that go from member to member are those of one device; where they get stuck, the gradient is computed again.
#[test]
fn gradients_that_members_add_up_have_the_bits_of_one_device() {
    let mut told = Vec::new();
    let whole = METHODS.iter().filter(|settings| !settings.iter().any(|s| s.starts_with("lora")));
    for settings in whole {
        let (reports, scores, weights, _) = two_steps(settings, None);
        for (count, works_here, faults) in [
            (3, false, Faults::None),
            (4, true, Faults::None),
            (3, true, Faults::Chain),
            (4, false, Faults::Chain),
            (3, true, Faults::Some),
        ] {
            let members = Members { count, works_here, faults, links: true };
            let (r, s, w, notes) = two_steps(settings, Some(members));
            assert_eq!((&r, &s), (&reports, &scores), "{settings:?}, {count}, {faults:?}");
            assert!(w == weights, "{settings:?}, {count}, {faults:?}: the weights differ");
            match faults {
                Faults::None => assert_eq!(notes, Vec::<String>::new()),
                _ => told.extend(notes),
            }
        }
    }
    for words in ["the cable was pulled", "the other's cable", "computed once more"] {
        assert!(told.iter().any(|note| note.contains(words)), "{words}: {told:#?}");
    }
}

/// Jobs at which every member fails, and members that hang while their connection lives, hold nothing up for long.
#[test]
fn the_learners_own_device_does_what_no_member_can() {
    let settings = ["train.shards=3"];
    let (reports, scores, weights, _) = two_steps(&settings, None);
    for (faults, words) in [(Faults::NoGradient, "out of memory"), (Faults::Hangs, "does it too")] {
        let members = Members { count: 2, works_here: false, faults, links: false };
        let (r, s, w, notes) = two_steps(&settings, Some(members));
        assert_eq!((&r, &s), (&reports, &scores), "{faults:?}");
        assert!(w == weights, "{faults:?}");
        assert!(notes.iter().any(|note| note.contains(words)), "{faults:?}: {notes:?}");
        assert!(notes.len() < 40, "{faults:?}: {notes:?}");
    }
}

/// Shards differ from the whole by rounding alone.
#[test]
fn a_gradient_in_shards_is_the_gradient() {
    let of = |shards: &str| two_steps(&["objective.method=sft", shards], None).0;
    let (whole, cut) = (of("train.shards=1"), of("train.shards=3"));
    for (one, other) in whole.iter().zip(&cut) {
        assert!((one.loss - other.loss).abs() < 1e-5, "{} {}", one.loss, other.loss);
        assert!(
            (one.grad_norm - other.grad_norm).abs() < 1e-4 * one.grad_norm,
            "{} {}",
            one.grad_norm,
            other.grad_norm
        );
    }
}

/// A job that no device can do is the run's error, not an endless search for one that can.
#[test]
fn what_fails_everywhere_fails_the_step() {
    let members = Members { count: 2, works_here: false, faults: Faults::None, links: false };
    let home = tempfile::tempdir().unwrap();
    let settings = ["train.shards=2", "rollout.prompts=2"].map(|s| Config::setting(s).unwrap());
    let given = Given { team: Some(Arc::new(members)), ..Given::default() };
    let config = Config::resolve(&settings).unwrap();
    let run = Run::create_with(config, &given, &cpu(), &home.path().join("run")).unwrap();
    let learner = &run.trainer().learner;
    let start = |read: Vec<u32>| srft::rollout::Start { read, prompt: 0, samples: 0..1 };
    let starts = [start(vec![3; 4]), start(vec![3; 9999])];
    let error = block_on(learner.respond(&starts, srft::rollout::By::Evaluation)).unwrap_err();
    assert!(error.to_string().contains("a prompt has 9999 tokens"), "{error}");
    // And the team is as good as before.
    assert_eq!(
        block_on(learner.respond(&starts[..1], srft::rollout::By::Evaluation)).unwrap().len(),
        1
    );
}

/// A run on two devices, killed and resumed on one or on three, ends as on one.
#[test]
fn the_program_shares_a_run_among_devices_and_resumes_it_on_others() {
    let home = Home::with_sums();
    let run = RUN.replace("--device cpu ", "");
    let settings = "--set checkpoint.every=4 --set eval.every=4 --set train.shards=2 \
         --set optimizer.schedule=constant";
    home.succeeds(&format!("{run} {settings} --steps 12 --device cpu --out one"));
    home.succeeds(&format!("{run} {settings} --steps 12 --devices cpu,cpu --out two"));
    assert_same_run(&home, "one", "two");
    home.succeeds(&format!("{run} {settings} --devices cpu,cpu --steps 8 --out moved"));
    home.succeeds("train --resume moved --steps 12 --devices cpu,cpu,cpu");
    assert_same_run(&home, "one", "moved");

    let told = home.succeeds(&format!("{run} --steps 1 --devices cpu,cpu --out told"));
    assert!(!told.contains("warning") && told.contains("2 of 2 devices at work"), "{told}");
    let config = String::from_utf8(home.read("told/config.toml")).unwrap();
    assert!(config.contains("shards = 2"), "{config}");
    home.succeeds(&format!("{run} --steps 1 --device cpu --out alone"));
    home.fails(
        "train --resume alone --steps 2 --devices cpu,cpu",
        2,
        &["train.shards is 1", "--devices", "--set train.shards=N"],
    );
    home.fails(&format!("{run} --devices cpu,warp9"), 2, &["warp9"]);
}
