//! Downloads from a server of our own that speaks the hub's protocol, whole and broken.

mod server;

use server::{Fault, Repo, Server};
use srft_formats::error::Kind as Fails;
use srft_formats::hub::{Kind, Name};
use srft_hub::{Hub, Unwatched};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const WEIGHTS: [u8; 5000] = [9; 5000];

fn model(commit: char) -> Repo {
    Repo::new(
        commit,
        &[
            ("config.json", b"{}"),
            ("tokenizer.json", b"{\"a\": 1}"),
            ("model.safetensors", &WEIGHTS),
            ("pytorch_model.bin", b"not this"),
            ("onnx/model.onnx", b"nor this"),
            ("README.md", b"nor this"),
        ],
    )
}

fn hub(server: &Server, cache: &Path) -> Hub {
    let hub = Hub::new(&server.address, cache.into(), Box::new(Unwatched));
    Hub { pause: Duration::from_millis(1), ..hub }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A server with a model, and a cache.
fn there() -> (Server, TempDir) {
    let server = Server::new();
    server.put("models/o/m", model('a'));
    (server, tempfile::tempdir().unwrap())
}

/// The files below a folder that are no locks.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect();
    all.retain(|path| path.extension().is_none_or(|end| end != "lock"));
    all.sort();
    all
}

#[test]
fn a_model_lies_as_python_has_it_and_is_asked_for_once() {
    let (server, cache) = there();
    let hub = Hub { token: Some("secret".into()), ..hub(&server, cache.path()) };
    let pinned = hub.model(&name("o/m")).unwrap();
    assert_eq!(pinned.to_string(), format!("o/m@{}", "a".repeat(40)));
    let snapshot = pinned.cached(cache.path(), Kind::Model).unwrap();
    assert_eq!(snapshot, cache.path().join("models--o--m/snapshots").join("a".repeat(40)));
    assert_eq!(below(&snapshot).len(), 3, "{:?}", below(&snapshot));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), WEIGHTS);
    let main = fs::read_to_string(cache.path().join("models--o--m/refs/main")).unwrap();
    assert_eq!(main, "a".repeat(40));
    #[cfg(unix)]
    {
        let link = fs::read_link(snapshot.join("config.json")).unwrap();
        // git's hash of `{}`.
        assert_eq!(link, Path::new("../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b"));
    }
    let asked = server.asked();
    assert!(
        asked.iter().all(|line| line.ends_with(" token") != line.starts_with("/cdn")),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 5, "a list, two texts, weights and their place: {asked:?}");
    hub.model(&name("o/m")).unwrap();
    assert_eq!(server.asked().len(), 1, "the list alone");
    assert_eq!(hub.model(&pinned).unwrap(), pinned);
    let offline = Hub { offline: true, ..hub };
    assert_eq!(offline.model(&name("o/m")).unwrap(), pinned);
    let error = offline.model(&name("o/other")).unwrap_err().to_string();
    assert!(error.contains("nothing is downloaded") && error.contains("--offline"), "{error}");
    assert_eq!(server.asked(), [""; 0], "a commit never changes, and offline nothing is asked");
}

#[test]
fn a_moved_branch_is_followed_and_a_commit_is_kept() {
    let (server, cache) = there();
    let hub = hub(&server, cache.path());
    let old = hub.model(&name("o/m")).unwrap();
    let mut moved = model('b');
    moved.files.insert("config.json".into(), b"{\"new\": 1}".to_vec());
    server.put("models/o/m", moved);
    let new = hub.model(&name("o/m")).unwrap();
    assert_ne!(new, old);
    let config =
        |name: &Name| fs::read(name.cached(cache.path(), Kind::Model).unwrap().join("config.json"));
    assert_eq!(config(&old).unwrap(), b"{}");
    assert_eq!(config(&new).unwrap(), b"{\"new\": 1}");
    let blobs = below(&cache.path().join("models--o--m/blobs"));
    assert_eq!(blobs.len(), 4, "what is the same is there once: {blobs:?}");
    let error = hub.model(&name("o/m@v9")).unwrap_err().to_string();
    assert!(error.contains("no revision `v9`"), "{error}");
    server.put_at("models/o/m", "refs/pr/1", model('c'));
    assert_eq!(hub.model(&name("o/m@refs/pr/1")).unwrap().revision(), "c".repeat(40));
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    for fault in [Fault::Cut(1500), Fault::CutWithoutRanges(1500)] {
        let (server, cache) = there();
        server.state.lock().unwrap().fault = fault;
        let pinned = hub(&server, cache.path()).model(&name("o/m")).unwrap();
        let path = pinned.cached(cache.path(), Kind::Model).unwrap().join("model.safetensors");
        assert_eq!(fs::read(path).unwrap(), WEIGHTS);
        let asked = server.asked();
        assert!(asked.iter().any(|line| line.ends_with("bytes=1500-")), "{asked:?}");
        assert!(!below(cache.path()).iter().any(|path| path.ends_with("incomplete")));
    }
    // Nothing comes at all: an end with a word, what came stays, and the next time it goes on.
    let (server, cache) = there();
    let hub = hub(&server, cache.path());
    server.state.lock().unwrap().fault = Fault::Cut(0);
    let error = hub.model(&name("o/m")).unwrap_err();
    assert!(error.what.contains("breaks off after 0 of 5000 bytes"), "{error}");
    server.state.lock().unwrap().fault = Fault::None;
    hub.model(&name("o/m")).unwrap();
}

#[test]
fn what_is_not_what_the_list_says_is_refused_and_not_kept() {
    for (fault, expected) in [
        (Fault::Altered, "has the hash"),
        (Fault::Longer, "sends 5001 bytes or more of a file of 5000"),
        (Fault::Endless, "bytes or more of a file of 5000"),
        (Fault::Loop, "breaks off"),
    ] {
        let (server, cache) = there();
        server.state.lock().unwrap().fault = fault;
        let error = hub(&server, cache.path()).model(&name("o/m")).unwrap_err();
        assert!(error.what.contains(expected), "{error}");
        assert_eq!(error.kind, Fails::Machine);
        for path in below(cache.path()) {
            let size = fs::metadata(&path).unwrap().len();
            assert!(size < 10, "{} of {size} bytes", path.display());
        }
        let offline = Hub { offline: true, ..hub(&server, cache.path()) };
        assert!(offline.model(&name("o/m")).is_err(), "half a model is none");
    }
}

#[test]
fn a_hostile_list_writes_nothing_outside() {
    let (server, home) = there();
    let cache = home.path().join("deep/cache");
    let mut repo = model('a');
    for path in
        ["../../../../out.json", "/tmp/srft-out.json", "a/../../x.json", r"..\y.json", "C:z.json"]
    {
        repo.files.insert(path.into(), b"out".to_vec());
    }
    repo.files.insert("tokenizer_config.json".into(), b"{}".to_vec());
    server.put("models/o/m", repo);
    hub(&server, &cache).model(&name("o/m")).unwrap();
    let all = below(home.path());
    assert!(all.iter().all(|path| path.starts_with(cache.join("models--o--m"))), "{all:?}");
    assert_eq!(all.len(), 1 + 2 * 4 - 1, "a ref, four names and three blobs: {all:?}");
    for commit in ["../../..", "main", ""] {
        let bad = Repo { commit: commit.into(), ..model('a') };
        server.put("models/o/bad", bad);
        let error = hub(&server, &cache).model(&name("o/bad")).unwrap_err().to_string();
        assert!(error.contains("no list of files"), "{error}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = there();
    for (status, code, expected) in [
        (403, "GatedRepo", ["accept their terms", "accept them on http://127"]),
        (401, "GatedRepo", ["accept their terms", "HF_TOKEN"]),
        (401, "RepoNotFound", ["or it is private", "check the name"]),
        (404, "RepoNotFound", ["or it is private", "HF_TOKEN"]),
        (401, "", ["or it is private", "HF_TOKEN"]),
        (403, "", ["has no right", "HF_TOKEN"]),
        (404, "RevisionNotFound", ["no revision `main`", "see http"]),
        (503, "", ["can't be reached: the hub answers 503", "--offline"]),
        (418, "Teapot", ["answers 418 Teapot", "see http"]),
    ] {
        server.state.lock().unwrap().refuses = Some((status, code));
        let error = hub(&server, cache.path()).model(&name("o/m")).unwrap_err().to_string();
        assert!(
            error.starts_with("o/m: ") && expected.iter().all(|e| error.contains(e)),
            "{error}"
        );
    }
    let nobody = Hub::new("http://127.0.0.1:9", cache.path().into(), Box::new(Unwatched));
    let nobody = Hub { pause: Duration::from_millis(1), ..nobody };
    let error = nobody.model(&name("o/m")).unwrap_err().to_string();
    assert!(
        error.contains("http://127.0.0.1:9 can't be reached") && error.contains("--offline"),
        "{error}"
    );
    // Once it is in the cache, an unreachable hub does no harm.
    server.state.lock().unwrap().refuses = None;
    let pinned = hub(&server, cache.path()).model(&name("o/m")).unwrap();
    assert_eq!(nobody.model(&name("o/m")).unwrap(), pinned);
}

#[test]
fn a_repository_of_another_kind_is_named() {
    let (server, cache) = there();
    let hub = hub(&server, cache.path());
    let ggufs: [(&str, &[u8]); 4] = [
        ("m-Q8_0.gguf", b"8"),
        ("m-Q4_1.gguf", b"4"),
        ("s-00001-of-00002.gguf", b"1"),
        ("s-00002-of-00002.gguf", b"2"),
    ];
    server.put("models/o/g", Repo::new('b', &ggufs));
    server
        .put("models/o/p", Repo::new('c', &[("config.json", b"{}"), ("pytorch_model.bin", b"x")]));
    let index = br#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#;
    let shards: [(&str, &[u8]); 5] = [
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("x-1.safetensors", b"1"),
        ("x-2.safetensors", b"2"),
    ];
    server.put("models/o/s", Repo::new('d', &shards));
    for (asked, expected) in [
        ("o/g", Err("name one: o/g:m-Q4_1.gguf, o/g:m-Q8_0.gguf")),
        ("o/g:m-Q8_0.gguf", Ok(("o/g:m-Q8_0.gguf", 1))),
        ("o/g:q4_1", Ok(("o/g:m-Q4_1.gguf", 2))),
        ("o/g:m-", Err("2 of its GGUF files are like `m-`")),
        ("o/g:s-0", Ok(("o/g:s-00001-of-00002.gguf", 4))),
        ("o/g:f16", Err("no GGUF file of it is called `f16`")),
        ("o/p", Err("only PyTorch's pytorch_model.bin")),
        ("o/s", Ok(("o/s", 5))),
    ] {
        match (hub.model(&name(asked)), expected) {
            (Ok(found), Ok((expected, files))) => {
                assert!(found.to_string().starts_with(&format!("{expected}@")), "{found}");
                let snapshot = found.at("", found.revision()).cached(cache.path(), Kind::Model);
                assert_eq!(below(&snapshot.unwrap()).len(), files, "{asked}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, _) => panic!("{asked}: {found:?}"),
        }
    }
}

#[test]
fn a_split_of_a_data_set_is_its_files() {
    let (server, cache) = there();
    let hub = hub(&server, cache.path());
    let files: [(&str, &[u8]); 4] = [
        ("main/train-0.parquet", b"1"),
        ("main/train-1.parquet", b"2"),
        ("main/test-0.parquet", b"3"),
        ("README.md", b"x"),
    ];
    let splits = serde_json::json!([{"split": "train", "path": "main/train-*"}, {"split": "test", "path": "main/test-*"}]);
    let card = serde_json::json!({"configs": [{"config_name": "main", "data_files": splits}]});
    server.put("datasets/o/d", Repo { card, ..Repo::new('a', &files) });
    server.put("datasets/o/script", Repo::new('b', &[("script.py", b"x")]));
    let converted: [(&str, &[u8]); 2] =
        [("default/train/0000.parquet", b"1"), ("default/partial-test/0000.parquet", b"2")];
    server.put_at("datasets/o/script", "refs/convert/parquet", Repo::new('c', &converted));
    for (asked, split, expected) in [
        ("o/d", "train", &["main/train-0.parquet@a", "main/train-1.parquet@a"][..]),
        ("o/d:main", "test", &["main/test-0.parquet@a"]),
        ("o/d:main/train", "x", &["main/train-0.parquet@a", "main/train-1.parquet@a"]),
        ("o/d:main/train-1.parquet", "x", &["main/train-1.parquet@a"]),
        ("o/script", "train", &["default/train/0000.parquet@c"]),
        ("o/script:test", "train", &["default/partial-test/0000.parquet@c"]),
    ] {
        let found = hub.data(&name(asked), &[split]).unwrap_or_else(|e| panic!("{asked}: {e}"));
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.to_string().contains(&format!(":{expected}")), "{found}, not {expected}");
            assert!(found.cached(cache.path(), Kind::Data).is_some());
        }
        assert_eq!(found.len(), expected.len(), "{asked}");
        // What is pinned needs no hub.
        server.asked();
        assert_eq!(hub.data(&found[0], &["train"]).unwrap(), found[..1]);
        assert_eq!(server.asked(), [""; 0]);
    }
    let error = hub.data(&name("o/d:main/dev"), &["train"]).unwrap_err().to_string();
    assert!(error.contains("it has main/train, main/test"), "{error}");
    let offline = Hub { offline: true, ..hub };
    assert_eq!(
        offline.data(&name("o/d:main/test"), &["train"]).unwrap().len(),
        1,
        "by their names"
    );
}

/// A full disk, as far as one program can have it for itself: no file of more than so many blocks.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_that_looks_whole() {
    const CACHE: &str = "SRFT_HUB_TEST_CACHE";
    if let Some(cache) = std::env::var_os(CACHE) {
        let server = Server::new();
        server.put("models/o/m", model('a'));
        let error = hub(&server, Path::new(&cache)).model(&name("o/m")).unwrap_err().to_string();
        assert!(
            error.contains("free some space") && error.contains("goes on where it stopped"),
            "{error}"
        );
        return;
    }
    let (server, cache) = there();
    let program = std::env::current_exe().unwrap();
    let status = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact a_full_disk_leaves_nothing_that_looks_whole"])
        .arg(program)
        .env(CACHE, cache.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let left = below(cache.path());
    assert!(
        left.iter().any(|path| path.extension().is_some_and(|end| end == "incomplete")),
        "{left:?}"
    );
    let offline = Hub { offline: true, ..hub(&server, cache.path()) };
    assert!(offline.model(&name("o/m")).is_err());
    hub(&server, cache.path()).model(&name("o/m")).unwrap();
    assert!(server.asked().iter().any(|line| line.contains("bytes=")), "it goes on");
}
