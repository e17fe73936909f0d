//! What the machine does: full disks, forbidden folders, readers that go away, other processes.

use super::{INPUT, MACHINE};
use crate::program::{Home, TRAIN, assert_error, assert_same_run, leftovers};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The disk fills up between two checkpoints. A limit on file sizes stands for it, with the
/// signal for that switched off: the write fails, as on a full disk.
#[test]
fn a_full_disk_loses_nothing_that_was_saved() {
    let home = Home::new();
    let run = format!(
        "{TRAIN} --set optimizer.schedule=constant --set eval.every=2 \
         --set checkpoint.every=2 --set checkpoint.samples_every=0"
    );
    home.succeeds(&format!("{run} --steps 6 --out whole"));
    home.succeeds(&format!("{run} --steps 2 --out run"));
    let program = env!("CARGO_BIN_EXE_srft");
    let script = format!("trap '' XFSZ; ulimit -f 32; exec {program} train --resume run --steps 6");
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(home.path("")).output().unwrap();
    let words = ["run/", "File too large", "free some space", "--resume"];
    assert_error(&output, &script, MACHINE, &words);
    assert_eq!(home.names("run/checkpoints"), ["step-000002"]);
    assert_eq!(leftovers(&home.path("run")), Vec::<PathBuf>::new());
    home.succeeds("generate --device cpu --model run/checkpoints/step-000002 1+1=");
    home.succeeds("train --resume run");
    assert_same_run_but_for_samples(&home);
}

fn assert_same_run_but_for_samples(home: &Home) {
    for run in ["whole", "run"] {
        home.write(&format!("{run}/samples.jsonl"), "");
    }
    assert_same_run(home, "whole", "run");
}

#[cfg(target_os = "linux")]
#[test]
fn no_space_left_for_the_summary_or_for_what_is_printed() {
    let home = Home::new();
    fs::create_dir(home.path("run")).unwrap();
    symlink("/dev/full", home.path("run/.summary.json.srft-partial")).unwrap();
    let run = format!("{TRAIN} --steps 2 --out run");
    home.fails(&run, MACHINE, &["run/summary.json", "No space left", "--resume"]);
    home.succeeds("train --resume run");
    assert!(home.path("run/summary.json").exists());

    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home.command("config").stdout(full()).output().unwrap();
    assert_error(&output, "config", MACHINE, &["standard output", "No space left"]);
    // A run does not stop for what it cannot say.
    let mut command = home.command(&format!("{TRAIN} --steps 2 --json --out quiet"));
    assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(MACHINE));
    assert!(home.path("quiet/summary.json").exists());
}

#[test]
fn a_reader_that_goes_away_stops_neither_listing_nor_run() {
    let home = Home::new();
    for arguments in ["config", &format!("{TRAIN} --steps 2 --json --out run")] {
        let mut child = home.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success(), "{arguments}");
    }
    assert!(home.path("run/summary.json").exists());
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let home = Home::new();
    let allow = |name: &str, mode| {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(home.path("sealed")).unwrap();
    allow("", 0o755);
    allow("sealed", 0o555);
    let arguments = format!("{TRAIN} --out sealed/run");
    let mut command = home.command(&arguments);
    if fs::metadata(home.path("")).unwrap().uid() == 0 {
        // Root may write anywhere: run a copy that everyone can reach as nobody.
        // By another process: a program that this one has open for writing, or a child of another thread, cannot start.
        let copied =
            Command::new("cp").arg(env!("CARGO_BIN_EXE_srft")).arg(home.path("srft")).status();
        assert!(copied.unwrap().success());
        command = Command::new(home.path("srft"));
        command.args(arguments.split_whitespace()).current_dir(home.path("")).uid(65534);
    }
    let output = command.output().unwrap();
    allow("sealed", 0o755);
    assert_error(&output, &arguments, MACHINE, &["sealed/run", "ermission", "another folder"]);
}

#[test]
fn two_processes_do_not_train_in_one_folder() {
    let home = Home::new();
    let run = format!("{TRAIN} --steps 400 --json --out run");
    let mut first = home.command(&run).stdout(Stdio::piped()).spawn().unwrap();
    let metrics = home.path("run/metrics.jsonl");
    while !metrics.exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended before it trained");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    // Nobody reads the pipe, so the first cannot end before it is killed.
    home.fails("train --resume run", INPUT, &["run", "another process"]);
    first.kill().unwrap();
    first.wait().unwrap();
    home.succeeds("train --resume run");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 400);
}
