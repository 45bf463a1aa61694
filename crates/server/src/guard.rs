//! Who may talk to the server: keys, and protection from pages of other origins.
//!
//! A page in somebody's browser can send requests to `127.0.0.1`, and a name that first resolves to
//! its own server and then to `127.0.0.1` makes the browser believe that both are one origin. So a
//! request of a page must come from the server's own origin or one that was listed, and the name a
//! client calls the server by must be an address, `localhost`, or one that was listed: an address
//! cannot be made to resolve elsewhere.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use crate::config::Config;
use crate::error::{ApiError, Kind};
use crate::tenant::{Keys, Tenant};

/// Checks the size of all headers. hyper bounds what it buffers, which may be more.
///
/// # Errors
/// If they are larger than allowed.
pub(crate) fn size(config: &Config, headers: &HeaderMap) -> Result<(), ApiError> {
    let most = config.limits.header_bytes;
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    match sizes.sum::<usize>() > most {
        true => Err(ApiError::new(
            Kind::Headers,
            format!("the headers are larger than {most} bytes"),
        )),
        false => Ok(()),
    }
}

/// Checks the name the server is called by.
///
/// # Errors
/// If it is neither an address nor known.
pub(crate) fn host(config: &Config, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(host) = headers.get(HOST) else {
        // HTTP/1.0, and no browser.
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    let name = name_of(host);
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let is_known = config
        .hosts
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&name));
    if is_local || is_known || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let message = format!(
        "this server is not called {name:?}; start it with --allow-host {name} if it should be"
    );
    Err(ApiError::new(Kind::Forbidden, message))
}

/// A host without its port, in lower case.
fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Which origin may read the reply: none without a page, `*` or the page's own if it is allowed.
///
/// # Errors
/// If a page of another origin asks.
pub(crate) fn origin(
    config: &Config,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(None);
    };
    let given = origin.to_str().unwrap_or_default();
    if config
        .origins
        .iter()
        .any(|known| known == "*" || known.eq_ignore_ascii_case(given))
    {
        return Ok(Some(origin.clone()));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = given
        .strip_prefix("http://")
        .or_else(|| given.strip_prefix("https://"));
    if own.is_some() && own == host {
        return Ok(None);
    }
    let shown: String = given
        .chars()
        .take(100)
        .flat_map(char::escape_default)
        .collect();
    let message = format!(
        "pages of {shown} may not use this server; start it with --cors {shown} if they should"
    );
    Err(ApiError::new(Kind::Forbidden, message))
}

/// Who has the key of this request.
///
/// # Errors
/// If there is none, or not one of ours.
pub(crate) fn tenant(keys: &Keys, headers: &HeaderMap) -> Result<Tenant, ApiError> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let own = headers
        .get("x-api-key")
        .and_then(|value| value.to_str().ok());
    // Some clients send both, one of them a leftover.
    let tenants = [bearer, own].map(|key| keys.tenant(key));
    let tenant = tenants.into_iter().flatten().next();
    tenant.ok_or_else(|| {
        let message = match bearer.or(own) {
            None => "a key is needed: Authorization: Bearer KEY, or x-api-key: KEY",
            Some(_) => "the key is not one of this server's",
        };
        ApiError::new(Kind::Unauthorized, message)
    })
}

#[cfg(test)]
mod tests {
    use super::{Config, HeaderMap, HeaderValue, host, origin};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_addresses_and_known_names() {
        let config = Config {
            hosts: vec!["Desk.lan".to_owned()],
            ..Config::default()
        };
        for good in [
            "127.0.0.1:8000",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8000",
            "192.168.1.7",
            "a.localhost:80",
            "desk.lan:8000",
            "localhost.",
        ] {
            assert!(host(&config, &headers(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in [
            "evil.com",
            "localhost.evil.com:8000",
            "127.0.0.1.nip.io",
            "",
            ":",
            "a b",
        ] {
            assert!(host(&config, &headers(&[("host", bad)])).is_err(), "{bad}");
        }
        assert!(host(&config, &headers(&[])).is_ok());
    }

    #[test]
    fn only_pages_of_our_own_or_listed() {
        let mut config = Config::default();
        let of = |config: &Config, page| {
            origin(
                config,
                &headers(&[("host", "localhost:8000"), ("origin", page)]),
            )
        };
        assert_eq!(of(&config, "http://localhost:8000"), Ok(None));
        for bad in [
            "http://localhost:8001",
            "https://evil.com",
            "null",
            "localhost:8000",
            "",
        ] {
            assert!(of(&config, bad).is_err(), "{bad}");
        }
        config.origins = vec!["https://app.example".to_owned()];
        let page = HeaderValue::from_static("https://app.example");
        assert_eq!(of(&config, "https://app.example"), Ok(Some(page)));
        assert!(of(&config, "https://evil.com").is_err());
        config.origins = vec!["*".to_owned()];
        assert!(of(&config, "https://evil.com").is_ok());
    }
}
