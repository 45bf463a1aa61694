//! What `/health` says while a model is loaded.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ds4_server::{Config, Server};

use super::follow;
use crate::progress;

fn health(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// An upload that takes as long as it likes: between two reports of it somebody asks.
#[test]
fn health_says_how_far_an_upload_is() {
    let config = Config {
        address: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    let server = Server::bind(config, Box::new(io::sink())).unwrap();
    let (address, loading) = (server.address(), server.loading());
    let stop = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&stop);
    let running = thread::spawn(move || server.run(&stopped));
    follow(&loading, 81_000);
    let reply = health(address);
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    assert!(reply.contains(r#""loaded":0,"#), "{reply}");
    let upload = |report: &mut dyn FnMut(u64, u64) -> ControlFlow<()>| {
        for done in [0, 20_000, 79_999, 80_000] {
            assert!(report(done, 80_000).is_continue());
            let reply = health(address);
            assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
            assert!(reply.contains(r#""status":"loading""#), "{reply}");
            assert!(reply.contains(&format!(r#""loaded":{done},"#)), "{reply}");
            assert!(reply.contains(r#""total":80000"#), "{reply}");
        }
    };
    assert_eq!(progress::bytes(upload).unwrap().1, 80_000);
    stop.store(true, Ordering::Relaxed);
    assert!(running.join().unwrap().unwrap());
}
