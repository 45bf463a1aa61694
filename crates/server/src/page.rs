//! The chat page at `/`: a handful of files in the binary, and nothing from anywhere else.
//!
//! The page's own policy forbids what it does not need. Scripts and styles come from this server
//! and are never inline, a text can never become markup where browsers enforce trusted types, and
//! the only place it talks to is where it came from. Nothing else that this server sends can run in
//! its stead: no reply says it is a script, and browsers are told not to guess.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::error::{ApiError, Family, Kind};

/// What the page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// One file.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of this folder.
macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("page/", $file)),
        }
    };
}

const ASSETS: [Asset; 17] = [
    asset!("/", HTML, "index.html"),
    asset!("/page/style.css", CSS, "style.css"),
    asset!("/page/icon.svg", "image/svg+xml", "icon.svg"),
    asset!("/page/theme.js", SCRIPT, "theme.js"),
    asset!("/page/app.js", SCRIPT, "app.js"),
    asset!("/page/api.js", SCRIPT, "api.js"),
    asset!("/page/chats.js", SCRIPT, "chats.js"),
    asset!("/page/dialogs.js", SCRIPT, "dialogs.js"),
    asset!("/page/dom.js", SCRIPT, "dom.js"),
    asset!("/page/frame.js", SCRIPT, "frame.js"),
    asset!("/page/keys.js", SCRIPT, "keys.js"),
    asset!("/page/markdown.js", SCRIPT, "markdown.js"),
    asset!("/page/message.js", SCRIPT, "message.js"),
    asset!("/page/run.js", SCRIPT, "run.js"),
    asset!("/page/store.js", SCRIPT, "store.js"),
    asset!("/page/transfer.js", SCRIPT, "transfer.js"),
    asset!("/page/tree.js", SCRIPT, "tree.js"),
];

/// One tag for all of them: they belong together, and change with the program alone.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut hash = blake3::Hasher::new();
    for asset in &ASSETS {
        hash.update(asset.text.as_bytes());
    }
    let tag = format!("\"{}\"", &hash.finalize().to_hex()[..32]);
    tag.parse().unwrap_or(HeaderValue::from_static("\"ds4\""))
});

/// Whether a path is of the page: nobody needs a key to read it, it holds no secret.
pub(crate) fn is_of_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// A file of the page.
pub(crate) async fn page(request: Request) -> Response<Body> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path == request.uri().path());
    match asset {
        Some(asset) => asset.response(request.headers()),
        None => {
            let message = "the page has no such file";
            ApiError::new(Kind::NotFound, message).response(Family::OpenAi)
        }
    }
}

impl Asset {
    fn response(&self, asked: &HeaderMap) -> Response<Body> {
        let known = asked
            .get(IF_NONE_MATCH)
            .and_then(|known| known.to_str().ok());
        let tag = TAG.to_str().unwrap_or_default();
        let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
        let mut response = match is_known {
            true => Response::new(Body::empty()),
            false => Response::new(Body::from(self.text)),
        };
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers: [(HeaderName, &'static str); 5] = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
            // Asked for each time, answered by the tag: a new program shows its new page.
            (CACHE_CONTROL, "no-cache"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
        ];
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response.headers_mut().insert(ETAG, TAG.clone());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::{ASSETS, POLICY, SCRIPT};

    /// What the page may weigh: it is in every binary, and phones load it.
    const MOST_BYTES: usize = 96 << 10;

    #[test]
    fn nothing_comes_from_anywhere_else() {
        for asset in &ASSETS {
            let text = asset
                .text
                .replace("xmlns=\"http://www.w3.org/2000/svg\"", "")
                .replace("'http://www.w3.org/2000/svg'", "");
            for word in [
                "src=\"http",
                "href=\"http",
                "url(",
                "@import",
                "//cdn",
                "'http:",
            ] {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
        }
        let bytes: usize = ASSETS.iter().map(|asset| asset.text.len()).sum();
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    }

    #[test]
    fn the_page_keeps_to_its_policy() {
        for word in ["unsafe", "*", "http:", "https:", "data:", "blob:"] {
            assert!(!POLICY.contains(word), "{word}");
        }
        let html = ASSETS[0].text;
        for word in [
            " style=\"",
            "<style",
            " onclick",
            " onload",
            "javascript:",
            "<script>",
        ] {
            assert!(!html.contains(word), "{word}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "setAttribute('style'",
                "createContextualFragment",
            ] {
                assert!(!asset.text.contains(word), "{}: {word}", asset.path);
            }
        }
    }

    #[test]
    fn every_file_that_is_named_is_there() {
        for asset in &ASSETS {
            let names = asset.text.split(['"', '\'']).filter(|name| {
                name.starts_with("/page/") || (name.starts_with("./") && name.ends_with(".js"))
            });
            for name in names {
                let path = name.replacen("./", "/page/", 1);
                let there = ASSETS.iter().any(|asset| asset.path == path);
                assert!(there, "{} names {name}", asset.path);
            }
        }
        let html = ASSETS[0].text;
        let scripts = ASSETS.iter().filter(|asset| asset.kind == SCRIPT);
        for name in scripts.flat_map(|asset| asset.text.split("$('").skip(1)) {
            let id = name.split('\'').next().unwrap_or_default();
            assert!(
                html.contains(&format!("id=\"{id}\"")),
                "no #{id} in the page"
            );
        }
        for name in html.split("#icon-").skip(1) {
            let id = name.split(['"', '\'']).next().unwrap_or_default();
            assert!(html.contains(&format!("id=\"icon-{id}\"")), "no icon {id}");
        }
    }
}
