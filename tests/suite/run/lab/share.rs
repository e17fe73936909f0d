//! Several workers share the runs, and tell what one would.

use super::{Bench, SMALL, groups, reports};
use srft::config::Config;
use srft::device::Kind;
use srft_page::lab::protocol::{Command, Event, Ready, RunRequest, Share, Start};

const METHODS: [&str; 3] = ["sft", "grpo", "srft"];

fn start(methods: &[&str], own: &[&str]) -> Command {
    let request = |(index, method): (usize, &&str)| RunRequest {
        method: method.to_string(),
        settings: own.get(index).iter().map(|s| s.to_string()).collect(),
    };
    Command::Start(Start {
        device: "cpu".into(),
        settings: SMALL.iter().map(|s| s.to_string()).collect(),
        runs: methods.iter().enumerate().map(request).collect(),
    })
}

/// Workers with their shares of what `command` makes.
fn workers(
    of: u32,
    command: &Command,
    file: Option<&[u8]>,
) -> (Vec<Bench>, Vec<Ready>, Vec<Event>) {
    let (mut benches, mut views, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for part in 0..of {
        let mut bench = Bench::new();
        assert_eq!(bench.send(Command::Share(Share { part, of })), []);
        let mut events = bench.send_file(command.clone(), file.map(<[u8]>::to_vec));
        match events.remove(0) {
            Event::Ready(ready) => views.push(ready),
            other => panic!("{other:?}"),
        }
        rest.extend(events);
        benches.push(bench);
    }
    (benches, views, rest)
}

/// What all of them tell of their runs, by run; the base first.
fn told(events: Vec<Event>) -> Vec<Event> {
    let mut told: Vec<(i64, Event)> = Vec::new();
    for event in events {
        let run = match &event {
            Event::Step { run, .. } | Event::Strip { run, .. } => i64::from(*run),
            Event::Evaluation { run, .. } => run.map_or(-1, i64::from),
            _ => continue,
        };
        let event = match event {
            Event::Step { run, report } => Event::Step { run, report: report.without_times() },
            other => other,
        };
        told.push((run, event));
    }
    told.sort_by_key(|(run, _)| *run); // stable
    told.into_iter().map(|(_, event)| event).collect()
}

fn ask(bench: &mut Bench) -> Vec<srft_page::lab::protocol::Answer> {
    let ask = Command::Ask { prompt: "12+34=".into(), temperature: 1.0, tokens: None };
    match bench.send(ask).remove(0) {
        Event::Sample { answers, .. } => answers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn workers_tell_together_what_one_tells() {
    let (mut alone, views, _) = workers(1, &start(&METHODS, &[]), None);
    let (alone, view) = (&mut alone[0], &views[0]);
    let mut expected = Vec::new();
    let mut files = Vec::new();
    for _ in 0..2 {
        expected.extend(alone.step());
        files.push(alone.save());
    }
    let asked = || Command::Evaluate { suites: vec!["add".into()], examples: 3 };
    alone.send(asked());
    expected.extend(alone.rest());
    let (expected, answers, group) = (told(expected), ask(alone), groups(alone, 2, 2));
    let next = reports(&alone.step());

    for of in [2, 3] {
        let (mut benches, views, _) = workers(of, &start(&METHODS, &[]), None);
        let part = |run: usize| run % of as usize;
        for (run, own) in view.runs.iter().enumerate() {
            let shared = &views[part(run)].runs[run / of as usize];
            assert_eq!((&shared.method, &shared.config), (&own.method, &own.config));
        }
        for (part, view_of_part) in views.iter().enumerate() {
            assert_eq!(view_of_part.share, Share { part: part as u32, of });
            assert_eq!(view_of_part.probes, view.probes);
            assert_eq!(view_of_part.suites, view.suites);
        }
        let mut events = Vec::new();
        for to in [1, 2] {
            for bench in &mut benches {
                bench.send(Command::Step { to: Some(to) });
                events.extend(bench.rest());
                assert_eq!(bench.send(Command::Step { to: Some(to) }).len(), 1, "already there");
                assert!(!bench.lab.is_busy());
            }
        }
        for bench in &mut benches {
            bench.send(asked());
            events.extend(bench.rest());
        }
        assert_eq!(told(events), expected, "{of} workers");
        let mut together: Vec<_> = benches.iter_mut().flat_map(ask).collect();
        together.sort_by_key(|answer| answer.run);
        assert_eq!(together, answers);
        assert_eq!(groups(&mut benches[part(2)], 2, 2), group);

        let load = Command::Load { device: "cpu".into(), settings: Vec::new() };
        let (mut loaded, views, _) = workers(of, &load, Some(&files[1]));
        assert!(views.iter().all(|view| view.step == 2 && view.share.of == of));
        let mut went_on: Vec<_> = loaded.iter_mut().flat_map(|b| reports(&b.step())).collect();
        went_on.sort_by_key(|(run, _)| *run);
        assert_eq!(went_on, next);
    }
}

#[test]
fn runs_that_differ_in_more_than_their_method_have_one_worker() {
    let alike = ["objective.mu=0", "optimizer.lr=1e-3"];
    for (own, of) in [(&alike[..], 2), (&["eval.examples=1"], 1), (&["", "run.seed=1"], 1)] {
        let own: Vec<&str> =
            own.iter().map(|s| if s.is_empty() { "run.seed=0" } else { s }).collect();
        let mut bench = Bench::new();
        bench.send(Command::Share(Share { part: 0, of: 9 }));
        match bench.send(start(&METHODS[1..], &own)).remove(0) {
            Event::Ready(ready) => {
                assert_eq!((ready.share.of, ready.runs.len() as u32), (of, 3 - of), "{own:?}");
            }
            other => panic!("{other:?}"),
        }
        bench.send(Command::Share(Share { part: of, of: 9 }));
        let complaint = bench.complaint(start(&METHODS[1..], &own));
        assert!(complaint.contains(&format!("{{ part: 0, of: {of} }}")), "{complaint}");
    }
    let configs = [Config::resolve(&[]).unwrap(), Config::resolve(&[]).unwrap()];
    let share = Share { part: 0, of: 2 };
    assert_eq!(share.of_runs(Kind::Cpu, &configs).unwrap(), share);
    assert_eq!(share.of_runs(Kind::Discrete, &configs).unwrap(), Share::ALL, "a GPU is one");
    assert!(Share { part: 0, of: 0 }.of_runs(Kind::Cpu, &configs).is_err());
}
