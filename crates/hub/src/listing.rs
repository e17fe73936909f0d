//! What a repository holds at a revision.

use crate::client::{Hub, Trouble};
use serde::Deserialize;
use serde_json::Value;
use srft_formats::error::{Error, Result};
use srft_formats::hub::{Kind, Name, is_commit, stays};
use std::collections::BTreeMap;

/// Longest answer about a repository, bytes.
const MOST: u64 = 64 << 20;

/// A repository at a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Name and commit.
    pub name: Name,
    pub kind: Kind,
    /// Its files by their paths.
    pub files: BTreeMap<String, File>,
    /// What the head of its README says.
    pub card: Value,
}

/// A file as the hub describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct File {
    pub size: u64,
    /// SHA-256 of a large file, and of a small one git's SHA-1; also the name of its blob in the cache.
    pub hash: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    card_data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

fn is_hash(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Hub {
    /// Asks what a repository holds.
    pub(crate) fn listing(&self, name: &Name, kind: Kind) -> std::result::Result<Listing, Trouble> {
        let revision = name.revision().replace('/', "%2F");
        let (api, repo) = (kind.plural(), &name.repo);
        let url = format!("{}/api/{api}/{repo}/revision/{revision}?blobs=true", self.endpoint);
        let mut response = self.again(|| self.get(&url, 0))?;
        let cut = |e: &dyn std::fmt::Display| {
            Trouble::Cut(format!("its answer is no list of files: {e}"))
        };
        let body = response.body_mut().with_config().limit(MOST);
        let bytes = body.read_to_vec().map_err(|e| cut(&e))?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|e| cut(&e))?;
        if !is_commit(&answer.sha) {
            return Err(cut(&"it names no commit"));
        }
        let mut files = BTreeMap::new();
        for Sibling { rfilename, size, blob_id, lfs } in answer.siblings {
            // What would lie elsewhere than in the cache is as if it were not there.
            if !stays(&rfilename) {
                continue;
            }
            let (size, hash) = match (lfs, size, blob_id) {
                (Some(lfs), ..) => (lfs.size, lfs.sha256),
                (None, Some(size), Some(hash)) => (size, hash),
                _ => continue,
            };
            if is_hash(&hash) {
                files.insert(rfilename, File { size, hash });
            }
        }
        let name = name.at(&name.part, &answer.sha);
        Ok(Listing { name, kind, files, card: answer.card_data })
    }

    /// Tries a request again where that may help.
    pub(crate) fn again<T>(
        &self,
        mut request: impl FnMut() -> std::result::Result<T, Trouble>,
    ) -> std::result::Result<T, Trouble> {
        for wait in [1, 2] {
            match request() {
                Err(Trouble::Cut(_)) => std::thread::sleep(self.pause * wait),
                done => return done,
            }
        }
        request()
    }
}

impl Listing {
    /// The paths of the files for which `is_such` is true.
    pub fn paths(&self, is_such: impl Fn(&str) -> bool) -> Vec<String> {
        self.files.keys().filter(|path| is_such(path)).cloned().collect()
    }

    /// An error about this repository.
    pub fn lacks(&self, what: impl Into<String>, next: impl Into<String>) -> Error {
        Error::input(what).at(&self.name).next(next)
    }

    /// A file as the hub describes it.
    pub fn file(&self, path: &str) -> Result<&File> {
        let lacks = || self.lacks(format!("it has no file `{path}`"), "see what it has on the hub");
        self.files.get(path).ok_or_else(lacks)
    }
}
