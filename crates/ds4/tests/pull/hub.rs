//! A hub that misbehaves as told, over plain sockets and threads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How many requests were before it.
    pub(crate) number: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// First and last byte asked for.
    pub(crate) fn range(&self) -> (usize, usize) {
        let range = self
            .header("range")
            .unwrap()
            .strip_prefix("bytes=")
            .unwrap();
        let (first, last) = range.split_once('-').unwrap();
        (first.parse().unwrap(), last.parse().unwrap())
    }

    /// Is this the question where the file is, rather than one for its bytes?
    pub(crate) fn is_first(&self) -> bool {
        self.range() == (0, 0)
    }
}

/// What is sent back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Announced length, where it is not the body's.
    pub(crate) length: Option<usize>,
    /// Pause after every so many bytes.
    pub(crate) slow: Option<(usize, Duration)>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The part of `file` that was asked for, as an honest server sends it.
    pub(crate) fn part(file: &[u8], asked: &Asked) -> Self {
        let (first, last) = asked.range();
        if first >= file.len() {
            return Self::status(416);
        }
        let last = last.min(file.len() - 1);
        let place = format!("bytes {first}-{last}/{}", file.len());
        Self {
            body: file[first..=last].to_vec(),
            ..Self::status(206)
        }
        .with("Content-Range", place)
        .with("ETag", format!("\"{}\"", &sha256(file)[..16]))
    }
}

/// A server on a port of its own.
pub(crate) struct Hub {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Hub {
    /// Answers every request by `behave`.
    pub(crate) fn new(behave: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, behave)
    }

    /// The same over TLS, with a certificate for 127.0.0.1 and `hub.test`.
    pub(crate) fn secure(behave: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/hub.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/hub.key")).unwrap();
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        Self::start(Some(Arc::new(config)), behave)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        behave: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (all, stopped, behave) = (Arc::clone(&asked), Arc::clone(&stop), Arc::new(behave));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (all, behave, tls) = (Arc::clone(&all), Arc::clone(&behave), tls.clone());
                // A client that goes away ends its thread.
                thread::spawn(move || match tls {
                    None => serve(stream, &all, &*behave),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).ok()?;
                        serve(StreamOwned::new(connection, stream), &all, &*behave)
                    }
                });
            }
        });
        Self {
            address,
            asked,
            stop,
        }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener is waiting for somebody.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    mut stream: impl Read + Write,
    all: &Mutex<Vec<Asked>>,
    behave: &dyn Fn(&Asked) -> Reply,
) -> Option<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let asked = {
        let mut all = all.lock().unwrap();
        let number = all.len();
        let asked = Asked {
            path,
            headers,
            number,
        };
        all.push(asked.clone());
        asked
    };
    let reply = behave(&asked);
    let length = reply.length.unwrap_or(reply.body.len());
    let mut head = format!(
        "HTTP/1.1 {} x\r\nContent-Length: {length}\r\n",
        reply.status
    );
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let (bytes, pause) = reply.slow.unwrap_or((usize::MAX, Duration::ZERO));
    for piece in reply.body.chunks(bytes) {
        stream.write_all(piece).ok()?;
        stream.flush().ok()?;
        thread::sleep(pause);
    }
    Some(())
}

/// A proxy that brings whoever asks for anything to one place, and notes what was asked for.
pub(crate) struct Proxy {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn to(place: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (all, place) = (Arc::clone(&asked), place.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, place) = (Arc::clone(&all), place.clone());
                thread::spawn(move || tunnel(stream, &all, &place));
            }
        });
        Self { address, asked }
    }

    /// The first line of every request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(mut stream: TcpStream, all: &Mutex<Vec<String>>, place: &str) -> Option<()> {
    // Byte by byte: what follows the head is for the other end.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let first = String::from_utf8_lossy(&head).lines().next()?.to_owned();
    let connects = first.starts_with("CONNECT ");
    all.lock().unwrap().push(first);
    if !connects {
        return stream.write_all(b"HTTP/1.1 405 x\r\n\r\n").ok();
    }
    let mut other = TcpStream::connect(place).ok()?;
    stream.write_all(b"HTTP/1.1 200 x\r\n\r\n").ok()?;
    let (mut from, mut to) = (other.try_clone().ok()?, stream.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut stream, &mut other).ok()?;
    other.shutdown(std::net::Shutdown::Write).ok()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Bytes that look like nothing in particular.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}
