//! What the operator said, resolved into one plain [`Config`].
//!
//! Settings come from four places, each overriding the one before: defaults, a TOML file, the environment, flags.
//! One table ([`KEYS`]) drives all of them. This module is the only reader of the process's environment, through
//! [`Environment`], so that tests pass a map. It promises that a `Config` it hands out is usable as it stands, that
//! all mistakes are reported at once, and that nothing secret is ever printed.
//!
//! A variable that is set but empty counts as not set: container tools often cannot leave one out.

mod check;
mod keys;
mod sources;
mod uploads;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;

use crate::gossip::PeerAddress;
use crate::http::TlsFiles;
use crate::journal::Graph;
use crate::journal::postgres::{self, DatabaseUrl};
use crate::snapshot::{Interval, Mode};
use crate::text;

pub use crate::text::Secret;
pub use check::{Finding, check};
pub use keys::{KEYS, Key, Shape, Shown};
pub use sources::{Environment, Flags, Origin, ProcessEnvironment};
pub use uploads::{Endpoint, S3, Upload, UploadFormat, parse_endpoint};
pub use values::{LogFormat, RestUrl, parse_graph, parse_interval, parse_log, parse_network, parse_rest_url};

use sources::Said;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "rgsd.toml";

/// Everything that can be set, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Which chain: bitcoin, testnet, signet or regtest.
    pub network: Network,
    /// Where the journal and the published files are.
    pub data_dir: PathBuf,
    /// Whom to listen to: each node once, at least one unless this is a replica, which listens to none.
    pub peers: Vec<PeerAddress>,
    /// How often to cut an epoch: a multiple of 10 s that divides 24 h.
    pub interval: Interval,
    /// The HTTP address.
    pub listen: SocketAddr,
    /// Where wallets connect with TLS; `None`: a reverse proxy does that, or nobody.
    pub tls: Option<TlsFiles>,
    /// Which channels a snapshot holds.
    pub graph: Graph,
    /// What wallets get that name a known epoch.
    pub snapshots: Mode,
    /// Not used by a replica.
    pub bitcoind: Bitcoind,
    /// The archive; `None`: the journal stands alone. A replica has one.
    pub database: Option<Database>,
    /// Whether to serve what the archive holds, without peers or bitcoind.
    pub replica: bool,
    /// A bucket that published snapshots are uploaded to.
    pub s3: Option<S3>,
    /// A receiver that they are posted to.
    pub upload: Option<Upload>,
    /// How long superseded messages are kept: at least 8 days.
    pub retention: Duration,
    /// A tracing filter that is known to parse.
    pub log: String,
    pub log_format: LogFormat,
}

/// How to reach bitcoind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitcoind {
    /// Its REST endpoint; `None`: channels are accepted unproven.
    pub rest_url: Option<RestUrl>,
}

/// How to reach the archive's PostgreSQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    pub url: DatabaseUrl,
    /// Read at each connection; goes before a password in the URL.
    pub password_file: Option<PathBuf>,
    /// How long the writer may go without a sign of life before a collector that stands by takes over: 1 s to 1 h.
    pub lease: Duration,
    /// How long the database may take to answer: at most two thirds of the lease.
    pub timeout: Duration,
}

impl Database {
    /// A database, and otherwise the defaults.
    pub fn new(url: DatabaseUrl) -> Self {
        Self { url, password_file: None, lease: Duration::from_secs(15), timeout: Duration::from_secs(10) }
    }

    /// What it takes to connect.
    pub fn connection(&self) -> postgres::Settings {
        postgres::Settings { url: self.url.clone(), password_file: self.password_file.clone() }
    }
}

impl Default for Config {
    /// The defaults, with no peers: which those are depends on the network.
    fn default() -> Self {
        Self {
            network: Network::Bitcoin,
            data_dir: PathBuf::from("./data"),
            peers: Vec::new(),
            interval: Interval::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            tls: None,
            graph: Graph::Routable,
            snapshots: Mode::Delta,
            bitcoind: Bitcoind::default(),
            database: None,
            replica: false,
            s3: None,
            upload: None,
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

/// A configuration, and where each of its values is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// Every key with its effective value, secrets masked, and its origin, in the order of [`KEYS`].
    pub fn settings(&self) -> impl Iterator<Item = (&'static Key, Shown, Origin)> + '_ {
        KEYS.iter().map(|key| {
            let origin = self.origins.get(key.name).cloned().unwrap_or(Origin::Default);
            (key, key.show(&self.config), origin)
        })
    }
}

/// Everything that is wrong with what the operator said: one sentence each, at least one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            many => {
                write!(f, "{} mistakes in the configuration:", many.len())?;
                many.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}

/// Loads the configuration of this process.
pub fn load(flags: &Flags) -> Result<Loaded, Mistakes> {
    load_from(flags, &ProcessEnvironment, Path::new(DEFAULT_FILE))
}

/// Loads a configuration from given sources; `default_file` is read if it exists and no other file is named.
pub fn load_from(flags: &Flags, environment: &dyn Environment, default_file: &Path) -> Result<Loaded, Mistakes> {
    let mut mistakes = Mistakes::default();
    let said = sources::gather(flags, environment, default_file, &mut mistakes.0);
    let config = resolve(&said, &mut mistakes.0);
    if !mistakes.0.is_empty() {
        return Err(mistakes);
    }
    Ok(Loaded { config, origins: said.into_iter().map(|(key, said)| (key, said.origin)).collect() })
}

/// Turns texts into values; what cannot be turned is added to `mistakes`.
fn resolve(said: &BTreeMap<&'static str, Said>, mistakes: &mut Vec<String>) -> Config {
    let mut config = Config::default();
    let mut network_is_known = true;
    for key in KEYS {
        let Some(said) = said.get(key.name) else { continue };
        for (text, why) in key.set(&mut config, &said.texts) {
            mistakes.push(format!("{} = {:?} ({}): {why}", key.name, key.mask(&text), said.origin));
            network_is_known &= key.name != "network";
        }
    }
    if network_is_known && !said.contains_key("peers") && !config.replica {
        config.peers = values::default_peers(config.network);
        if config.peers.is_empty() {
            mistakes.push(format!(
                "peers is not set, and {} has no default peers: set it to a list of pubkey@host:port \
                 (in the file, as RGSD_PEERS, or with --peers)",
                config.network
            ));
        }
    }
    check_tls(said, mistakes);
    check_database(&config, said, mistakes);
    uploads::check(&config, said, mistakes);
    config
}

/// What no key can judge alone: a certificate is of no use without its key, nor the other way round.
fn check_tls(said: &BTreeMap<&'static str, Said>, mistakes: &mut Vec<String>) {
    for (one, other) in [("tls.cert", "tls.key"), ("tls.key", "tls.cert")] {
        if let (Some(said), false) = (said.get(one), said.contains_key(other)) {
            mistakes.push(format!("{one} ({}) is set, but not {other}: set both, or neither", said.origin));
        }
    }
}

/// What no key can judge alone.
fn check_database(config: &Config, said: &BTreeMap<&'static str, Said>, mistakes: &mut Vec<String>) {
    let url = "database.url (in the file, as RGSD_DATABASE_URL, or with --database-url)";
    if !said.contains_key("database.url") {
        for (name, said) in said.iter().filter(|(name, _)| name.starts_with("database.")) {
            mistakes.push(format!("{name} ({}) is set, but no database: set {url}, too", said.origin));
        }
        if config.replica {
            let place = said.get("replica").map_or(String::new(), |said| format!(" ({})", said.origin));
            mistakes.push(format!("replica{place} serves what an archive holds, but no database is set: set {url}"));
        }
    }
    let Some(Database { lease, timeout, .. }) = config.database else { return };
    if timeout * 3 > lease * 2 {
        let (timeout, lease) = (text::time(timeout), text::time(lease));
        mistakes.push(format!(
            "database.timeout ({timeout}) is more than two thirds of database.lease ({lease}), so that a slow answer \
             would cost the lease: make database.timeout shorter, or database.lease longer"
        ));
    }
}
