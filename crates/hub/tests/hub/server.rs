//! A server that speaks the hub's protocol, as `huggingface_hub` 2.4 expects it, with the faults of networks.

use sha1::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What goes wrong with the bytes of large files.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// The connection closes after so many bytes of an answer.
    Cut(usize),
    /// `Cut`, and ranges are ignored.
    CutWithoutRanges(usize),
    /// Other bytes.
    Altered,
    /// More bytes than the list says.
    Longer,
    /// No length, and no end.
    Endless,
    /// A redirect to itself.
    Loop,
}

pub struct State {
    /// By `models/o/m` or `datasets/o/d`, then by revision.
    pub repos: BTreeMap<String, BTreeMap<String, Repo>>,
    pub fault: Fault,
    /// Answers every question about a repository: status and code.
    pub refuses: Option<(u16, &'static str)>,
    /// Each request's line, with its range and whether it had the token.
    pub asked: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Repo {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub card: serde_json::Value,
}

pub struct Server {
    pub address: String,
    pub state: Arc<Mutex<State>>,
}

/// As on the hub, large files are elsewhere.
fn is_large(path: &str) -> bool {
    [".safetensors", ".gguf", ".parquet"].iter().any(|end| path.ends_with(end))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(path: &str, bytes: &[u8]) -> String {
    match is_large(path) {
        true => hex(sha2::Sha256::digest(bytes)),
        false => {
            hex(sha1::Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
        }
    }
}

impl Repo {
    pub fn new(commit: char, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect();
        Self { commit: commit.to_string().repeat(40), files, card: serde_json::Value::Null }
    }

    fn listing(&self) -> String {
        let siblings = self.files.iter().map(|(path, bytes)| {
            let (hash, size) = (hash(path, bytes), bytes.len());
            match is_large(path) {
                true => {
                    serde_json::json!({"rfilename": path, "size": size, "blobId": "0".repeat(40),
                    "lfs": {"sha256": hash, "size": size, "pointerSize": 130}})
                }
                false => serde_json::json!({"rfilename": path, "size": size, "blobId": hash}),
            }
        });
        let siblings: Vec<_> = siblings.collect();
        serde_json::json!({"sha": self.commit, "siblings": siblings, "cardData": self.card, "private": false})
            .to_string()
    }
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state =
            State { repos: BTreeMap::new(), fault: Fault::None, refuses: None, asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let server = Self { address, state: state.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || answer(stream, &state));
            }
        });
        server
    }

    /// Puts a repository on the branch `main` and at its commit.
    pub fn put(&self, id: &str, repo: Repo) {
        self.put_at(id, "main", repo);
    }

    pub fn put_at(&self, id: &str, revision: &str, repo: Repo) {
        let mut state = self.state.lock().unwrap();
        let revisions = state.repos.entry(id.into()).or_default();
        revisions.insert(repo.commit.clone(), repo.clone());
        revisions.insert(revision.into(), repo);
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

/// Answers one request; errors are the client's leaving.
fn answer(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let head: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let value = |name: &str| {
        let mut fields = head.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string())
    };
    let path = first.split(' ').nth(1)?.split('?').next()?.replace("%2F", "/");
    let range = value("range");
    let mut state = state.lock().unwrap();
    let token =
        if value("authorization").as_deref() == Some("Bearer secret") { " token" } else { "" };
    state.asked.push(format!("{path} {}{token}", range.clone().unwrap_or_default()).trim().into());
    let mut out = stream;
    let mut reply = |status: &str, fields: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        out.write_all(&[head.as_bytes(), body].concat()).ok()
    };
    if let Some(hash_asked) = path.strip_prefix("/cdn/") {
        let mut repos = state.repos.values().flat_map(|revisions| revisions.values());
        let found = repos.find_map(|repo| {
            repo.files.iter().find(|(path, bytes)| hash(path, bytes) == hash_asked)
        });
        let mut bytes = found?.1.clone();
        let from: usize = range
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
            .unwrap_or(0);
        let all = bytes.len();
        let whole = |bytes: &[u8]| {
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            )
        };
        let (head, body) = match state.fault {
            Fault::Loop => {
                return reply("302 Found", &format!("Location: {path}\r\n"), b"");
            }
            Fault::Endless => {
                out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
                drop(state);
                while out.write_all(&[7; 4096]).is_ok() {}
                return None;
            }
            Fault::Altered => {
                bytes[0] ^= 1;
                (whole(&bytes), bytes)
            }
            Fault::Longer => {
                bytes.push(0);
                (whole(&bytes), bytes)
            }
            Fault::CutWithoutRanges(at) => {
                // The second answer is whole, or it would never end.
                let at = if from > 0 { all } else { at };
                (whole(&bytes), bytes[..at.min(all)].to_vec())
            }
            Fault::Cut(_) | Fault::None => {
                let most = if let Fault::Cut(at) = state.fault { at } else { all };
                let body = bytes[from..all.min(from + most)].to_vec();
                let fields = format!(
                    "Content-Range: bytes {from}-{}/{all}\r\nContent-Length: {}\r\n",
                    all - 1,
                    all - from
                );
                (format!("HTTP/1.1 206 Partial\r\nConnection: close\r\n{fields}\r\n"), body)
            }
        };
        // A whole answer to no range is a 200.
        let head = if from == 0 { head.replace("206 Partial", "200 OK") } else { head };
        return out.write_all(&[head.as_bytes(), &body].concat()).ok();
    }
    if let Some((status, code)) = state.refuses {
        return reply(&format!("{status} No"), &format!("X-Error-Code: {code}\r\n"), b"{}");
    }
    let (id, rest) = match path.strip_prefix("/api/") {
        Some(api) => api.split_once("/revision/")?,
        None => path[1..].split_once("/resolve/")?,
    };
    let is_api = path.starts_with("/api/");
    let id =
        if is_api || id.starts_with("datasets/") { id.to_string() } else { format!("models/{id}") };
    let Some(revisions) = state.repos.get(&id) else {
        return reply("401 Unauthorized", "X-Error-Code: RepoNotFound\r\n", b"{}");
    };
    if is_api {
        return match revisions.get(rest) {
            Some(repo) => reply("200 OK", "", repo.listing().as_bytes()),
            None => reply("404 Not Found", "X-Error-Code: RevisionNotFound\r\n", b"{}"),
        };
    }
    let (commit, file) = rest.split_once('/')?;
    let Some(bytes) = revisions.get(commit).and_then(|repo| repo.files.get(file)) else {
        return reply("404 Not Found", "X-Error-Code: EntryNotFound\r\n", b"");
    };
    let hash = hash(file, bytes);
    match is_large(file) {
        // Another host, to which no token may go.
        true => {
            let host = value("host")?.replace("127.0.0.1", "localhost");
            let size = bytes.len();
            let fields = format!(
                "X-Repo-Commit: {commit}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {size}\r\nLocation: http://{host}/cdn/{hash}\r\n"
            );
            reply("302 Found", &fields, b"")
        }
        false => {
            reply("200 OK", &format!("X-Repo-Commit: {commit}\r\nETag: \"{hash}\"\r\n"), bytes)
        }
    }
}
