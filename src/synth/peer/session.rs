//! One connection of a synthetic peer: a reader that listens to the client, and a writer that tells it gossip.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use bitcoin::secp256k1::SecretKey;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::protocol::{self, Heard};
use super::store::Cursor;
use super::{Behaviour, Shared};
use crate::synth::noise::{ACT_ONE, ACT_THREE, LENGTH, Opener, Responder, Sealer, TAG, Transport};

/// Gossip messages sealed into one buffer and written at once.
const BATCH: usize = 256;

/// Requests of the client that may wait while the writer is busy.
const REQUESTS: usize = 64;

/// Serves one client until it leaves or the peer's behaviour ends it.
pub(super) async fn run(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let transport = handshake(&mut stream, shared.secret).await?;
    let _connected = Connected::new(&shared.connections);
    let (read, write) = stream.into_split();
    let (requests, asked) = mpsc::channel(REQUESTS);
    let reader = listen(BufReader::new(read), transport.opener, requests, shared);
    let writer = Writer {
        shared,
        stream: write,
        sealer: transport.sealer,
        buffer: Vec::new(),
        cursor: None,
        sent: 0,
        pace_from: (Instant::now(), 0),
    };
    let (mut reader, mut writer) = (pin!(reader), pin!(writer.run(asked)));
    tokio::select! {
        ended = &mut reader => ended,
        ended = &mut writer => ended,
    }
}

async fn handshake(stream: &mut TcpStream, secret: SecretKey) -> anyhow::Result<Transport> {
    let mut act_one = [0; ACT_ONE];
    stream.read_exact(&mut act_one).await.context("reading act one")?;
    let (act_two, responder) = Responder::new(secret).act_two(&act_one, ephemeral())?;
    stream.write_all(&act_two).await.context("writing act two")?;
    let mut act_three = [0; ACT_THREE];
    stream.read_exact(&mut act_three).await.context("reading act three")?;
    Ok(responder.finish(&act_three)?)
}

fn ephemeral() -> SecretKey {
    loop {
        // All but one in 2^127 are keys.
        if let Ok(key) = SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
            return key;
        }
    }
}

/// Counts a connection for as long as it lives.
struct Connected<'a>(&'a AtomicUsize);

impl<'a> Connected<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn listen(
    mut stream: BufReader<OwnedReadHalf>,
    mut opener: Opener,
    requests: mpsc::Sender<Heard>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let mut length = [0; LENGTH];
        stream.read_exact(&mut length).await.context("the client left")?;
        buffer.resize(opener.length(length)? + TAG, 0);
        stream.read_exact(&mut buffer).await.context("the client left in the middle of a message")?;
        let message = opener.message(&mut buffer)?;
        if let Some(heard) = protocol::heard(message, shared.chain) {
            requests.send(heard).await.context("the writer ended")?;
        }
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    stream: OwnedWriteHalf,
    sealer: Sealer,
    /// Sealed frames that were not written yet.
    buffer: Vec<u8>,
    /// `None` until the client asked for gossip.
    cursor: Option<Cursor>,
    /// Gossip messages so far.
    sent: u64,
    /// Since when, and from which count on, the pace is kept.
    pace_from: (Instant, u64),
}

/// How a session goes on after a batch.
enum Next {
    /// There may be more to tell.
    More,
    /// Not before the store grows or the behaviour changes.
    Nothing,
    HangUp,
}

impl Writer<'_> {
    async fn run(mut self, mut asked: mpsc::Receiver<Heard>) -> anyhow::Result<()> {
        let mut broadcasts = self.shared.broadcast.subscribe();
        let mut grown = self.shared.store.watch();
        let mut behaviours = self.shared.behaviour.subscribe();
        self.seal(&protocol::init(self.shared.chain));
        loop {
            let behaviour = behaviours.borrow_and_update().clone();
            // What grows from here on is noticed by `changed` below.
            grown.borrow_and_update();
            let next = self.gossip(&behaviour);
            self.flush().await?;
            let more = match next {
                Next::More => true,
                Next::Nothing => false,
                Next::HangUp => bail!("hung up after {} messages, as told to", self.sent),
            };
            tokio::select! {
                biased;
                heard = asked.recv() => self.answer(heard.context("the client left")?, &behaviour),
                message = broadcasts.recv() => self.relay(message)?,
                changed = behaviours.changed() => changed.context("the peer is gone")?,
                () = self.until_due(&behaviour), if more => {}
                changed = grown.changed(), if !more => changed.context("the store is gone")?,
            }
        }
    }

    fn seal(&mut self, message: &[u8]) {
        self.sealer.seal(message, &mut self.buffer);
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.buffer.is_empty() {
            self.stream.write_all(&self.buffer).await.context("the client does not listen")?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn answer(&mut self, heard: Heard, behaviour: &Behaviour) {
        match heard {
            Heard::Ping { num_pong_bytes } => {
                if let Some(pong) = protocol::pong(num_pong_bytes) {
                    self.seal(&pong);
                }
            }
            Heard::Filter { first_timestamp, timestamp_range } => {
                if first_timestamp == 0 {
                    self.shared.dumps.fetch_add(1, Ordering::Relaxed);
                }
                behaviour.prelude.iter().for_each(|message| self.seal(message));
                self.cursor = Some(Cursor { at: 0, first_timestamp, timestamp_range });
                self.pace_from = (Instant::now(), self.sent);
            }
            Heard::Query { first_blocknum, number_of_blocks } => {
                if !behaviour.refuses_queries {
                    self.tell_channels(first_blocknum, number_of_blocks, behaviour);
                }
            }
        }
    }

    fn tell_channels(&mut self, first: u32, blocks: u32, behaviour: &Behaviour) {
        let mut scids = self.shared.store.channels_in(first, first.saturating_add(blocks));
        scids.retain(|&scid| behaviour.serves.as_ref().is_none_or(|serves| serves(scid)));
        for reply in protocol::replies(self.shared.chain, first, blocks, &scids) {
            self.seal(&reply);
        }
    }

    fn relay(&mut self, message: Result<Bytes, broadcast::error::RecvError>) -> anyhow::Result<()> {
        match message {
            Ok(message) => self.seal(&message),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "a client of a synthetic peer was too slow for its broadcasts");
            }
            Err(broadcast::error::RecvError::Closed) => anyhow::bail!("the peer was stopped"),
        }
        Ok(())
    }

    /// Seals as many messages as are wanted and due.
    fn gossip(&mut self, behaviour: &Behaviour) -> Next {
        let Some(mut cursor) = self.cursor else { return Next::Nothing };
        let limit = [behaviour.stall_after, behaviour.drop_after].into_iter().flatten().min().unwrap_or(u64::MAX);
        let allowed = limit.saturating_sub(self.sent).min(self.due(behaviour));
        let wanted = usize::try_from(allowed).map_or(BATCH, |allowed| allowed.min(BATCH));
        let serves = behaviour.serves.as_ref();
        let messages =
            self.shared.store.read_on(&mut cursor, wanted, |scid| serves.is_none_or(|serves| serves(scid)));
        self.cursor = Some(cursor);
        messages.iter().for_each(|message| self.seal(message));
        self.sent += messages.len() as u64;
        self.shared.sent.fetch_add(messages.len() as u64, Ordering::Relaxed);
        if self.sent >= limit {
            return if behaviour.drop_after == Some(limit) { Next::HangUp } else { Next::Nothing };
        }
        if messages.len() == wanted {
            return Next::More;
        }
        // No credit for the time in which there is nothing to tell.
        self.pace_from = (Instant::now(), self.sent);
        Next::Nothing
    }

    /// How many messages the pace allows now.
    fn due(&self, behaviour: &Behaviour) -> u64 {
        let (since, from) = self.pace_from;
        match behaviour.pace {
            Some(pace) => {
                let in_time = since.elapsed().as_millis() as u64 * u64::from(pace) / 1000;
                (from + in_time).saturating_sub(self.sent)
            }
            None => u64::MAX,
        }
    }

    async fn until_due(&self, behaviour: &Behaviour) {
        if behaviour.pace.is_some() && self.due(behaviour) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
