//! Requests to the hub, and what its answers mean.

use crate::Watch;
use srft_formats::error::Error;
use srft_formats::hub::{self, Kind, Name};
use std::env::var;
use std::fs::read_to_string;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// Longest wait for a connection, and for the first bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest time for a body; a longer download goes on in another request, and so does one that hangs.
const BODY: Duration = Duration::from_secs(600);

/// Where the hub is, who asks, and where files go.
pub struct Hub {
    /// `https://huggingface.co`, or a mirror of it.
    pub endpoint: String,
    /// Sent to the endpoint alone.
    pub token: Option<String>,
    /// The cache's folder.
    pub cache: PathBuf,
    /// Nothing is asked, and what is in the cache is used.
    pub offline: bool,
    /// The wait before a request is tried again, doubled each time.
    pub pause: Duration,
    /// Told how far it is.
    pub watch: Box<dyn Watch>,
    /// Makes the requests.
    pub agent: Agent,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The answer breaks off, or the hub has too much to do: another try may help.
    Cut(String),
    /// Nobody is there.
    Unreached(String),
    /// The hub's status, and the code that it gives as the reason.
    Refused(u16, String),
}

fn is_true(variable: &str) -> bool {
    var(variable)
        .is_ok_and(|value| ["1", "on", "yes", "true"].contains(&&*value.to_ascii_lowercase()))
}

/// A variable's text, unless it is empty.
fn given(variable: &str) -> Option<String> {
    var(variable).ok().map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

/// The token: a variable's, else the one that `hf auth login` stored.
fn token() -> Option<String> {
    let stored = || {
        let path = given("HF_TOKEN_PATH").map(PathBuf::from);
        read_to_string(path.or_else(|| Some(hub::home()?.join("token")))?).ok()
    };
    let token = given("HF_TOKEN").or_else(|| given("HUGGING_FACE_HUB_TOKEN"));
    let token = token.or_else(|| stored().filter(|_| !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")));
    token.map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

impl Hub {
    /// As the environment says, with the variables of Python's `huggingface_hub`.
    pub fn from_env(offline: bool, watch: Box<dyn Watch>) -> Self {
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let offline = offline || is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
        let cache = hub::cache().unwrap_or_else(|| "huggingface".into());
        let hub = Self::new(&endpoint, cache, watch);
        Self { offline, token: token(), ..hub }
    }

    /// One that asks `endpoint` without a token.
    pub fn new(endpoint: &str, cache: PathBuf, watch: Box<dyn Watch>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let config = Agent::config_builder()
            .user_agent(concat!("srft/", env!("CARGO_PKG_VERSION")))
            // No download falls back to plain text on the way.
            .https_only(endpoint.starts_with("https:"))
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_recv_body(Some(BODY))
            // A renamed repository answers from its new place; where files lie elsewhere, the token is not sent.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .tls_config(tls())
            .build();
        let (token, pause) = (None, Duration::from_secs(1));
        Self { endpoint, token, cache, offline: false, pause, watch, agent: config.into() }
    }

    /// Asks for an address, from byte `from` on.
    pub(crate) fn get(&self, url: &str, from: u64) -> std::result::Result<Response<Body>, Trouble> {
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|e| match e {
            ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                Trouble::Unreached(e.to_string())
            }
            _ => Trouble::Cut(e.to_string()),
        })?;
        let code = response.headers().get("X-Error-Code").and_then(|code| code.to_str().ok());
        match response.status().as_u16() {
            200 | 206 | 416 => Ok(response),
            status @ (429 | 500..) => Err(Trouble::Cut(format!("the hub answers {status}"))),
            status => Err(Trouble::Refused(status, code.unwrap_or_default().into())),
        }
    }

    /// A repository's page, for people.
    pub(crate) fn page(&self, name: &Name, kind: Kind) -> String {
        match kind {
            Kind::Model => format!("{}/{}", self.endpoint, name.repo),
            Kind::Data => format!("{}/datasets/{}", self.endpoint, name.repo),
        }
    }

    /// What the trouble with a repository means.
    pub(crate) fn error(&self, name: &Name, kind: Kind, trouble: Trouble) -> Error {
        let (what, page) = (word(kind), self.page(name, kind));
        let token = "a token in the variable HF_TOKEN, or stored by `hf auth login`";
        let (what, next) = match trouble {
            Trouble::Cut(why) | Trouble::Unreached(why) => (
                format!("no {what} of this path is here, and {} can't be reached: {why}", self.endpoint),
                "check the path or the network; --offline takes what was downloaded before, and a folder \
                 needs no network"
                    .into(),
            ),
            Trouble::Refused(401 | 403, code) if code == "GatedRepo" => (
                "its owners give it only to those who accept their terms".into(),
                format!("accept them on {page}, and give {token}"),
            ),
            Trouble::Refused(404, code) if code == "RevisionNotFound" => {
                (format!("there is no revision `{}`", name.revision()), format!("see {page}"))
            }
            Trouble::Refused(404, code) if code == "EntryNotFound" => {
                ("a file of it is gone".into(), format!("see {page}"))
            }
            // Without a token the hub doesn't tell a private repository from none.
            Trouble::Refused(401 | 404, _) => (
                format!("no {what} of this path is here, and none of this name on {}, or it is private", self.endpoint),
                format!("check the name; for a private one give {token}"),
            ),
            Trouble::Refused(403, _) => {
                ("the token has no right to it".into(), format!("give {token} that has it; see {page}"))
            }
            Trouble::Refused(status, code) => {
                (format!("the hub answers {status} {code}"), format!("see {page}"))
            }
        };
        Error::input(what).at(name).next(next)
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "model",
        Kind::Data => "data",
    }
}

#[cfg(any(windows, target_vendor = "apple"))]
fn tls() -> ureq::tls::TlsConfig {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    let builder = TlsConfig::builder().provider(TlsProvider::NativeTls);
    builder.root_certs(RootCerts::PlatformVerifier).build()
}

#[cfg(not(any(windows, target_vendor = "apple")))]
fn tls() -> ureq::tls::TlsConfig {
    ureq::tls::TlsConfig::default()
}
