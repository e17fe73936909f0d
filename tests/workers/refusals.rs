//! Who may not, and what cannot be.

use crate::program::{Home, RUN, stderr};
use crate::worker::{free_port, interrupt, spawn, start, start_at, with};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_token_is_made_once_and_only_its_holders_get_in() {
    let home = Home::with_sums();
    let worker = start(&home, "w");
    assert!(worker.said.lock().unwrap().iter().any(|l| l.contains("a token was made")));
    #[cfg(unix)]
    {
        let mode = std::fs::metadata(home.path("token")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }
    let token = home.read("token");
    let again = start(&home, "w2");
    assert_eq!(home.read("token"), token, "a token that is there is kept");
    drop(again);

    let run = format!("{RUN} --steps 2 --out run");
    home.write("other", "0123456789abcdef0123456789abcdef");
    let workers = with(&[&worker]).replace("--token-file token", "--token-file other");
    home.fails(
        &format!("{run} {workers}"),
        3,
        &["another token", &worker.name(), "the same token"],
    );
    home.write("short", "secret");
    let workers = with(&[&worker]).replace("--token-file token", "--token-file short");
    home.fails(&format!("{run} {workers}"), 2, &["a token of 6 characters", "short"]);
    // It still works for who has it.
    home.succeeds(&format!("{run} {}", with(&[&worker])));
}

#[test]
fn what_is_not_there_or_taken_is_named() {
    let home = Home::with_sums();
    let worker = start(&home, "w");
    let run = format!("{RUN} --steps 2 --out run");
    let nobody = format!("127.0.0.1:{}", free_port());
    let workers = format!("--workers {nobody} --token-file token");
    home.fails(&format!("{run} {workers}"), 3, &["no connection", &nobody, "srft worker"]);
    let workers = "--workers no-such-host.invalid --token-file token";
    home.fails(&format!("{run} {workers}"), 2, &["no-such-host.invalid", "HOST:PORT"]);
    let taken = format!("worker --token-file token --device cpu --port {}", worker.port);
    home.fails(&taken, 3, &[&format!("UDP port {}", worker.port), "--port"]);
    home.fails(&format!("{run} --workers a,b,a --token-file token"), 2, &["`a` is named twice"]);
    home.write("none.txt", "\n# no one\n");
    home.fails(&format!("{run} --workers none.txt --token-file token"), 2, &["names no worker"]);
    home.fails("worker --token-file token --device cpu --folder w", 2, &["another worker"]);
    home.fails("worker --token-file token --device warp9", 2, &["warp9"]);
}

/// A worker keeps what it is sent in its folder, and a file only if it has the hash that was said.
#[test]
fn a_worker_writes_nothing_outside_of_its_folder() {
    let home = Home::with_sums();
    let worker = start_at(&home, "w", free_port());
    let before = home.names(".");
    home.succeeds(&format!("{RUN} --steps 2 {} --out run", with(&[&worker])));
    let mut after = home.names(".");
    after.retain(|name| name != "run");
    assert_eq!(before, after);
    assert_eq!(home.names("w"), ["files"]);
    assert!(!home.names("w/files").is_empty());
}

/// The same run twice at once, by the same worker, has weights of its own each: the second waits, and is refused.
#[test]
fn a_worker_works_for_one_run_at_a_time() {
    let home = Home::with_sums();
    let worker = start(&home, "w");
    let run = |out: &str, steps: u32| {
        let shared = with(&[&worker]);
        format!("{RUN} --steps {steps} --set train.shards=2 {shared} --out {out}")
    };
    let mut first = spawn(&home, &run("first", 100_000));
    while home.steps("first") == 0 {
        sleep(Duration::from_millis(20));
    }
    home.fails(&run("second", 100_000), 3, &["it works for another run", &worker.name()]);
    assert!(first.try_wait().unwrap().is_none(), "the first goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    home.succeeds(&run("third", 2));
}

/// A worker that has lost the model's files is not asked again, and a note says what to do.
#[test]
fn a_worker_that_lost_its_folder_is_told_of() {
    let home = Home::with_sums();
    let mut worker = start(&home, "w");
    let port = worker.port;
    let run = format!("{RUN} --steps 100000 --set train.shards=2 {} --out run", with(&[&worker]));
    let child = spawn(&home, &run);
    while home.steps("run") == 0 {
        sleep(Duration::from_millis(20));
    }
    worker.kill();
    std::fs::remove_dir_all(home.path("w")).unwrap();
    worker = start_at(&home, "w", port);
    sleep(Duration::from_secs(25));
    interrupt(&child);
    let said = stderr(&child.wait_with_output().unwrap());
    for words in ["has failed", "will not be asked again", "is not here any more"] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    drop(worker);
}
