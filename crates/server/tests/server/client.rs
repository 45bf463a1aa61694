//! A client of bytes: what it sends and when is up to the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Bytes that came and were not taken.
    ahead: Vec<u8>,
}

/// The head of a reply.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: String,
}

/// An event of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: String,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body of a reply that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status(), 200, "{}", self.body);
        self.json()
    }

    /// The events of a stream.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.body.split_terminator("\n\n").map(event).collect()
    }

    /// The events that are JSON.
    #[track_caller]
    pub(crate) fn datas(&self) -> Vec<Value> {
        assert_eq!(self.status(), 200, "{}", self.body);
        assert_eq!(self.head.header("content-type"), Some("text/event-stream"));
        let events = self.events().into_iter();
        let datas = events.filter(|event| event.data != "[DONE]");
        datas
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect()
    }
}

fn event(text: &str) -> Event {
    let mut event = Event {
        name: None,
        data: String::new(),
    };
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = Some(name.to_owned()),
            Some(("data", data)) => event.data.push_str(data),
            _ => panic!("not a line of an event: {line:?}"),
        }
    }
    event
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    /// Sends a request. Whether it went out; a server may refuse before it has read everything.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has = |name: &str| {
            headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        if method == "POST" && !has("transfer-encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let _ = self.stream.write_all(head.as_bytes());
        let _ = self.stream.write_all(body.as_bytes());
    }

    /// The head of the next reply.
    pub(crate) fn head(&mut self) -> Head {
        let end = loop {
            let found = self.ahead.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            match found {
                Some(end) => break end,
                None => assert!(self.more() > 0, "no head: {:?}", self.ahead),
            }
        };
        let text = String::from_utf8(self.ahead.drain(..end + 4).collect()).unwrap();
        let mut lines = text.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Head {
            status,
            headers: headers.collect(),
        }
    }

    /// The next part of a body in chunks; none at its end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        while self.ahead.len() < size + 2 {
            if self.more() == 0 {
                return None;
            }
        }
        let bytes: Vec<u8> = self.ahead.drain(..size).collect();
        self.ahead.drain(..2);
        (size > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    /// The whole next reply.
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let mut body = String::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                body.push_str(&chunk);
            }
        } else if let Some(length) = head.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.ahead.len() < length && self.more() > 0 {}
            let bytes: Vec<u8> = self.ahead.drain(..length).collect();
            body = String::from_utf8(bytes).unwrap();
        }
        Reply { head, body }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|bytes| bytes == b"\r\n") {
                let bytes: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Some(String::from_utf8(bytes).unwrap());
            }
            if self.more() == 0 {
                return None;
            }
        }
    }

    /// Reads what there is; 0 at the end.
    pub(crate) fn more(&mut self) -> usize {
        let mut bytes = [0; 16 << 10];
        let count = self.stream.read(&mut bytes).unwrap_or(0);
        self.ahead.extend_from_slice(&bytes[..count]);
        count
    }
}
