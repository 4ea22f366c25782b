//! The archive of a story: a database of its own, what it holds, and a wire to it that can be cut.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use rgsd::config::{Config, Database};
use rgsd::journal::link::Connector;
use rgsd::journal::{Entry, Opened, Reader, Seq, SqliteJournal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::world::listener;
use crate::postgres;

/// How long a stand-by waits in stories: long for a busy machine, short for whoever watches.
pub const LEASE: Duration = Duration::from_secs(3);

/// What a service of this configuration is like with an archive.
pub fn archived(config: Config, url: &str) -> Config {
    let url = url.parse().expect("a database's URL");
    let database = Database { lease: LEASE, timeout: LEASE / 2, ..Database::new(url) };
    Config { database: Some(database), ..config }
}

/// The same in another directory.
pub fn beside(config: &Config, name: &str) -> Config {
    Config { data_dir: config.data_dir.join(name), ..config.clone() }
}

/// What serves the archive's snapshots without collecting anything.
pub fn replica(config: &Config) -> Config {
    Config { replica: true, peers: Vec::new(), bitcoind: Default::default(), ..beside(config, "replica") }
}

/// All that the archive holds.
pub async fn archive(database: &postgres::Database) -> Vec<Entry> {
    let settings = Database::new(database.url.parse().expect("a URL")).connection();
    let connector = Connector { settings, timeout: Duration::from_secs(20) };
    let (mut archive, _wire) = connector.connect().await.expect("connects");
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let last = entries.last().map_or(Seq(0), |entry| entry.seq);
        let page = archive.page(last, 10_000).await.expect("readable");
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

/// All that the journal in a directory holds; its service has stopped.
pub fn journal(data_dir: &Path) -> Vec<Entry> {
    let Opened::Journal(journal) = SqliteJournal::look(data_dir, Network::Regtest).expect("opens") else {
        panic!("no journal in {}", data_dir.display());
    };
    let mut entries = Vec::new();
    let read = journal.read(Seq(0), &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    read.expect("readable");
    entries
}

/// A wire to a database, which can be cut and mended.
pub struct Line {
    port: u16,
    whole: Arc<watch::Sender<bool>>,
}

impl Line {
    pub async fn to(port: u16) -> Self {
        let listener = listener(0).await;
        let own = listener.local_addr().expect("bound").port();
        let whole = Arc::new(watch::Sender::new(true));
        tokio::spawn(carry(listener, port, whole.subscribe()));
        Self { port: own, whole }
    }

    /// A database's URL by way of this line.
    pub fn url(&self, database: &postgres::Database, port: u16) -> String {
        database.url.replace(&format!(":{port}/"), &format!(":{}/", self.port))
    }

    /// Every connection breaks, and further ones with it.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(listener: TcpListener, port: u16, whole: watch::Receiver<bool>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let mut whole = whole.clone();
        tokio::spawn(async move {
            if !*whole.borrow_and_update() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = whole.wait_for(|whole| !whole) => {}
            }
        });
    }
}
