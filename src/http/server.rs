//! The listening socket and its connections, from bind to the last byte.
//!
//! HTTP/1.1 and HTTP/2, in cleartext or over TLS. Every connection is a task that is owned here, and gone when [`serve`]
//! returns.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::App;
use super::answer::answer;
use super::connections::{Connections, Limits, Line, Place, Watched};
use super::metrics::Connected;
use super::sending::Sending;
use super::tls::Tls;

/// Opens the listening socket; the error names the address and the remedy.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| match error.kind() {
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers until `stop` is ready. Then accepts no more, lets the answers that are under way finish, and cuts off
/// whoever has not taken theirs within 3 s.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, app: App, stop: impl Future<Output = ()>) {
    let limits = Limits { connections: room(), ..LIMITS };
    serve_within(limits, listener, tls, app, stop).await;
}

/// A wallet opens a connection for one request, on a phone's network. A reverse proxy keeps some for a minute.
pub(super) const LIMITS: Limits = Limits {
    connections: MOST_CONNECTIONS,
    first_request: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    stalled: Duration::from_secs(10),
    slowest_bytes_per_s: 4_096,
    patience: Duration::from_secs(30),
    age: Duration::from_secs(15 * 60),
    drain: Duration::from_secs(3),
};

/// An idle connection takes some ten kilobytes.
const MOST_CONNECTIONS: usize = 4_096;
/// Connections that the kernel may hold until they are accepted.
const BACKLOG: u32 = 4_096;
/// Open files that are left to the journal, the peers and the archive.
const OTHER_FILES: u64 = 256;

/// For how many connections the process may open files.
fn room() -> usize {
    let files = rlimit::Resource::NOFILE.get_soft().unwrap_or(1_024);
    usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).clamp(64, MOST_CONNECTIONS)
}

/// How often slow clients are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a request's head. Over HTTP/2: of its header list.
const HEAD_BYTES: usize = 16 << 10;
/// Requests at a time on one connection of HTTP/2.
const STREAMS: u32 = 32;
/// Bytes of requests' bodies, which nobody needs, that a client of HTTP/2 may send before it is told to go on: the least.
const UNREAD_BYTES: u32 = 65_535;
/// As much as a record of TLS holds. What is to be encrypted is copied first, per connection.
const TLS_PART_BYTES: usize = 16 << 10;

pub(super) async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    tls: Option<Tls>,
    app: App,
    stop: impl Future<Output = ()>,
) {
    let house = Arc::new(House { app: Arc::new(app), tls, stopping: CancellationToken::new(), http: http() });
    let connections = Connections::new(limits);
    let mut tasks = JoinSet::new();
    let mut looks = tokio::time::interval(LOOK_EVERY.min(limits.first_request / 2));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stop, mut rests_until) = (pin!(stop), None);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = tasks.join_next() => {}
            _ = looks.tick() => connections.look(house.app.desk.is_pressed()),
            stream = accept(&listener, &connections, &mut rests_until) => {
                let held = (connections.admit(), house.app.metrics.connected());
                tasks.spawn(connection(stream, held, Arc::clone(&house), limits));
            }
        }
    }
    drop(listener);
    house.stopping.cancel();
    let drained = timeout(limits.drain, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = tasks.len(), "cut off clients that were too slow to take their answer");
        tasks.shutdown().await;
    }
}

/// What all connections share.
struct House {
    app: Arc<App>,
    tls: Option<Tls>,
    stopping: CancellationToken,
    http: Builder<TokioExecutor>,
}

/// HTTP/1.1, and HTTP/2 for whoever begins with it (in cleartext: by prior knowledge).
fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // How long a head may take is the register's matter, which knows of the bytes before it, too.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).half_close(true).max_buf_size(HEAD_BYTES);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32).max_concurrent_streams(STREAMS);
    builder.http2().initial_connection_window_size(UNREAD_BYTES).initial_stream_window_size(UNREAD_BYTES);
    builder
}

/// Waits for a client. A failure concerns one client, or passes (too many open files): it is never the end of the
/// service. Others make room then, and it rests for a second, also where it is begun anew meanwhile.
async fn accept(listener: &TcpListener, connections: &Connections, rests_until: &mut Option<Instant>) -> TcpStream {
    loop {
        if let Some(until) = *rests_until {
            sleep_until(until).await;
            *rests_until = None;
        }
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again in a second");
                connections.make_room();
                *rests_until = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }
}

/// Answers one client's requests until it has no more, takes too long, or is to make room.
async fn connection(stream: TcpStream, (place, _counted): (Place, Connected), house: Arc<House>, limits: Limits) {
    // Without it, the end of an answer may wait for the client to acknowledge its beginning.
    let _ = stream.set_nodelay(true);
    let line = Arc::clone(&place.line);
    let stream = Watched::new(stream, Arc::clone(&line));
    let talk = async {
        match &house.tls {
            None => talk(TokioIo::new(stream), usize::MAX, &line, &house, limits).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => talk(TokioIo::new(stream), TLS_PART_BYTES, &line, &house, limits).await,
                Err(error) => tracing::debug!(error = format!("{error:#}"), "a TLS handshake failed"),
            },
        }
    };
    tokio::select! {
        () = talk => {}
        () = line.closed() => tracing::debug!("let go of a slow or idle client"),
    }
}

async fn talk<S>(io: TokioIo<S>, part_bytes: usize, line: &Arc<Line>, house: &House, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        line.asked();
        let (answer, line) = (answer(Arc::clone(&house.app), request), Arc::clone(line));
        async move { answer.await.map(|answer| answer.map(|bytes| Sending::new(bytes, part_bytes, &line))) }
    });
    let mut connection = pin!(house.http.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = house.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = sleep(limits.age) => {
            connection.as_mut().graceful_shutdown();
            timeout(limits.age, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}
