//! A run survives what happens to the machine, and does not go on as another one unawares.

use crate::program::{Home, RUN, assert_error, assert_same_run, parse_lines, stderr, without_secs};
use serde_json::Value;
use srft::checkpoint::State;
use srft::config::Settings;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const INPUT: i32 = 2;
const MACHINE: i32 = 3;

/// A running command and its standard output, read until a line has all of `words`.
fn started(mut command: Command, words: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !words.iter().all(|word| line.contains(word)) {
        line.clear();
        let read = stdout.read_line(&mut line).unwrap();
        assert!(read > 0, "it ended before {words:?}");
    }
    (child, stdout)
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// NeMo-Automodel #405, pytorch-lightning #1455, pocket-tts #277: what a scheduler ends a job with.
/// Twice, as `timeout` does.
#[test]
fn lightning_1455_a_terminated_run_saves_and_resumes_to_the_same_bytes() {
    let home = Home::with_sums();
    let run = |out: &str| {
        let kept = "--set checkpoint.every=0 --set checkpoint.keep=1";
        format!("{RUN} --steps 300 {kept} --json --out {out}")
    };
    home.succeeds(&run("whole"));
    for signal in ["TERM", "HUP"] {
        let command = hearing(home.command(&run(signal)));
        let (child, mut stdout) = started(command, &[r#""step":3,"#]);
        send(signal, &child);
        send(signal, &child);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        let next = format!("srft train --resume {signal}");
        assert_error(&output, signal, 130, &["all saved", &next]);
        let steps = home.lines(&format!("{signal}/metrics.jsonl")).len();
        assert!((3..300).contains(&steps), "stopped after {steps}");
        assert_eq!(parse_lines(&rest).pop().unwrap()["event"], "checkpoint");
        home.succeeds(&format!("train --resume {signal}"));
        assert_same_run(&home, "whole", signal);
    }
}

/// What a file that changed since holds: another file's lines, or weights with one bit turned.
fn altered(file: &str, before: &[u8], other: &[u8]) -> Vec<u8> {
    if file.ends_with("jsonl") {
        return other.to_vec();
    }
    let mut now = before.to_vec();
    let at = now.len() - 2;
    now[at] ^= 1;
    now
}

/// The same command hearing signals: whoever runs the tests may ignore some, as `nohup` and shells do for
/// what they start in the background, and the program would inherit that.
fn hearing(command: Command) -> Command {
    if !cfg!(target_os = "linux") {
        return command;
    }
    let mut env = Command::new("env");
    env.arg("--default-signal=TERM,HUP,INT").arg(command.get_program()).args(command.get_args());
    env.current_dir(
        command.get_current_dir().expect("tests run the program in a folder of its own"),
    );
    env
}

/// A reward command that is slow in the evaluation after so many steps of the run in that folder, until
/// `mended` is there: it writes `asked`, waits for `sent`, and takes 40 ms for each response.
fn slow_judge(home: &Home, run: &str, steps: usize) {
    for name in ["asked", "sent", "mended"] {
        let _ = fs::remove_file(home.path(name));
    }
    let script = format!(
        "while read line; do if [ ! -e mended ] && \
         [ $(cat {run}/metrics.jsonl 2>/dev/null | wc -l) -eq {steps} ]; then touch asked; \
         until [ -e sent ]; do sleep 0.01; done; sleep 0.04; fi; \
         echo '{{\"score\": 0.5}}'; done"
    );
    home.write("judge.sh", script);
}

/// Waits until the slow judge is asked, and sends the signal before it answers.
fn send_once_asked(home: &Home, signal: &str, command: Command) -> Output {
    let mut child = hearing(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !home.path("asked").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before the judge was asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(signal, &child);
    home.write("sent", "");
    child.wait_with_output().unwrap()
}

/// The program with arguments of which `~` parts words.
fn judged(home: &Home, arguments: &str) -> Command {
    let mut program = home.command("");
    program.args(arguments.split_whitespace().map(|a| a.replace('~', " ")));
    program
}

/// Evaluations of 160 responses, which the slow judge takes six seconds for.
const JUDGED: &str = "--verifier command --set reward.command=sh~judge.sh --set eval.samples=8";

/// pytorch-lightning #1455 once more: a job's last seconds were spent on an evaluation that was lost with
/// it. It is dropped, what is trained is saved, and the resumed run makes it, bit for bit.
#[test]
fn a_long_evaluation_does_not_keep_a_run_from_stopping() {
    let home = Home::with_sums();
    let run = |out: &str| {
        let kept = "--set checkpoint.every=0 --set checkpoint.keep=1 --steps 4";
        format!("{RUN} {JUDGED} {kept} --out {out}")
    };
    slow_judge(&home, "nowhere", 9);
    assert!(judged(&home, &run("whole")).output().unwrap().status.success());
    for (signal, steps) in [("TERM", 0), ("HUP", 3), ("INT", 4)] {
        slow_judge(&home, signal, steps);
        let output = send_once_asked(&home, signal, judged(&home, &run(signal)));
        let saved = format!("stopped after step {steps}, all saved");
        let next = format!("srft train --resume {signal}");
        assert_error(&output, signal, 130, &[&saved, &next]);
        let evaluated = || -> Vec<u64> {
            let path = format!("{signal}/evaluations.jsonl");
            if !home.path(&path).exists() {
                return Vec::new();
            }
            home.lines(&path).iter().map(|line| line["step"].as_u64().unwrap()).collect()
        };
        let before: Vec<u64> = [0, 3].into_iter().filter(|&step| step < steps as u64).collect();
        assert_eq!(evaluated(), before, "{signal}");
        assert_eq!(home.names(&format!("{signal}/checkpoints")), [format!("step-{steps:06}")]);
        home.write("mended", "");
        home.succeeds(&format!("train --resume {signal}"));
        assert_eq!(evaluated(), [0, 3, 4]);
        assert_same_run(&home, "whole", signal);
    }
}

/// `srft eval` has nothing to save: the signal ends it, and leaves no part of a result.
#[test]
fn a_long_evaluation_of_its_own_ends_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let home = Home::with_sums();
    let eval = format!("eval --device cpu --model model --data sums.jsonl {JUDGED} --out samples");
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        slow_judge(&home, "nowhere", 0);
        let output = send_once_asked(&home, signal, judged(&home, &eval));
        assert_eq!(output.status.signal(), Some(number), "{}", stderr(&output));
        assert!(!home.path("samples").exists());
    }
}

const STUDY: &str = r#"
name = "small"
seeds = 1
control = "sft"
[settings]
model.path = "model"
data = { train = ["sums.jsonl"], eval = ["heldout.jsonl"], verifier = "command" }
reward.command = "sh judge.sh"
rollout = { prompts = 2, group = 2, max_new_tokens = 4, slots = 0 }
eval = { every = 3, samples = 8 }
train.steps = 4
[[row]]
name = "sft"
settings.objective.method = "sft"
[[row]]
name = "srft"
[[regime]]
name = "main"
"#;

fn study_home() -> Home {
    let home = Home::with_sums();
    home.write("heldout.jsonl", home.read("sums.jsonl"));
    home.write("small.toml", STUDY);
    slow_judge(&home, "nowhere", 9);
    home
}

fn study(seeds: u32, out: &str) -> String {
    format!("study --spec small.toml --device cpu --seeds {seeds} --out {out}")
}

/// OpenTau #502 of a study: its later runs would have learned from other files than those before.
#[test]
fn opentau_502_a_study_whose_files_changed_since_refuses_to_go_on() {
    let home = study_home();
    home.write("judge.sh", r#"while read line; do echo '{"score": 0.5}'; done"#);
    let same = home.read("sums.jsonl");
    home.write_arabic_sums(1);
    let other = home.read("sums.jsonl");
    home.write("sums.jsonl", &same);
    home.succeeds(&study(1, "study"));
    let (mut seeds, base) = (1, "study/bases");
    for (file, named) in [
        ("sums.jsonl", "data.train: sums.jsonl"),
        ("heldout.jsonl", "data.eval: heldout.jsonl"),
        ("model/model.safetensors", "model.path: model/model.safetensors"),
    ] {
        let before = home.read(file);
        let now = altered(file, &before, &other);
        home.succeeds(&study(seeds, "study")); // nothing is left to do
        seeds += 1;
        home.write(file, &now);
        let words = ["changed since the study began", named, "--accept-changes"];
        home.fails(&study(seeds, "study"), INPUT, &words);
        home.write(file, &before);
        home.succeeds(&study(seeds, "study"));
        seeds += 1;
        home.write(file, &now);
        let scores = home.names(base).len();
        let accepted = format!("{} --accept-changes", study(seeds, "study"));
        let output = home.command(&accepted).output().unwrap();
        assert!(output.status.success() && stderr(&output).contains(named), "{}", stderr(&output));
        assert!(scores > 0 && home.names(base).len() < scores, "the base is evaluated again");
        seeds += 1;
        home.succeeds(&study(seeds, "study")); // it goes on with what was accepted
    }
}

#[test]
fn a_long_evaluation_does_not_keep_a_study_from_stopping() {
    let home = study_home();
    home.succeeds(&study(1, "whole"));
    let run = |out: &str| format!("{out}/runs/main/srft/seed-0");
    for (signal, steps) in [("TERM", 3), ("HUP", 4)] {
        slow_judge(&home, &run(signal), steps);
        let output = send_once_asked(&home, signal, home.command(&study(1, signal)));
        assert_error(
            &output,
            signal,
            130,
            &["all saved", "run the same command again to continue"],
        );
        let at = |name: &str| format!("{}/{name}", run(signal));
        let steps_of = |lines: Vec<Value>| -> Vec<u64> {
            lines.iter().map(|line| line["step"].as_u64().unwrap()).collect()
        };
        let before: Vec<u64> = [0, 3].into_iter().filter(|&step| step < steps as u64).collect();
        assert_eq!(steps_of(home.lines(&at("evaluations.jsonl"))), before);
        home.write("mended", "");
        // A run that was under way asks no second time for what the study accepted.
        let same = home.read("sums.jsonl");
        home.write("sums.jsonl", [&same[..], b"\n"].concat());
        let words = ["changed since the study began", "data.train: sums.jsonl"];
        home.fails(&study(1, signal), INPUT, &words);
        home.succeeds(&format!("{} --accept-changes", study(1, signal)));
        home.write("sums.jsonl", &same);
        for name in ["metrics.jsonl", "evaluations.jsonl"] {
            let [a, b] = ["whole", signal]
                .map(|out| without_secs(home.lines(&format!("{}/{name}", run(out)))));
            assert_eq!(a, b, "{name}");
        }
    }
}

/// Under `nohup` a run outlives its terminal.
#[test]
fn a_hangup_that_is_ignored_stops_nothing() {
    let home = Home::with_sums();
    let program = env!("CARGO_BIN_EXE_srft");
    let script = format!("trap '' HUP; exec {program} {RUN} --steps 40 --json --out run");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(home.path("")).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    send("HUP", &child);
    stdout.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(home.lines("run/metrics.jsonl").len(), 40);
}

/// Before there is anything to save a signal ends the program as it ends any other.
#[test]
fn a_command_that_saves_nothing_is_ended_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let home = Home::with_sums();
    fs::create_dir(home.path("pipes")).unwrap();
    // Settings that never come.
    let fifo = Command::new("mkfifo").arg(home.path("pipes/c.toml")).status().unwrap();
    assert!(fifo.success());
    let mut child =
        home.command("train --config pipes/c.toml").stderr(Stdio::null()).spawn().unwrap();
    // This waits for the reader.
    let _settings = fs::File::options().write(true).open(home.path("pipes/c.toml")).unwrap();
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

/// A crash of the machine, or a full disk, within a character: what is left is not even text.
#[test]
fn a_line_cut_within_a_character_is_left_out() {
    let home = Home::with_sums();
    let run = |out: &str| format!("{RUN} --steps 6 --set checkpoint.every=2 --out {out}");
    home.succeeds(&run("whole"));
    home.succeeds(&run("cut"));
    fs::remove_dir_all(home.path("cut/checkpoints/step-000006")).unwrap();
    for name in ["samples.jsonl", "metrics.jsonl", "evaluations.jsonl"] {
        let torn = "{\"step\": 7, \"prompt\": \"٤+".as_bytes();
        let mut file =
            fs::OpenOptions::new().append(true).open(home.path("cut").join(name)).unwrap();
        file.write_all(&torn[..torn.len() - 2]).unwrap();
    }
    let mut samples = home.read("cut/samples.jsonl");
    let end = samples.iter().rposition(|&b| b == 0xD9).unwrap();
    samples.truncate(end + 1);
    assert!(std::str::from_utf8(&samples).is_err(), "within a character");
    home.write("cut/samples.jsonl", samples);
    let told = home.succeeds("report cut --text");
    assert!(told.contains("cut short and left out"), "{told}");
    home.succeeds("train --resume cut");
    assert_same_run(&home, "whole", "cut");
}

/// OpenTau #502, NeMo-RL #2519: data, evaluation data or the base that were replaced meanwhile.
#[test]
fn opentau_502_files_that_changed_since_are_named_and_refused() {
    let home = Home::with_sums();
    let same = home.read("sums.jsonl");
    home.write_arabic_sums(1);
    let other = home.read("sums.jsonl");
    for name in ["sums.jsonl", "heldout.jsonl"] {
        home.write(name, &same);
    }
    let data = RUN.replace("--eval-data sums.jsonl", "--eval-data heldout.jsonl");
    home.succeeds(&format!("{data} --lora-rank 2 --steps 3 --out run"));
    let resume = "train --resume run --set eval.every=1";
    home.succeeds(resume);
    for (file, named) in [
        ("sums.jsonl", "data.train: sums.jsonl"),
        ("heldout.jsonl", "data.eval: heldout.jsonl"),
        ("model/model.safetensors", "model.path: model.safetensors"),
    ] {
        let before = home.read(file);
        let now = altered(file, &before, &other);
        home.write(file, &now);
        let words = ["changed since the run began", named, "--accept-changes"];
        home.fails(resume, INPUT, &words);
        home.write(file, &before);
        home.succeeds(resume);
        home.write(file, &now);
        let output = home.command(&format!("{resume} --accept-changes")).output().unwrap();
        assert!(output.status.success() && stderr(&output).contains(named), "{}", stderr(&output));
        home.succeeds(resume); // it goes on with what was accepted
    }
}

/// A run of an earlier version, or of a page, has no `inputs.json`, and other settings than today.
#[test]
fn a_run_that_does_not_say_what_it_read_goes_on_with_a_note() {
    let home = Home::with_sums();
    let run = |out: &str| format!("{RUN} --steps 6 --set checkpoint.every=2 --out {out}");
    home.succeeds(&run("whole"));
    home.succeeds(&run("run"));
    fs::remove_dir_all(home.path("run/checkpoints/step-000006")).unwrap();
    fs::remove_file(home.path("run/inputs.json")).unwrap();
    // That version had no such setting, and its checkpoints another fingerprint for it.
    let config = String::from_utf8(home.read("run/config.toml")).unwrap();
    let fewer: String = config.split_inclusive('\n').filter(|l| !l.starts_with("turns")).collect();
    assert_ne!(config, fewer);
    let path = "run/checkpoints/step-000004/state.json";
    let mut state: State = serde_json::from_slice(&home.read(path)).unwrap();
    state.run = Settings::fingerprint_before(&fewer.parse().unwrap());
    state.checksum = 0;
    state.checksum = crc32fast::hash(&serde_json::to_vec(&state).unwrap());
    home.write(path, serde_json::to_vec(&state).unwrap());
    home.fails("train --resume run", INPUT, &["a run with other settings"]);
    home.write("run/config.toml", fewer);
    // It was being replaced by that version when it crashed.
    fs::rename(home.path("run/best"), home.path("run/best.old")).unwrap();
    let output = home.command("train --resume run").output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains("was not checked"), "{said}");
    assert_same_run(&home, "whole", "run");
    home.write_arabic_sums(1);
    home.fails("train --resume run", INPUT, &["changed since the run began"]);
}

/// transformers #18070, composer #1384: fewer steps than are done.
#[test]
fn transformers_18070_fewer_steps_than_are_done_are_refused() {
    let home = Home::with_sums();
    home.succeeds(&format!("{RUN} --set optimizer.schedule=constant --steps 9 --out run"));
    let config = home.read("run/config.toml");
    home.fails(
        "train --resume run --steps 4",
        INPUT,
        &["train.steps", "9 steps are done", "--steps 9"],
    );
    assert_eq!(home.read("run/config.toml"), config);
    home.succeeds("train --resume run --steps 10");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 10);
}

/// A reward command that fails in the fourth step of a run, however often it is started, until it is
/// mended.
fn failing(home: &Home, run: &str, then: &str) {
    let script = format!(
        "while read line; do \
         if [ $(cat {run}/metrics.jsonl 2>/dev/null | wc -l) -ge 3 ] && [ ! -e mended ]; then {then}; fi; \
         echo '{{\"score\": 0.5}}'; done"
    );
    home.write("judge.sh", script);
}

/// verl #6673, NeMo-Gym #1354: the run that a reward command ended keeps its weights, and goes on with
/// more time for it.
#[test]
fn verl_6673_a_failed_reward_command_loses_no_step_and_may_get_more_time() {
    let home = Home::with_sums();
    let command = |out: &str| {
        let judge = "--verifier command --set reward.command=sh~judge.sh --set checkpoint.every=0";
        format!("{RUN} {judge} --steps 8 --set eval.every=0 --set eval.examples=2 --out {out}")
    };
    let run = |out: &str, more: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_srft"));
        let arguments = format!("{} {more}", command(out));
        program.args(arguments.split_whitespace().map(|a| a.replace('~', " ")));
        program.current_dir(home.path("")).output().unwrap()
    };
    failing(&home, "slow", "exit 1"); // which is not there
    assert!(run("whole", "").status.success());
    for (name, then, secs) in [("slow", "sleep 60", 3), ("dead", "exit 1", 60)] {
        let _ = fs::remove_file(home.path("mended"));
        failing(&home, name, then);
        let output = run(name, &format!("--set reward.command_secs={secs}"));
        let next = format!("srft train --resume {name}");
        let words = ["scored", "reward.command_secs", "the weights are saved", next.as_str()];
        let message = assert_error(&output, name, MACHINE, &words);
        assert!(!message.contains("evaluate again"), "{message}");
        let done = home.lines(&format!("{name}/metrics.jsonl")).len();
        assert_eq!(done, 3, "steps");
        assert_eq!(home.names(&format!("{name}/checkpoints")), [format!("step-{done:06}")]);
        home.write("mended", "");
        let resumed = format!("train --resume {name} --set reward.command_secs=60");
        home.succeeds(&resumed);
        assert_same_run_but_for_older(&home, "whole", name);
    }
}

/// The same but for the checkpoint that only the failure made.
fn assert_same_run_but_for_older(home: &Home, one: &str, other: &str) {
    let older = home.names(&format!("{other}/checkpoints"));
    for name in older.iter().rev().skip(1) {
        fs::remove_dir_all(home.path(other).join("checkpoints").join(name)).unwrap();
    }
    assert_same_run(home, one, other);
}

/// ms-swift #3136, unsloth #3006: a run whose numbers broke says so wherever it is looked at.
#[test]
fn ms_swift_3136_a_report_tells_that_a_run_diverged() {
    let home = Home::with_sums();
    let wild = "--set optimizer.lr=1e30 --set optimizer.warmup_steps=0 --steps 9 --out run";
    home.fails(&format!("{RUN} {wild}"), 4, &["not applied"]);
    let text = home.succeeds("report run --text");
    assert!(text.contains("diverged") && text.contains("not applied"), "{text}");
    assert!(!text.contains("--resume") && !text.contains("Nothing stands out"), "{text}");
    home.succeeds("report run");
    let html = String::from_utf8(home.read("run/report.html")).unwrap();
    assert!(html.contains("it diverged after step 1"));
    // It comes to the same end, and stays told.
    home.fails("train --resume run", 4, &["not applied"]);
    assert!(home.succeeds("report run --text").contains("diverged"));
}
