//! What a server says of itself: one GET, read within bounds.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use serde_json::Value;

use crate::manners::Hinted;

/// A server that answers.
#[derive(Debug)]
pub(super) struct Served {
    /// Where it is, without a slash at the end.
    pub(super) url: String,
    pub(super) model: String,
    /// Tokens.
    pub(super) context: u64,
}

/// Bytes of a reply.
const MOST: u64 = 1 << 20;

/// How long a server may take for a reply that it has ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a server what it serves.
///
/// # Errors
/// If nobody answers, a key is missing, or the model is not there yet.
pub(super) fn ask(url: &str, key: Option<&str>) -> Result<Served> {
    let url = url.trim_end_matches('/');
    let place = url.strip_prefix("http://").filter(|place| is_place(place));
    let Some(place) = place else {
        return Err(Hinted::senseless(
            format!("--url {url}: not a server of this program"),
            "it looks like http://127.0.0.1:8000, without a path",
        ));
    };
    let (status, body) = get(place, key).map_err(|error| unreachable(url, &error))?;
    if status == 401 {
        return Err(Hinted::failure(
            match key {
                None => format!("{url} asks for a key"),
                Some(_) => format!("{url} does not know this key"),
            },
            "put it in a file for --api-key-file, or set DS4_API_KEY",
        ));
    }
    let body: Option<Value> = serde_json::from_str(&body).ok().filter(|_| status == 200);
    let models = body.as_ref().and_then(|body| body.get("data")?.as_array());
    let Some(models) = models else {
        return Err(Hinted::failure(
            format!("what answers at {url} is no server of models (status {status})"),
            "is another program on this port? --url says where the server is",
        ));
    };
    let Some(model) = models.first() else {
        return Err(Hinted::failure(
            format!("{url} is still loading its model"),
            format!("curl {url}/health tells how far it is"),
        ));
    };
    let id = model
        .get("id")
        .and_then(Value::as_str)
        .filter(|id| is_id(id));
    let context = model.get("context_length").and_then(Value::as_u64);
    match (id, context) {
        (Some(id), Some(context)) => Ok(Served {
            url: url.to_owned(),
            model: id.to_owned(),
            context,
        }),
        _ => Err(Hinted::failure(
            format!("{url} does not say what its model is called and how long its context is"),
            "ds4 launch needs a server that ds4 serve started",
        )),
    }
}

fn unreachable(url: &str, error: &Error) -> Error {
    Hinted::failure(
        format!("no server answers at {url}: {error:#}"),
        "start one with ds4 serve -m FILE, or say with --url where it is",
    )
}

/// A host with or without a port.
fn is_place(place: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    !place.is_empty() && place.chars().all(is_plain)
}

/// A name that means nothing to shells, files and settings but itself.
fn is_id(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (1..=128).contains(&id.len()) && id.chars().all(is_plain)
}

/// Status and body of `/v1/models`.
fn get(place: &str, key: Option<&str>) -> Result<(u16, String)> {
    let has_port = place
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let address = match has_port {
        true => place.to_owned(),
        false => format!("{place}:80"),
    };
    let mut stream = connect(&address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n"));
    let key = key.unwrap_or_default();
    // HTTP/1.0: the reply ends where the connection does.
    let request = format!("GET /v1/models HTTP/1.0\r\nHost: {place}\r\n{key}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    stream.take(MOST).read_to_end(&mut reply)?;
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").context("it speaks no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("it speaks no HTTP")?, body.to_owned()))
}

fn connect(address: &str) -> Result<TcpStream> {
    let mut last = None;
    for one in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("no such host"), Error::from))
}
