//! Runs side by side: what the page's commands bring about, on the CPU backend; the browser's tests
//! hold the same core to the same numbers.

mod share;

use std::cell::RefCell;
use std::rc::Rc;

use pollster::block_on;
use srft::config::Config;
use srft::device::select;
use srft::metrics::StepReport;
use srft::run::{OnFile, Run};
use srft_page::archive;
use srft_page::lab::Lab;
use srft_page::lab::protocol::{Command, Event, GroupView, Ready, RunRequest, Start, State};
use tempfile::TempDir;

/// Two prompts, three rollouts, few problems to evaluate on.
const SMALL: [&str; 7] = [
    "rollout.prompts=2",
    "rollout.group=3",
    "rollout.max_new_tokens=24",
    "train.steps=4",
    "eval.every=2",
    "eval.examples=2",
    "optimizer.schedule=constant",
];

/// Events as they came, with their files.
type Heard = Rc<RefCell<Vec<(Event, Option<Vec<u8>>)>>>;

/// A lab whose events are kept.
struct Bench {
    lab: Lab,
    heard: Heard,
    home: TempDir,
}

impl Bench {
    fn new() -> Self {
        let heard = Heard::default();
        let ear = heard.clone();
        let home = tempfile::tempdir().unwrap();
        let lab = Lab::new(
            home.path().join("runs"),
            Box::new(move |event, bytes| ear.borrow_mut().push((event, bytes))),
        );
        Self { lab, heard, home }
    }

    /// A lab with runs of `methods`; `own` are the settings of the last.
    fn of(methods: &[&str], own: &[&str]) -> (Self, Ready) {
        let mut bench = Self::new();
        let request = |(index, method): (usize, &&str)| RunRequest {
            method: method.to_string(),
            settings: match index + 1 == methods.len() {
                true => own.iter().map(|s| s.to_string()).collect(),
                false => Vec::new(),
            },
        };
        let start = Start {
            device: "cpu".into(),
            settings: SMALL.iter().map(|s| s.to_string()).collect(),
            runs: methods.iter().enumerate().map(request).collect(),
        };
        let events = bench.send(Command::Start(start));
        let Some(Event::Ready(ready)) = events.first() else { panic!("{events:?}") };
        (bench, ready.clone())
    }

    fn send(&mut self, command: Command) -> Vec<Event> {
        self.send_file(command, None)
    }

    fn send_file(&mut self, command: Command, bytes: Option<Vec<u8>>) -> Vec<Event> {
        block_on(self.lab.handle(command, bytes));
        self.events()
    }

    fn events(&mut self) -> Vec<Event> {
        self.heard.borrow_mut().drain(..).map(|(event, _)| event).collect()
    }

    /// A step of every run.
    fn step(&mut self) -> Vec<Event> {
        let mut events = self.send(Command::Step { to: None });
        events.extend(self.rest());
        events
    }

    /// What is still to be done.
    fn rest(&mut self) -> Vec<Event> {
        while self.lab.is_busy() {
            block_on(self.lab.advance());
        }
        self.events()
    }

    fn save(&mut self) -> Vec<u8> {
        block_on(self.lab.handle(Command::Save { adapters: false }, None));
        let (event, bytes) = self.heard.borrow_mut().pop().unwrap();
        assert!(matches!(event, Event::Saved { .. }), "{event:?}");
        bytes.expect("a file")
    }

    fn complaint(&mut self, command: Command) -> String {
        match self.send(command).as_slice() {
            [Event::Error(e)] => format!("{:?}: {} {:?}", e.place, e.what, e.next),
            other => panic!("not one error: {other:?}"),
        }
    }
}

fn reports(events: &[Event]) -> Vec<(u32, StepReport)> {
    let report = |event: &Event| match event {
        Event::Step { run, report } => Some((*run, report.without_times())),
        _ => None,
    };
    events.iter().filter_map(report).collect()
}

/// Run, step and movement of each view of the probes.
fn strips(events: &[Event]) -> Vec<(u32, u32, f64)> {
    let strip = |event: &Event| match event {
        Event::Strip { run, step, shift, .. } => Some((*run, *step, *shift)),
        _ => None,
    };
    events.iter().filter_map(strip).collect()
}

fn groups(bench: &mut Bench, run: u32, count: u32) -> Vec<GroupView> {
    let view = |prompt| match bench.send(Command::Inspect { run, prompt }).pop() {
        Some(Event::Group(view)) => view,
        other => panic!("{other:?}"),
    };
    (0..count).map(view).collect()
}

#[test]
fn runs_go_in_step_and_each_is_the_native_trainers_run() {
    let (mut bench, ready) = Bench::of(&["sft", "grpo", "srft"], &[]);
    assert_eq!((ready.steps, ready.step, ready.self_test.len()), (4, 0, 11));
    let methods: Vec<&str> = ready.runs.iter().map(|r| r.method.as_str()).collect();
    assert_eq!(methods, ["sft", "grpo", "srft"]);
    let mut steps = Vec::new();
    let mut evaluated = Vec::new();
    for _ in 0..4 {
        let events = bench.step();
        let round = reports(&events);
        assert_eq!(round.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [0, 1, 2]);
        steps.extend(round);
        evaluated.extend(events.iter().filter_map(|e| match e {
            Event::Evaluation { run, step, asked: false, .. } => Some((*run, *step)),
            _ => None,
        }));
        let strips = events.iter().filter(|e| matches!(e, Event::Strip { .. })).count();
        assert_eq!(strips, 3);
        let state = if steps.len() == 12 { State::Done } else { State::Paused };
        assert!(matches!(events.last(), Some(Event::State { state: s, .. }) if *s == state));
    }
    let each = [2, 4].into_iter().flat_map(|step| (0..3).map(move |run| (Some(run), step)));
    assert_eq!(evaluated, std::iter::once((None, 0)).chain(each).collect::<Vec<_>>());

    for (index, view) in (0..).zip(&ready.runs) {
        let config = Config::layer(&view.config, "config.toml").unwrap();
        let config = Config::resolve(&[config]).unwrap();
        let home = tempfile::tempdir().unwrap();
        let selected = block_on(select("cpu")).unwrap();
        let mut run = Run::create(config, &selected, &home.path().join("run")).unwrap();
        for (_, report) in steps.iter().filter(|(run, _)| *run == index) {
            block_on(run.advance(&mut ())).unwrap();
            let native = run.reports().unwrap().pop().unwrap();
            assert_eq!(&native.without_times(), report, "{}", view.method);
        }
    }
}

#[test]
fn a_saved_file_goes_on_where_it_stopped() {
    let (mut bench, _) = Bench::of(&["grpo", "srft"], &[]);
    bench.step();
    let last = strips(&bench.step());
    let file = bench.save();
    let expected = reports(&bench.step());
    assert_eq!(expected.len(), 2);

    let mut other = Bench::new();
    let load = Command::Load { device: "cpu".into(), settings: Vec::new() };
    let events = other.send_file(load, Some(file.clone()));
    let Some(Event::Ready(ready)) = events.first() else { panic!("{events:?}") };
    assert_eq!(ready.step, 2);
    assert_eq!(strips(&events), last, "what the page shows of the probes is there again");
    assert!(ready.runs.iter().all(|r| r.reports.len() == 2 && r.evaluations.len() == 2));
    assert_eq!(reports(&other.step()), expected);

    // What spares memory may change, and changes no bit; what decides the numbers may not.
    for (setting, refused) in [("train.checkpointing=true", false), ("optimizer.lr=1", true)] {
        let mut other = Bench::new();
        let load = Command::Load { device: "cpu".into(), settings: vec![setting.into()] };
        match &other.send_file(load, Some(file.clone()))[0] {
            Event::Ready(ready) if !refused => {
                assert_eq!(ready.runs[0].settings["train.checkpointing"], true);
                assert_eq!(reports(&other.step()), expected);
            }
            Event::Error(e) if refused => assert_eq!(e.place.as_deref(), Some("optimizer.lr")),
            other => panic!("{setting}: {other:?}"),
        }
    }

    let home = tempfile::tempdir().unwrap();
    assert_eq!(archive::unpack(&file, home.path()).unwrap().runs, ["grpo", "srft"]);
    let path = home.path().join("srft");
    let config = OnFile::of(&path).config().unwrap();
    let selected = block_on(select("cpu")).unwrap();
    let mut run = Run::resume(config, &selected, &path).unwrap();
    block_on(run.advance(&mut ())).unwrap();
    assert_eq!(run.reports().unwrap().pop().unwrap().without_times(), expected[1].1);
}

/// Every term of every token of every group adds up to what the kernel reported.
#[test]
fn groups_taken_apart_add_up_to_the_loss() {
    let batch = ["objective.entropy_over=batch", "objective.entropy_coeff=0.01"];
    for (method, own) in [
        ("srft", &[][..]),
        ("srft", &batch[..]),
        ("srft-official", &["train.minibatches=1"]),
        ("gspo", &[]),
        ("cispo", &["objective.truncated=soft", "objective.soft_tokens=5"]),
        ("dft", &[]),
        ("eaft", &[]),
        ("trsft", &[]),
        ("opsd", &[]),
        (
            "gtpo",
            &[
                "objective.drop_equal_groups=false",
                "objective.entropy_control=step",
                "objective.entropy_target=9",
            ],
        ),
        (
            "clip-cov",
            &["objective.clip_cov=0.2", "objective.clip_cov_low=0", "objective.entropy_coeff=0.01"],
        ),
        ("uft", &[]),
        ("prefix-rft", &["objective.prefix_rollouts=2"]),
        ("bread", &[]),
        ("top-entropy", &["objective.rollout_kl=0.1", "objective.kl_form=k3-ratio"]),
        ("srft-hpt", &[]),
        ("grpo", &[]),
        ("sft", &[]),
        ("luffy", &[]),
        ("sft-kl", &[]),
        ("sft+grpo", &[]),
        ("dapo", &[]),
        ("chord", &["objective.sft_token_weight=p(1-p)"]),
        ("hpt", &["objective.gate_share=0.3"]),
    ] {
        let (mut bench, _) = Bench::of(&[method], own);
        if method == "sft-kl" {
            bench.step(); // away from the base
        }
        let report = reports(&bench.step()).pop().unwrap().1;
        let views = groups(&mut bench, 0, 2);
        let members: Vec<_> = views.iter().flat_map(|v| &v.members).collect();
        let sum = |term: fn(&srft_page::lab::protocol::TermValues) -> f64| {
            members.iter().flat_map(|m| &m.tokens).map(|t| term(&t.terms)).sum::<f64>()
        };
        for (name, got, expected) in [
            ("SFT", sum(|t| t.sft), report.loss_sft),
            ("RL on demonstrations", sum(|t| t.rl_demo), report.loss_rl_demo),
            ("self", sum(|t| t.self_term), report.loss_self),
            ("entropy", sum(|t| t.entropy), report.loss_entropy),
            ("KL", sum(|t| t.kl), report.loss_kl),
        ] {
            let error = (got - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-4, "{method} {own:?}, {name}: {got}, reported {expected}");
        }
        assert!(members.iter().any(|m| m.tokens.iter().any(|t| t.slope != 0.0)), "{method}");
        for token in members.iter().flat_map(|m| &m.tokens) {
            assert_eq!((token.before.len(), token.after.len()), (5, 5));
            let p: Vec<f64> = token.before.iter().map(|c| c.p).collect();
            assert!(p.is_sorted_by(|a, b| a >= b) && p.iter().sum::<f64>() <= 1.0 + 1e-9);
            let own = token.before.iter().find(|c| c.text == token.text);
            assert!(own.is_none_or(|c| (c.p - token.logp.exp()).abs() < 1e-9));
        }
    }
}

#[test]
fn the_update_moves_what_it_pushes() {
    let (mut bench, _) = Bench::of(&["sft"], &["optimizer.warmup_steps=0"]);
    bench.step();
    let views = groups(&mut bench, 0, 2);
    let tokens: Vec<_> = views.iter().flat_map(|v| &v.members).flat_map(|m| &m.tokens).collect();
    let change: f64 = tokens.iter().map(|t| t.logp_after - t.logp).sum();
    assert!(change > 0.1, "imitating raises the demonstrations' log-probability: {change}");
}

#[test]
fn questions_are_answered_by_the_base_and_every_run() {
    let (mut bench, _) = Bench::of(&["sft", "srft"], &[]);
    bench.step();
    let ask = |bench: &mut Bench, temperature| match bench
        .send(Command::Ask { prompt: "12+34=".into(), temperature, tokens: None })
        .pop()
    {
        Some(Event::Sample { answers, .. }) => answers,
        other => panic!("{other:?}"),
    };
    let greedy = ask(&mut bench, 0.0);
    assert_eq!(greedy.iter().map(|a| a.run).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    assert_eq!(ask(&mut bench, 0.0), greedy, "greedy is greedy");
    assert!(greedy.iter().flat_map(|a| &a.tokens).all(|t| t.p > 0.0 && t.entropy >= 0.0));
    let drawn: Vec<_> = (0..4).map(|_| ask(&mut bench, 1.0)).collect();
    assert!(drawn.iter().any(|answers| answers != &drawn[0]), "each question is drawn anew");
}

/// The run, none for the base, and the problems of each suite that were evaluated.
type Told = Vec<(Option<u32>, Vec<usize>)>;

/// How far the evaluation was, and the scores of models that were through.
fn evaluation(events: &[Event]) -> (Vec<u32>, Told) {
    let (mut done, mut scored) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Evaluating { done: so_far, .. } => done.push(*so_far),
            Event::Evaluation { run, scores, asked: true, .. } => {
                scored.push((*run, scores.iter().map(|s| s.n).collect()));
            }
            _ => {}
        }
    }
    (done, scored)
}

/// An evaluation is cut into slices, other commands are heard between them, and it can be
/// cancelled.
#[test]
fn an_evaluation_is_heard_between_its_slices_and_can_be_cancelled() {
    let (mut bench, _) = Bench::of(&["sft", "srft"], &[]);
    bench.step();
    let ask = |suites: &[&str], examples| Command::Evaluate {
        suites: suites.iter().map(|s| s.to_string()).collect(),
        examples,
    };
    assert_eq!(bench.send(ask(&["add", "two"], 50)), []);
    assert!(bench.complaint(ask(&[], 1)).contains("cancel it first"));
    block_on(bench.lab.advance());
    assert!(matches!(bench.events()[..], [Event::Evaluating { done: 64, of: 300 }]));
    let paused = bench.send(Command::Pause);
    assert!(matches!(paused[..], [Event::State { state: State::Paused, step: 1 }]));
    let (done, scored) = evaluation(&bench.rest());
    assert_eq!(done, [100, 164, 200, 264, 300]);
    let each = [None, Some(0), Some(1)].map(|run| (run, vec![50, 50]));
    assert_eq!(scored, each);

    bench.send(ask(&["add"], 200));
    block_on(bench.lab.advance());
    assert_eq!(bench.send(Command::Cancel).len(), 1, "one slice's progress");
    assert!(!bench.lab.is_busy());
    assert_eq!(reports(&bench.step()).len(), 2, "and the runs go on");
    assert_eq!(bench.send(Command::Cancel), [], "nothing to cancel is no error");
}

/// The page's preset says that RL does not move where all rewards are equal.
#[test]
fn with_all_rewards_equal_grpo_stays_where_the_base_is() {
    let presets = include_str!("../../../../web/page/presets.js");
    let preset = presets.split("id: ").find(|p| p.starts_with("\"equal-rewards\"")).unwrap();
    assert!(preset.contains("values: { mp: \"1\" }"), "{preset}");
    assert!(include_str!("../../../../web/page/settings.js").contains("path: \"rollout.min_p\""));
    let greedy = ["rollout.min_p=1", "rollout.prompts=8", "rollout.group=4", "train.steps=12"];
    let moved = |method: &str| {
        let (mut bench, _) = Bench::of(&[method], &greedy);
        let events: Vec<Event> = (0..12).flat_map(|_| bench.step()).collect();
        let norms = reports(&events).iter().map(|(_, r)| r.grad_norm).fold(0.0, f64::max);
        let shift = events.iter().rev().find_map(|e| match e {
            Event::Strip { shift, .. } => Some(*shift),
            _ => None,
        });
        (norms, shift.unwrap())
    };
    assert_eq!(moved("grpo"), (0.0, 0.0));
    let (norm, shift) = moved("srft");
    assert!(norm > 0.0 && shift > 0.0, "{norm}, {shift}");
}

#[test]
fn a_file_or_setting_that_is_wrong_leaves_the_runs_as_they_were() {
    let (mut bench, _) = Bench::of(&["grpo", "srft"], &[]);
    bench.step();
    let file = bench.save();
    let (mut other, _) = Bench::of(&["srft"], &[]);
    other.step();
    let load = || Command::Load { device: "cpu".into(), settings: Vec::new() };
    // A file that unpacks, but whose second run is spoilt: its first line is no TOML any more.
    let mut spoilt = file.clone();
    let heads: Vec<usize> = (0..file.len())
        .filter(|&i| {
            file[i..].starts_with(b"srft/config.toml") && file[i - 30..].starts_with(b"PK\x03\x04")
        })
        .map(|i| i + b"srft/config.toml".len())
        .collect();
    assert_eq!(heads.len(), 1, "one file of that name");
    spoilt[heads[0]..][..4].copy_from_slice(b"= = ");
    for bytes in [b"PK".to_vec(), file[..file.len() / 2].to_vec(), spoilt] {
        other.send(Command::Resume);
        assert!(other.lab.is_busy());
        let events = other.send_file(load(), Some(bytes));
        let [Event::State { state: State::Paused, .. }, Event::Error(e)] = &events[..] else {
            panic!("{events:?}")
        };
        assert!(e.next.is_some() && !e.fatal, "{e:?}");
    }
    let steps: Vec<_> = reports(&other.step()).iter().map(|(run, r)| (*run, r.step)).collect();
    assert_eq!(steps, [(0, 2)]);
    // And a good one takes their place, folders included.
    let events = other.send_file(load(), Some(file));
    assert!(matches!(&events[0], Event::Ready(ready) if ready.runs.len() == 2), "{events:?}");
    let homes = std::fs::read_dir(other.home.path().join("runs")).unwrap().count();
    assert_eq!(homes, 1, "the folder of runs that are gone is gone");
}

#[test]
fn errors_say_what_to_do_and_leave_the_lab_usable() {
    let mut bench = Bench::new();
    assert!(bench.complaint(Command::Resume).contains("send `start` or `load` first"));
    let start = |settings: &[&str], method: &str| {
        Command::Start(Start {
            device: "cpu".into(),
            settings: settings.iter().map(|s| s.to_string()).collect(),
            runs: vec![RunRequest { method: method.into(), settings: Vec::new() }],
        })
    };
    for (command, words) in [
        (start(&["optimizer.lr=-1"], "srft"), "optimizer.lr must be positive"),
        (start(&["optimizer.rate=1"], "srft"), "did you mean `optimizer."),
        (start(&[], "ppo"), "one of: srft"),
        (Command::Load { device: "cpu".into(), settings: Vec::new() }, "without a file"),
        (
            Command::Start(Start { device: "cpu".into(), settings: vec![], runs: vec![] }),
            "ask for at least one",
        ),
    ] {
        let complaint = bench.complaint(command);
        assert!(complaint.contains(words), "{complaint}");
    }
    let events = bench.send_file(
        Command::Load { device: "cpu".into(), settings: Vec::new() },
        Some(b"PK".to_vec()),
    );
    assert!(matches!(&events[..], [Event::Error(e)] if e.what.contains("not a zip")), "{events:?}");

    let (mut bench, _) = Bench::of(&["srft"], &[]);
    for (command, words) in [
        (Command::Inspect { run: 0, prompt: 0 }, "let the runs do a step first"),
        (Command::Ask { prompt: "12 + é".into(), temperature: 0.0, tokens: None }, "no token for"),
        (Command::Ask { prompt: "1+1=".into(), temperature: -1.0, tokens: None }, "temperature"),
        (Command::Evaluate { suites: vec!["sum".into()], examples: 1 }, "did you mean `"),
    ] {
        let complaint = bench.complaint(command);
        assert!(complaint.contains(words), "{complaint}");
    }
    assert_eq!(reports(&bench.step()).len(), 1);
    assert!(bench.complaint(Command::Inspect { run: 0, prompt: 2 }).contains("from 0 to 1"));
    assert!(bench.complaint(Command::Inspect { run: 1, prompt: 0 }).contains("run 1"));
}
