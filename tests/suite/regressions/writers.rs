//! Nothing is removed or replaced that srft did not write.

use crate::program::{Home, TRAIN};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const INPUT: i32 = 2;

/// Every file below a folder with its bytes, and every folder; what links lead to is not followed.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            found.extend(everything(&path));
            found.insert(path, Vec::new());
        } else if kind.is_symlink() {
            let to = fs::read_link(&path).unwrap();
            found.insert(path, to.into_os_string().into_encoded_bytes());
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// Runs a command that must be refused and change nothing.
fn refused(home: &Home, command: &str, words: &[&str]) {
    let before = everything(&home.path(""));
    home.fails(command, INPUT, words);
    assert!(before == everything(&home.path("")), "{command} changed something");
}

/// Runs a command after which every file of before must be as it was, but for those below `own`.
fn keeps(home: &Home, command: &str, own: &[&str]) {
    let before = everything(&home.path(""));
    home.succeeds(command);
    let after = everything(&home.path(""));
    let own: Vec<PathBuf> = own.iter().map(|name| home.path(name)).collect();
    for (path, bytes) in &before {
        let is_own = own.iter().any(|own| path.starts_with(own));
        assert!(is_own || after.get(path) == Some(bytes), "{command} took {}", path.display());
    }
}

/// A model, a finished run, an adapter's run, data; and what a user may have lying about.
fn home() -> Home {
    let home = Home::new();
    let line = |a: u32| format!(r#"{{"prompt": "{a}+1=", "response": "1", "answer": "1"}}"#) + "\n";
    home.write("d.jsonl", (0..20).map(line).collect::<String>());
    home.succeeds(&format!("{TRAIN} --steps 2 --out run"));
    home.succeeds(&format!("{TRAIN} --steps 1 --lora-rank 2 --out adapted"));
    home
}

const EVAL: &str =
    "eval --device cpu --model model --data d.jsonl --verifier exact --max-new-tokens 4";
const MERGE: &str = "merge --model adapted/best";

/// tf_unet #216, huggingface/community-events #77, Montreal-Forced-Aligner #47, androguard #768: an
/// output folder that is there is removed with all that is in it.
#[cfg(unix)] // links
#[test]
fn tf_unet_216_an_output_folder_with_other_things_in_it_is_refused() {
    let home = home();
    fs::create_dir_all(home.path("results/sub")).unwrap();
    home.write("results/notes.txt", "mine");
    fs::create_dir_all(home.path("only/folders")).unwrap();
    home.write("file", "mine");
    // Looks like a saved model, and is one that was published.
    fs::create_dir(home.path("published")).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(home.path("model").join(name), home.path("published").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("results", home.path("link")).unwrap();
    std::os::unix::fs::symlink("nothing", home.path("dangling")).unwrap();
    for command in [EVAL, MERGE] {
        for (out, words) in [
            ("results", ["notes.txt, sub", "--overwrite"]),
            ("only", ["folders", "--overwrite"]),
            ("link", ["notes.txt", "--overwrite"]),
            ("published", ["config.json", "--overwrite"]),
            ("file", ["not a folder", "another"]),
            ("dangling", ["not a folder", "another"]),
            ("run", ["this folder holds a run or a study", "of its own"]),
            ("run --overwrite", ["this folder holds a run or a study", "of its own"]),
            ("run/best", ["belongs to the run", "of its own"]),
            ("run/best --overwrite", ["belongs to the run", "of its own"]),
            ("run/checkpoints --overwrite", ["belongs to the run", "of its own"]),
            ("run/checkpoints/step-000002 --overwrite", ["belongs to the run", "of its own"]),
            ("run/evaluations/new", ["belongs to the run", "of its own"]),
            (".", ["d.jsonl", "--overwrite"]),
        ] {
            refused(&home, &format!("{command} --out {out}"), &words);
        }
    }
    // What a folder of one command is to the other.
    home.succeeds(&format!("{EVAL} --out evaluated"));
    home.succeeds(&format!("{MERGE} --out merged"));
    refused(&home, &format!("{MERGE} --out evaluated"), &["d.jsonl", "--overwrite"]);
    refused(&home, &format!("{EVAL} --out merged"), &["config.json", "--overwrite"]);
    home.succeeds("train --resume run");
}

#[test]
fn a_folder_of_the_same_command_is_renewed_and_one_that_was_changed_is_not() {
    let home = home();
    fs::copy(home.path("d.jsonl"), home.path("e.jsonl")).unwrap();
    home.succeeds(&format!("{EVAL} --out out"));
    home.succeeds(&format!("{} --out out", EVAL.replace("d.jsonl", "e.jsonl")));
    assert_eq!(home.names("out"), ["e.jsonl"], "one evaluation");
    home.write("out/e.jsonl", "corrected by hand\n");
    refused(&home, &format!("{EVAL} --out out"), &["out", "e.jsonl", "--overwrite"]);
    keeps(&home, &format!("{EVAL} --out out --overwrite"), &["out/.srft.json"]);
    assert_eq!(home.names("out"), ["d.jsonl", "e.jsonl"]);
    home.write("out/notes.txt", "mine");
    refused(&home, &format!("{EVAL} --out out"), &["e.jsonl, notes.txt", "--overwrite"]);
    // The file that is read is never the one that is written.
    fs::create_dir(home.path("data")).unwrap();
    fs::rename(home.path("d.jsonl"), home.path("data/d.jsonl")).unwrap();
    let command = format!("{} --out data --overwrite", EVAL.replace("d.jsonl", "data/d.jsonl"));
    refused(&home, &command, &["data/d.jsonl", "the file that is read"]);
}

/// An empty folder, a link to one, one that may be a mount: results go into it.
#[cfg(unix)] // links
#[test]
fn an_empty_folder_is_written_into() {
    let home = home();
    for name in ["empty", "elsewhere"] {
        fs::create_dir(home.path(name)).unwrap();
    }
    std::os::unix::fs::symlink("elsewhere", home.path("link")).unwrap();
    home.succeeds(&format!("{MERGE} --out empty"));
    home.succeeds(&format!("{EVAL} --out link"));
    assert!(fs::symlink_metadata(home.path("link")).unwrap().is_symlink());
    assert_eq!(home.names("elsewhere"), ["d.jsonl"]);
    home.succeeds("generate --device cpu --model empty 1+1=");
    home.succeeds(&format!("{TRAIN} --steps 1 --model empty --out link/run"));
    home.succeeds("train --resume elsewhere/run");
}

/// A backup beside an output or within a run has a name that a user would give it.
#[test]
fn backups_beside_what_is_written_stay() {
    let home = home();
    let backup = |name: &str| {
        fs::create_dir_all(home.path(name)).unwrap();
        home.write(&format!("{name}/precious.txt"), "mine");
    };
    for name in ["out.old", "out.partial", "merged.old", "merged.partial"] {
        backup(name);
    }
    keeps(&home, &format!("{EVAL} --out out"), &[]);
    keeps(&home, &format!("{EVAL} --out out"), &["out"]);
    keeps(&home, &format!("{MERGE} --out merged"), &[]);
    for name in ["report.html.partial", "s.jsonl.partial", "run/config.toml.partial"] {
        home.write(name, "mine");
    }
    for name in ["run/best.old", "run/best.partial", "run/checkpoints/step-000001.old"] {
        backup(name);
    }
    backup("run/checkpoints/step-000002.partial");
    keeps(&home, "report run --out report.html", &[]);
    let score = "score --device cpu --model model --data d.jsonl --out s.jsonl";
    keeps(&home, score, &[]);
    let own = ["run/summary.json", "run/config.toml"];
    keeps(&home, "train --resume run --set checkpoint.keep=1", &own);
}

/// A run makes its own folders, and counts no others among them.
#[test]
fn a_run_takes_nothing_that_is_in_its_folder() {
    let home = Home::new();
    for taken in
        ["best/model.safetensors", "checkpoints/step-000009/x", "evaluations/x", "summary.json"]
    {
        let path = home.path("new").join(taken);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let name = taken.split('/').next().unwrap();
        refused(&home, &format!("{TRAIN} --out new"), &["new", name, "another --out"]);
        fs::remove_dir_all(home.path("new")).unwrap();
    }
    // A log that was begun there is no reason to refuse it, nor is a lock of something else.
    fs::create_dir(home.path("new")).unwrap();
    home.write("new/train.log", "begun");
    home.write("new/.lock", "mine");
    let run = "--steps 4 --set checkpoint.every=1 --set checkpoint.keep=2 --out new";
    keeps(&home, &format!("{TRAIN} {run}"), &[]);
    // A checkpoint of another run, a copy kept aside, notes in what is written again or removed.
    fs::create_dir(home.path("new/checkpoints/step-000001")).unwrap();
    let mine = [
        "checkpoints/step-000001/state.json",
        "checkpoints/step-000003/notes.txt",
        "best/notes.txt",
        "evaluations/step-000004/notes.txt",
    ];
    for name in mine {
        home.write(&format!("new/{name}"), "{}");
    }
    fs::remove_dir_all(home.path("new/checkpoints/step-000004")).unwrap();
    home.succeeds("train --resume new --set checkpoint.keep=1");
    for name in mine {
        assert_eq!(home.read(&format!("new/{name}")), b"{}", "{name}");
    }
    assert!(home.path("new/checkpoints/step-000004/state.json").exists());
}

/// A result that is one file takes the place of such a result alone, and never of what is read.
#[cfg(unix)] // links
#[test]
fn an_output_file_takes_the_place_of_its_like_alone() {
    let home = home();
    let score = "score --device cpu --model model --data d.jsonl";
    let shift = "analyze token-shift --device cpu --model run/best --base model";
    let report = "report run";
    let commands =
        [(score, "s.jsonl"), (shift, "shift.json"), (shift, "shift.svg"), (report, "r.html")];
    for (command, out) in commands {
        let (again, taken) = (format!("{command} --out {out}"), format!("mine-{out}"));
        home.succeeds(&again);
        let first = home.read(out);
        home.succeeds(&again);
        assert_eq!(first.len() / 1000, home.read(out).len() / 1000, "{again}");
        home.write(&taken, "{\"mine\": true}\n");
        let command = format!("{command} --out {taken}");
        refused(&home, &command, &[taken.as_str(), "--overwrite"]);
        home.succeeds(&format!("{command} --overwrite"));
        home.write("empty.tmp", "");
        fs::rename(home.path("empty.tmp"), home.path(&taken)).unwrap();
        home.succeeds(&command);
    }
    refused(&home, &format!("{score} --out d.jsonl --overwrite"), &["the command reads this file"]);
    std::os::unix::fs::symlink("d.jsonl", home.path("same.jsonl")).unwrap();
    refused(
        &home,
        &format!("{score} --out same.jsonl --overwrite"),
        &["the command reads this file"],
    );
    refused(&home, &format!("{score} --out run/metrics.jsonl --overwrite"), &["belongs to a run"]);
    refused(&home, &format!("{score} --out model"), &["is a folder"]);
    // The report's usual place, and a link that stays one.
    home.write("run/report.html", "<html>mine</html>");
    refused(&home, report, &["run/report.html", "--out"]);
    std::os::unix::fs::symlink("r.html", home.path("link.html")).unwrap();
    home.succeeds("report run --out link.html");
    assert!(fs::symlink_metadata(home.path("link.html")).unwrap().is_symlink());
    home.succeeds("report run --out /dev/null");
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

/// A study and a pretraining begin in folders of their own.
#[test]
fn a_study_or_a_base_begins_in_a_folder_of_its_own() {
    let home = home();
    for name in ["project", "spec"] {
        fs::create_dir(home.path(name)).unwrap();
    }
    home.write("project/config.json", "mine");
    refused(&home, "study --preset smoke --device cpu --out project", &["config.json", "--out"]);
    refused(&home, "study --preset smoke --device cpu --out run", &["best", "--out"]);
    let pretrain = "pretrain --device cpu --shape model --steps 1 --set rollout.prompts=1 \
                    --set eval.examples=1 --set rollout.max_new_tokens=2";
    refused(&home, &format!("{pretrain} --out project"), &["project", "config.json"]);
    home.succeeds(&format!("{pretrain} --out base"));
    keeps(&home, &format!("{pretrain} --out base"), &["base/run/summary.json"]);
    home.write("base/model.safetensors", "mine");
    let before = home.read("base/config.json");
    home.fails(&format!("{pretrain} --out base"), INPUT, &["base/model.safetensors", "move it"]);
    assert_eq!(
        (home.read("base/model.safetensors"), home.read("base/config.json")),
        (b"mine".to_vec(), before)
    );
    // The text that a study was read from is not written anew.
    let text = "# my own words\nname = \"mine\"\nseeds = 9\n";
    home.write("spec/study.toml", text);
    home.write("other.toml", text.replace("mine", "other"));
    let command = "study --spec other.toml --device cpu --out spec";
    home.command(command).output().unwrap();
    assert_eq!(home.read("spec/study.toml"), text.as_bytes());
}
