//! The listening socket and its connections, from bind to the last byte.
//!
//! HTTP/1.1 only: wallets speak it, and whoever wants HTTP/2 or TLS has a proxy before us. Every connection is a
//! task that is owned here, and gone when [`serve`] returns.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::Connected;
use super::{App, answer};

/// Opens the listening socket; the error names the address and the remedy.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address}: the address is in use; stop the program that uses it (another rgsd?) or set \
             another one with listen"
        ),
        io::ErrorKind::PermissionDenied => anyhow!(
            "cannot listen on {address}: permission denied; set a port of 1024 or more with listen, or grant the \
             right to use lower ones (CAP_NET_BIND_SERVICE)"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow!(
            "cannot listen on {address}: this machine has no such address; set one of its own with listen, or \
             0.0.0.0 for all"
        ),
        _ => anyhow!(error).context(format!("cannot listen on {address}")),
    })
}

/// Answers until `stop` is ready. Then accepts no more, lets the answers that are under way finish, and cuts off
/// whoever has not taken theirs within 3 s.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>) {
    serve_within(LIMITS, listener, app, stop).await;
}

/// What clients may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send the head of a request, or stay idle between two.
    pub head: Duration,
    /// How long answers under way may take after the stop.
    pub drain: Duration,
}

/// 768 leaves room for the journal and the peers under the customary limit of 1,024 open files. A wallet opens a
/// connection for one request, so an idle one is not kept long.
const LIMITS: Limits = Limits { connections: 768, head: Duration::from_secs(10), drain: Duration::from_secs(3) };

pub(super) async fn serve_within(limits: Limits, listener: TcpListener, app: App, stop: impl Future<Output = ()>) {
    let metrics = Arc::clone(&app.metrics);
    let router = answer::router(app);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let stopping = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                let held = (permit, metrics.connected());
                connections.spawn(connection(stream, held, router.clone(), limits.head, stopping.clone()));
            }
        }
    }
    drop(listener);
    stopping.cancel();
    let drained = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "cut off clients that were too slow to take their answer");
        connections.shutdown().await;
    }
}

/// Waits for a client, and first for a place for it. A failure concerns one client, or passes (too many open
/// files): it is never the end of the service.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again in a second");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Answers one client's requests, one after another.
async fn connection(
    stream: TcpStream,
    _held: (OwnedSemaphorePermit, Connected),
    router: Router,
    head: Duration,
    stopping: CancellationToken,
) {
    // Without it, the end of an answer may wait for the client to acknowledge its beginning.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
