//! Who is connected, and for how long clients may be slow.
//!
//! Each connection has a [`Line`], which notes when its client last asked for something, and how it takes its answer. A
//! client that takes its time is let go; where there is no room, so is whoever has been idle for the longest. So neither
//! idle nor slow clients, however many, keep a wallet from being answered.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// How long a client may take to send its first request, its part of TLS included.
    pub first_request: Duration,
    /// How long it may be idle between two, or take to send another.
    pub idle: Duration,
    /// How long it may take nothing of its answer …
    pub stalled: Duration,
    /// … and how slowly it may take it, on average …
    pub slowest_bytes_per_s: u64,
    /// … once it was at it for this long.
    pub patience: Duration,
    /// How long a connection may be used before the client is asked to open another, and how long answers under way may
    /// then still take.
    pub age: Duration,
    /// How long they may take after the stop.
    pub drain: Duration,
}

/// All connections.
pub(super) struct Connections {
    limits: Limits,
    began: Instant,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    lines: HashMap<u64, Arc<Line>>,
}

/// One connection.
pub(super) struct Line {
    began: Instant,
    pace: Mutex<Pace>,
    closing: Notify,
}

/// How a client gets on. Times are in milliseconds of the register's clock.
#[derive(Default)]
struct Pace {
    /// When the last request came; until the first, when the connection was opened.
    asked_ms: u64,
    has_asked: bool,
    /// Answers whose bytes are not all with the socket: over HTTP/2, the client says when it takes more.
    owed: usize,
    /// Whether the kernel takes no more bytes for now.
    is_full: bool,
    /// Since when either is so.
    sending_ms: Option<u64>,
    /// When bytes were last taken, and how many since then.
    moved_ms: u64,
    sent_bytes: u64,
}

impl Connections {
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, began: Instant::now(), open: Mutex::default() })
    }

    /// A place for a new client, for as long as it is kept. If there is none left, those are let go who do the least with
    /// theirs.
    pub fn admit(self: &Arc<Self>) -> Place {
        let line = Arc::new(Line::new(self.began));
        let mut open = self.open();
        if open.lines.len() >= self.limits.connections {
            open.make_room(now_ms(self.began));
        }
        open.next += 1;
        let id = open.next;
        open.lines.insert(id, Arc::clone(&line));
        Place { id, line, of: Arc::clone(self) }
    }

    /// Lets go of those who do the least with their places.
    pub fn make_room(&self) {
        self.open().make_room(now_ms(self.began));
    }

    /// Lets go of those who have taken more time than they may; where answers under way take too much memory, also of
    /// those who were at theirs for the longest.
    pub fn look(&self, is_pressed: bool) {
        let now_ms = now_ms(self.began);
        let mut open = self.open();
        open.lines.retain(|_, line| {
            let overdue = line.is_overdue(now_ms, &self.limits);
            if overdue {
                line.closing.notify_one();
            }
            !overdue
        });
        if is_pressed {
            open.relieve(now_ms, self.limits.stalled);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn make_room(&mut self, now_ms: u64) {
        let crowd = self.lines.len().div_ceil(16);
        self.let_go(crowd, now_ms);
        tracing::debug!(crowd, "no room for another connection: let go of idle ones");
    }

    /// Those go who keep their places for the longest: whoever has just come, and has yet to ask, is not among them.
    fn let_go(&mut self, count: usize, now_ms: u64) {
        let keeps = |(id, line): (&u64, &Arc<Line>)| (Reverse(line.pace().keeps_ms(now_ms)), *id);
        let mut ranks: Vec<(Reverse<u64>, u64)> = self.lines.iter().map(keeps).collect();
        let count = count.min(ranks.len());
        if count < ranks.len() {
            ranks.select_nth_unstable(count);
        }
        ranks[..count].iter().for_each(|(_, id)| self.dismiss(*id));
    }

    /// An eighth goes of those who were at their answers for longer than `grace`, the longest first: they hold the oldest.
    fn relieve(&mut self, now_ms: u64, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let since = |(id, line): (&u64, &Arc<Line>)| Some((line.pace().sending_ms?, *id));
        let mut slow: Vec<(u64, u64)> = self.lines.iter().filter_map(since).collect();
        slow.retain(|(since_ms, _)| now_ms.saturating_sub(*since_ms) > grace_ms);
        slow.sort_unstable();
        let crowd = slow.len().div_ceil(8);
        slow[..crowd].iter().for_each(|(_, id)| self.dismiss(*id));
    }

    fn dismiss(&mut self, id: u64) {
        if let Some(line) = self.lines.remove(&id) {
            line.closing.notify_one();
        }
    }
}

impl Line {
    fn new(began: Instant) -> Self {
        let pace = Pace { asked_ms: now_ms(began), ..Pace::default() };
        Self { began, pace: Mutex::new(pace), closing: Notify::new() }
    }

    /// A request came.
    pub fn asked(&self) {
        let (mut pace, now_ms) = (self.pace(), now_ms(self.began));
        (pace.asked_ms, pace.has_asked) = (now_ms, true);
    }

    /// An answer is to be sent: its bytes, which tell the line when nobody holds them any more.
    pub fn owes(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let (mut pace, now_ms) = (self.pace(), now_ms(self.began));
        pace.owed += 1;
        pace.begin(now_ms);
        Bytes::from_owner(Owed { bytes, line: Arc::clone(self) })
    }

    /// Ready when the client is to be let go.
    pub async fn closed(&self) {
        self.closing.notified().await;
    }

    /// The kernel takes no more bytes for now.
    fn waits(&self) {
        let (mut pace, now_ms) = (self.pace(), now_ms(self.began));
        pace.is_full = true;
        pace.begin(now_ms);
    }

    /// It has taken some.
    fn moved(&self, bytes: usize) {
        let (mut pace, now_ms) = (self.pace(), now_ms(self.began));
        pace.moved_ms = now_ms;
        pace.sent_bytes += bytes as u64;
    }

    /// None are waiting any more.
    fn flushed(&self) {
        let mut pace = self.pace();
        pace.is_full = false;
        pace.end();
    }

    fn is_overdue(&self, now_ms: u64, limits: &Limits) -> bool {
        self.pace().is_overdue(now_ms, limits)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// There is something to send.
    fn begin(&mut self, now_ms: u64) {
        if self.sending_ms.is_none() {
            (self.sending_ms, self.moved_ms, self.sent_bytes) = (Some(now_ms), now_ms, 0);
        }
    }

    /// There is nothing more to send, perhaps.
    fn end(&mut self) {
        if self.owed == 0 && !self.is_full {
            self.sending_ms = None;
        }
    }

    fn is_overdue(&self, now_ms: u64, limits: &Limits) -> bool {
        let since = |ms: u64| Duration::from_millis(now_ms.saturating_sub(ms));
        if let Some(sending) = self.sending_ms.map(since) {
            let too_slow = self.sent_bytes < limits.slowest_bytes_per_s * sending.as_secs();
            return since(self.moved_ms) > limits.stalled || (sending > limits.patience && too_slow);
        }
        match self.has_asked {
            true => since(self.active_ms()) > limits.idle,
            false => since(self.asked_ms) > limits.first_request,
        }
    }

    fn active_ms(&self) -> u64 {
        self.asked_ms.max(self.moved_ms)
    }

    /// For how long it has kept its place and done nothing with it; taking an answer counts a quarter.
    fn keeps_ms(&self, now_ms: u64) -> u64 {
        match self.sending_ms {
            None => now_ms.saturating_sub(self.active_ms()),
            Some(sending_ms) => now_ms.saturating_sub(sending_ms) / 4,
        }
    }
}

/// The bytes of an answer, which the line owes until they are dropped.
struct Owed {
    bytes: Bytes,
    line: Arc<Line>,
}

impl AsRef<[u8]> for Owed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let mut pace = self.line.pace();
        pace.owed -= 1;
        pace.end();
    }
}

fn now_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A client's place; given up when dropped.
pub(super) struct Place {
    id: u64,
    pub line: Arc<Line>,
    of: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.open().lines.remove(&self.id);
    }
}

/// A socket that tells its line how it gets on.
pub(super) struct Watched {
    stream: TcpStream,
    line: Arc<Line>,
}

impl Watched {
    pub fn new(stream: TcpStream, line: Arc<Line>) -> Self {
        Self { stream, line }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.line.waits(),
            Poll::Ready(Ok(bytes)) => self.line.moved(*bytes),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when all that there was to write was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
