//! Connections: accepted within bounds, served over HTTP/1.1, ended tidily.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::route::Peer;

/// How often the server looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

/// Accepts connections until `stop`, then waits for what is under way, within patience. Whether
/// everything ended by itself.
pub(crate) async fn listen(
    app: &App,
    listener: TcpListener,
    router: Router,
    stop: &AtomicBool,
) -> bool {
    let limits = &app.config.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(app.config.patience.headers)
        .max_headers(limits.headers)
        // hyper wants at least this.
        .max_buf_size(limits.header_bytes.max(8192));
    let service = TowerToHyperService::new(router);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    while !stop.load(Ordering::Relaxed) {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = match timeout(LOOK, accepted).await {
            Err(_) => continue,
            Ok(None) => break,
            Ok(Some(accepted)) => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Too many open files, most likely: some will be closed.
            sleep(LOOK).await;
            continue;
        };
        // Small events go out as they are written.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            service.call(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is no news.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    timeout(app.config.patience.drain, graceful.shutdown())
        .await
        .is_ok()
}
