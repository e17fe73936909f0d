//! Names of models and data sets on the Hugging Face hub, and where its cache on disk keeps them: Python's
//! layout, `models--ORG--NAME/{refs/REVISION, snapshots/COMMIT/FILE}`. Nothing here touches a network.

use crate::platform::IS_PAGE;
use std::borrow::Cow;
use std::env::{home_dir, var_os};
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    Data,
}

impl Kind {
    /// The word for it in the hub's addresses, and in the cache's folders.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Data => "datasets",
        }
    }
}

/// `org/name[:part][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// `org/name`.
    pub repo: String,
    /// A file, or a data set's `config/split`; empty for the whole.
    pub part: String,
    /// A branch, tag or commit; empty for `main`.
    pub revision: String,
}

/// Whoever writes these means a file on disk, even if it isn't there.
const FILES: [&str; 8] =
    [".jsonl", ".json", ".csv", ".parquet", ".gz", ".gguf", ".safetensors", ".toml"];

/// The branch that is meant where none is named.
pub const MAIN: &str = "main";

impl Name {
    /// The name in a text of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, revision) = match text.rsplit_once('@') {
            Some((_, "")) => return None,
            Some((rest, revision)) => (rest, revision),
            None => (text, ""),
        };
        let (repo, part) = match rest.split_once(':') {
            Some((_, "")) => return None,
            Some((repo, part)) => (repo, part),
            None => (rest, ""),
        };
        let is_word = |word: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && word.chars().all(is_plain)
                && !word.contains("..")
                && !word.contains("--")
        };
        let (org, name) = repo.split_once('/')?;
        let is_file = part.is_empty() && FILES.iter().any(|end| repo.ends_with(end));
        let fits = is_word(org) && is_word(name) && !is_file;
        let fits = fits && [part, revision].iter().all(|path| path.is_empty() || stays(path));
        fits.then(|| Self { repo: repo.into(), part: part.into(), revision: revision.into() })
    }

    /// The name that a path or name means, unless something of that path is on disk.
    pub fn of(text: &str) -> Option<Self> {
        if IS_PAGE || Path::new(text).exists() {
            return None;
        }
        Self::parse(text)
    }

    /// The same at a commit.
    #[must_use]
    pub fn at(&self, part: &str, commit: &str) -> Self {
        Self { repo: self.repo.clone(), part: part.into(), revision: commit.into() }
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        if self.revision.is_empty() { MAIN } else { &self.revision }
    }

    /// The repository's folder in a cache.
    pub fn folder(&self, cache: &Path, kind: Kind) -> PathBuf {
        cache.join(format!("{}--{}", kind.plural(), self.repo.replace('/', "--")))
    }

    /// The commit that a cache has under this revision.
    pub fn commit(&self, cache: &Path, kind: Kind) -> Option<String> {
        if is_commit(self.revision()) {
            return Some(self.revision().into());
        }
        let path = self.folder(cache, kind).join("refs").join(self.revision());
        let commit = std::fs::read_to_string(path).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    /// Where a cache has it.
    pub fn cached(&self, cache: &Path, kind: Kind) -> Option<PathBuf> {
        let commit = self.commit(cache, kind)?;
        let snapshot = self.folder(cache, kind).join("snapshots").join(commit);
        let path = if self.part.is_empty() { snapshot } else { snapshot.join(&self.part) };
        path.exists().then_some(path)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.repo)?;
        for (mark, text) in [(':', &self.part), ('@', &self.revision)] {
            if !text.is_empty() {
                write!(f, "{mark}{text}")?;
            }
        }
        Ok(())
    }
}

/// Whether a revision is a commit, which never changes.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a path stays in the folder that it is joined to, on every system.
pub fn stays(path: &str) -> bool {
    let is_plain = |part: Component| matches!(part, Component::Normal(_));
    let is_odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
    !path.is_empty() && !path.contains(is_odd) && Path::new(path).components().all(is_plain)
}

/// The folder of a variable that is set and not empty.
fn folder(variable: &str) -> Option<PathBuf> {
    var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where Python's `huggingface_hub` keeps everything.
pub fn home() -> Option<PathBuf> {
    let cache = || folder("XDG_CACHE_HOME").or_else(|| Some(home_dir()?.join(".cache")));
    folder("HF_HOME").or_else(|| Some(cache()?.join("huggingface")))
}

/// The cache of models and data sets.
pub fn cache() -> Option<PathBuf> {
    let named = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
    named.or_else(|| Some(home()?.join("hub")))
}

/// Where a path, or a name whose files are in the cache, is on disk.
pub fn located(text: &str, kind: Kind) -> PathBuf {
    let cached = || Name::of(text)?.cached(&cache()?, kind);
    cached().unwrap_or_else(|| text.into())
}

/// A path as a path, and a pinned name as one: `org/name/file`.
pub fn as_path(text: &str) -> Cow<'_, str> {
    let pinned = || Name::parse(text).filter(|name| is_commit(&name.revision));
    match (!IS_PAGE && text.contains('@')).then(pinned).flatten() {
        Some(name) => Cow::Owned(format!("{}/{}", name.repo, name.part)),
        None => Cow::Borrowed(text),
    }
}

/// The name of a model in the cache, at its commit.
pub fn name_of(path: &Path) -> Option<Name> {
    if IS_PAGE {
        return None;
    }
    let parts: Vec<&str> = path
        .strip_prefix(cache()?)
        .ok()?
        .iter()
        .map(|part| part.to_str())
        .collect::<Option<_>>()?;
    let [repo, "snapshots", commit, part @ ..] = parts.as_slice() else { return None };
    let repo = repo.strip_prefix("models--")?.replacen("--", "/", 1);
    let name = Name { repo, part: part.join("/"), revision: commit.to_string() };
    Name::parse(&name.to_string()).filter(|name| is_commit(&name.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let pinned = format!("a/b:f/x.gguf@{commit}");
        for (text, parts) in [
            ("Qwen/Qwen2.5-0.5B", ["Qwen/Qwen2.5-0.5B", "", ""]),
            ("a/b@refs/pr/1", ["a/b", "", "refs/pr/1"]),
            ("a/b:main/train@v1.0", ["a/b", "main/train", "v1.0"]),
            (&pinned, ["a/b", "f/x.gguf", commit]),
        ] {
            let name = Name::parse(text).expect(text);
            assert_eq!([&name.repo, &name.part, &name.revision], parts, "{text}");
            assert_eq!(name.to_string(), text);
            let path = if name.revision == commit { "a/b/f/x.gguf" } else { text };
            assert_eq!(as_path(text), path);
        }
        for path in [
            "tiny",
            "./a/b",
            "/a/b",
            "a/b/c",
            "../b",
            "a/..",
            "a/b@",
            "a/b:",
            "a/b c",
            "C:/a",
            r"a\b",
            "data/train.jsonl",
            "m/F.gguf",
            "a/b:../c",
            "a/b:/etc/x",
            "a/b@../x",
            r"a/b:c\..\d",
            "~/m",
        ] {
            assert_eq!(Name::parse(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_cached_is_found_by_branch_and_commit() {
        let cache = tempfile::tempdir().unwrap();
        let (name, commit) = (Name::parse("a/b").unwrap(), "0".repeat(40));
        let folder = name.folder(cache.path(), Kind::Model);
        assert_eq!(folder, cache.path().join("models--a--b"));
        let snapshot = folder.join("snapshots").join(&commit);
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(name.cached(cache.path(), Kind::Model), None, "no ref");
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        std::fs::write(folder.join("refs/main"), &commit).unwrap();
        assert_eq!(name.cached(cache.path(), Kind::Model).as_deref(), Some(&*snapshot));
        assert_eq!(name.at("", &commit).cached(cache.path(), Kind::Model), Some(snapshot));
        assert_eq!(name.at("x.gguf", &commit).cached(cache.path(), Kind::Model), None);
        assert_eq!(name.cached(cache.path(), Kind::Data), None);
        std::fs::write(folder.join("refs/main"), "../../..").unwrap();
        assert_eq!(name.cached(cache.path(), Kind::Model), None, "a ref that is not a commit");
    }
}
