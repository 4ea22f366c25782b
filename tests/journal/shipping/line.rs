//! A wire to a database that can turn into a black hole: it swallows what is sent, and nobody gets an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Everything is handed on.
    Whole,
    /// The next large piece that goes to the database is cut in two, and then the hole is there.
    Armed,
    /// Nothing is. A connection that has seen the hole never comes back, and neither of its ends learns of it.
    Hole,
}

pub struct Line {
    port: u16,
    /// What holds the port until the line is opened: nobody else gets it, and whoever connects is refused.
    held: Mutex<Option<TcpSocket>>,
    mood: Arc<watch::Sender<Mood>>,
}

/// What is large: more than any statement, less than a batch of entries.
const LARGE: usize = 4_000;

impl Line {
    pub fn to(port: u16) -> Self {
        let line = Self::closed();
        line.open(port);
        line
    }

    /// One that refuses connections until it is opened.
    pub fn closed() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let port = socket.local_addr().expect("bound").port();
        Self { port, held: Mutex::new(Some(socket)), mood: Arc::new(watch::Sender::new(Mood::Whole)) }
    }

    pub fn open(&self, port: u16) {
        let socket = self.held.lock().expect("no panic while locked").take().expect("opened once");
        let listener = socket.listen(1_024).expect("its port is its own");
        tokio::spawn(accept(listener, port, Arc::clone(&self.mood)));
    }

    /// A database's URL by way of this line.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replace(&format!(":{port}/"), &format!(":{}/", self.port))
    }

    pub fn turn(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub fn mood(&self) -> Mood {
        *self.mood.borrow()
    }
}

async fn accept(listener: TcpListener, port: u16, mood: Arc<watch::Sender<Mood>>) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(carry(near, port, Arc::clone(&mood)));
    }
}

async fn carry(near: TcpStream, port: u16, mood: Arc<watch::Sender<Mood>>) {
    let lost = Arc::new(AtomicBool::new(*mood.borrow() == Mood::Hole));
    if lost.load(Ordering::SeqCst) {
        let _near = near;
        return std::future::pending().await;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(
        pump(near_in, far_out, true, Arc::clone(&mood), Arc::clone(&lost)),
        pump(far_in, near_out, false, mood, lost),
    );
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    upstream: bool,
    mood: Arc<watch::Sender<Mood>>,
    lost: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16_384];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        let mut piece = &buffer[..count];
        match *mood.borrow() {
            Mood::Hole => lost.store(true, Ordering::SeqCst),
            Mood::Armed if upstream && count >= LARGE && !lost.load(Ordering::SeqCst) => piece = &buffer[..count / 2],
            Mood::Armed | Mood::Whole => {}
        }
        if lost.load(Ordering::SeqCst) {
            if count == 0 {
                return std::future::pending().await; // the other end never hears of it
            }
            continue;
        }
        if count == 0 || to.write_all(piece).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
        if piece.len() < count {
            lost.store(true, Ordering::SeqCst);
            mood.send_replace(Mood::Hole);
        }
    }
}
