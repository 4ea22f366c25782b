//! TCP connections that can be dropped from under the HTTP server: how an unreachable bitcoind looks to its clients.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Mode;

/// Accepts connections that end as soon as the mode is [`Mode::Down`] or the server is stopped.
pub(super) struct DroppingListener {
    listener: TcpListener,
    mode: watch::Receiver<Mode>,
    stop: CancellationToken,
}

impl DroppingListener {
    pub(super) fn new(listener: TcpListener, mode: watch::Receiver<Mode>, stop: CancellationToken) -> Self {
        Self { listener, mode, stop }
    }

    fn watched(&self, stream: TcpStream) -> DroppingStream {
        let (mut mode, stop) = (self.mode.clone(), self.stop.clone());
        let dropped = async move {
            tokio::select! {
                // An error says that the chain is gone, which is also an end.
                _ = mode.wait_for(|mode| *mode == Mode::Down) => {}
                () = stop.cancelled() => {}
            }
        };
        DroppingStream { stream, dropped: Some(Box::pin(dropped)) }
    }
}

impl Listener for DroppingListener {
    type Io = DroppingStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DroppingStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(_) if *self.mode.borrow() == Mode::Down => {}
                Ok((stream, addr)) => {
                    // Without it, answers would wait for acknowledgements; slower, but not wrong.
                    let _ = stream.set_nodelay(true);
                    return (self.watched(stream), addr);
                }
                // Out of file descriptors, most likely: others may be closed soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// See [`DroppingListener`].
pub(super) struct DroppingStream {
    stream: TcpStream,
    /// Ends when the connection shall; `None` once it did.
    dropped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl DroppingStream {
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<&mut TcpStream> {
        if let Some(dropped) = &mut self.dropped
            && dropped.as_mut().poll(context).is_ready()
        {
            self.dropped = None;
        }
        match self.dropped {
            Some(_) => Ok(&mut self.stream),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for DroppingStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.alive(cx)?).poll_read(cx, buf)
    }
}

impl AsyncWrite for DroppingStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.alive(cx)?).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
