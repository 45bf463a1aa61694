//! The other end: where a file is, and ranges of its bytes.
//!
//! Nothing it says is believed without a check: sizes must agree with each other, a range must be
//! the one asked for, and a version must stay the same. Redirects are followed here rather than by
//! the HTTP library, because the token must reach the endpoint and nobody else.

use std::io::Read;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::manners::Hinted;

/// Where files are unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";
const MOST_REDIRECTS: usize = 10;
/// Longest waits: for a connection, for an answer, for the next bytes.
const CONNECT: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(60);
/// A server cannot make us wait longer than this between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Problem {
    /// It may go better later, perhaps at a time the server named.
    Passing(String, Option<Duration>),
    /// The address is no longer good: ask for a new one.
    Expired(String),
    /// It will not go better.
    Final(Error),
}

/// The hub, as this user reaches it.
pub(super) struct Remote {
    agent: Agent,
    endpoint: Uri,
    base: String,
    token: Option<String>,
}

/// A file in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) repository: String,
    pub(super) file: String,
    pub(super) revision: String,
}

/// Where the bytes are, and what was announced of them.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) url: Uri,
    pub(super) size: u64,
    pub(super) sha256: Option<String>,
    pub(super) commit: Option<String>,
    /// Tells this version from any other, as far as the server says.
    pub(super) identity: String,
    /// ETag of who serves the bytes.
    etag: Option<String>,
    /// Whether parts can be had.
    pub(super) has_ranges: bool,
}

impl Remote {
    /// The endpoint of the environment, or the hub; `idle` is how long bytes may fail to come.
    pub(super) fn new(idle: Duration) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let base = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let base = base.trim_end_matches('/').to_owned();
        let endpoint: Uri = base.parse().ok().filter(is_web).with_context(|| {
            format!("HF_ENDPOINT is {base:?}; it must begin with https:// or http:// and a host")
        })?;
        let token = variable("HF_TOKEN");
        if let Some(token) = &token
            && !token.chars().all(|c| c.is_ascii_graphic())
        {
            bail!("HF_TOKEN holds characters that no token has");
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("ds4/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(idle))
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            endpoint,
            base,
            token,
        })
    }

    /// Finds a file, following redirects to whoever serves it.
    pub(super) fn find(&self, place: &Place) -> Result<Found, Problem> {
        let Place {
            repository,
            file,
            revision,
        } = place;
        let url = format!("{}/{repository}/resolve/{revision}/{file}", self.base);
        let url: Uri = url
            .parse()
            .map_err(|_| Problem::Final(anyhow::anyhow!("{url:?} is no address")))?;
        let (mut sha256, mut linked_size, mut linked_tag, mut commit) = (None, None, None, None);
        // One byte: enough to learn the size, and whether parts can be had.
        let (url, response) = self.get(&url, &(0..1), |headers| {
            let tag = text(headers, "x-linked-etag").map(|tag| tag.trim_matches('"').to_owned());
            sha256 = sha256
                .take()
                .or_else(|| tag.clone().filter(|tag| is_sha256(tag)));
            linked_tag = linked_tag.take().or(tag);
            linked_size = linked_size.or_else(|| number(headers, "x-linked-size"));
            let name = text(headers, "x-repo-commit").filter(|name| is_plain(name));
            commit = commit.take().or(name);
        })?;
        self.check(place, &url, &response)?;
        let headers = response.headers();
        let etag = text(headers, "etag");
        let (has_ranges, size) = match response.status().as_u16() {
            206 => (true, content_range(headers).map(|(_, total)| total)),
            _ => (false, number(headers, "content-length")),
        };
        let size = match (size, linked_size) {
            (Some(size), Some(linked)) if size != linked => {
                return Err(fatal(format!(
                    "{} says that {file} has {linked} bytes, who serves it says {size}",
                    self.base
                )));
            }
            (size, linked) => size.or(linked),
        };
        let size = size.filter(|&size| size > 0);
        let size =
            size.ok_or_else(|| fatal(format!("the server does not say how long {file} is")))?;
        let identity = match (&sha256, linked_tag.or_else(|| etag.clone())) {
            (Some(hash), _) => format!("sha256:{hash}"),
            (None, Some(tag)) => format!("etag:{tag}"),
            (None, None) => "none".to_owned(),
        };
        // It goes into a file of lines.
        if identity.chars().any(char::is_control) || identity.len() > 1000 {
            return Err(fatal(format!("the server names {file} by {identity:?}")));
        }
        Ok(Found {
            url,
            size,
            sha256,
            commit,
            identity,
            etag,
            has_ranges,
        })
    }

    /// The bytes of a range, and where they begin: at 0 if the server cannot give parts.
    pub(super) fn open(
        &self,
        place: &Place,
        found: &Found,
        range: &Range<u64>,
    ) -> Result<(u64, impl Read + use<>), Problem> {
        let (url, response) = self.get(&found.url, range, |_| {})?;
        self.check(place, &url, &response)?;
        let headers = response.headers();
        let etag = text(headers, "etag");
        if etag.is_some() && found.etag.is_some() && etag != found.etag {
            return Err(Problem::Expired(
                "the file has another ETag than before".into(),
            ));
        }
        let start = match (response.status().as_u16(), content_range(headers)) {
            (206, Some((start, total))) => {
                if start != range.start || total != found.size {
                    return Err(Problem::Passing(
                        format!(
                            "asked for byte {} of {}, offered byte {start} of {total}",
                            range.start, found.size
                        ),
                        None,
                    ));
                }
                start
            }
            (206, None) => return Err(Problem::Passing("a part without its place".into(), None)),
            _ if found.has_ranges && range.start > 0 => {
                return Err(Problem::Passing(
                    "the server ignored the range".into(),
                    None,
                ));
            }
            _ => match number(headers, "content-length") {
                Some(length) if length != found.size => {
                    let size = found.size;
                    let said = format!("{length} bytes offered of a file of {size}");
                    return Err(Problem::Passing(said, None));
                }
                _ => 0,
            },
        };
        let body = response.into_body().into_with_config().limit(u64::MAX);
        Ok((start, body.reader()))
    }

    /// A request for a range, through all redirects. `each` sees the headers that the endpoint
    /// itself sends.
    fn get(
        &self,
        url: &Uri,
        range: &Range<u64>,
        mut each: impl FnMut(&HeaderMap),
    ) -> Result<(Uri, Response<Body>), Problem> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let last = range.end - 1;
            let mut request = self
                .agent
                .get(&url)
                .header("Range", format!("bytes={}-{last}", range.start))
                .header("Accept-Encoding", "identity");
            let is_endpoint = same_origin(&url, &self.endpoint);
            if let Some(token) = self.token.as_ref().filter(|_| is_endpoint) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request
                .call()
                .map_err(|error| Problem::Passing(format!("{}: {error}", host(&url)), None))?;
            if is_endpoint {
                each(response.headers());
            }
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((url, response));
            }
            let to = text(response.headers(), "location");
            let to = to.ok_or_else(|| fatal(format!("{}: a redirect to nowhere", host(&url))))?;
            let next = join(&url, &to)
                .ok_or_else(|| fatal(format!("{}: a redirect to {to:?}", host(&url))))?;
            if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                let (from, to) = (host(&url), host(&next));
                return Err(fatal(format!(
                    "{from} redirects to {to} without encryption"
                )));
            }
            url = next;
        }
        Err(fatal(format!(
            "more than {MOST_REDIRECTS} redirects, the last to {}",
            host(&url)
        )))
    }

    /// What a status means.
    fn check(&self, place: &Place, url: &Uri, answer: &Response<Body>) -> Result<(), Problem> {
        let status = answer.status();
        let said = format!("{}: {status}", host(url));
        let is_endpoint = same_origin(url, &self.endpoint);
        let Place {
            repository, file, ..
        } = place;
        match status.as_u16() {
            200 | 206 => Ok(()),
            401 | 403 if !is_endpoint => Err(Problem::Expired(said)),
            401 | 403 => Err(Problem::Final(Hinted::failure(
                format!("{said}: {repository} may not be read"),
                match self.token {
                    Some(_) => {
                        "the token in HF_TOKEN has no right to it: see the repository's page"
                    }
                    None => "set HF_TOKEN to a token of an account that may read it",
                },
            ))),
            404 | 410 if is_endpoint => Err(Problem::Final(Hinted::failure(
                format!("{said}: there is no {file} in {repository}"),
                "ds4 pull --list names the files this program knows; they may have been renamed",
            ))),
            404 | 410 => Err(Problem::Expired(said)),
            416 => Err(Problem::Expired(format!(
                "{said}: the file is shorter than announced"
            ))),
            408 | 425 | 429 | 500..=599 => {
                let seconds = number(answer.headers(), "retry-after").map(Duration::from_secs);
                Err(Problem::Passing(
                    said,
                    seconds.map(|pause| pause.min(LONGEST_PAUSE)),
                ))
            }
            _ => Err(fatal(format!("{said}: an answer that makes no sense here"))),
        }
    }
}

fn fatal(message: String) -> Problem {
    Problem::Final(Error::msg(message))
}

fn is_web(url: &Uri) -> bool {
    matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
}

/// The host alone: addresses of signed downloads hold secrets.
fn host(url: &Uri) -> String {
    url.authority().map_or_else(String::new, |authority| {
        let text = authority.as_str();
        text.rsplit_once('@')
            .map_or(text, |parts| parts.1)
            .to_owned()
    })
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |url: &Uri| {
        let usual = if url.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        url.port_u16().unwrap_or(usual)
    };
    let same_host = match (a.host(), b.host()) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        _ => false,
    };
    same_host && a.scheme() == b.scheme() && port(a) == port(b)
}

/// Where a redirect leads.
fn join(from: &Uri, to: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    let whole = if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{}{to}", from.authority()?)
    } else {
        to.to_owned()
    };
    whole.parse().ok().filter(is_web)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// First byte and size in all, of `bytes 0-99/1000`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let value = text(headers, "content-range")?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

/// Are these 64 hexadecimal digits?
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from: Uri = "https://hub.test:8443/a/b?c".parse().expect("an address");
        let joined = |to: &str| join(&from, to).map(|url| url.to_string());
        assert_eq!(joined("/x").as_deref(), Some("https://hub.test:8443/x"));
        assert_eq!(
            joined("//cdn.test/y").as_deref(),
            Some("https://cdn.test/y")
        );
        assert_eq!(
            joined("http://cdn.test/y").as_deref(),
            Some("http://cdn.test/y")
        );
        for nowhere in ["file:///etc/passwd", "x", "", "https://"] {
            assert_eq!(joined(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn a_token_is_for_one_origin() {
        let same = |a: &str, b: &str| same_origin(&a.parse().expect("a"), &b.parse().expect("b"));
        assert!(same("https://hub.test/a", "https://HUB.test:443/b"));
        for other in [
            "http://hub.test/a",
            "https://hub.test:444/a",
            "https://hub.test.evil.test/a",
            "https://cdn.hub.test/a",
        ] {
            assert!(!same("https://hub.test/a", other), "{other}");
        }
    }

    #[test]
    fn secrets_of_an_address_are_not_said() {
        let url: Uri = "https://user:word@cdn.test/x?Signature=s"
            .parse()
            .expect("an address");
        assert_eq!(host(&url), "cdn.test");
    }
}
