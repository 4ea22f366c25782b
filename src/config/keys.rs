//! The table of keys: the one place that says what can be set. A new key is a field of [`Config`], its default,
//! and a row here.

mod uploads;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::values::{self, LogFormat};
use super::{Config, Database};
use crate::http::TlsFiles;
use crate::journal::Graph;
use crate::snapshot::Mode;
use crate::text;

/// Something that can be set, in the file, the environment and by a flag.
pub struct Key {
    /// As in the file, with dots; the variable's and the flag's names follow from it.
    pub name: &'static str,
    /// What a value looks like, for `--help`.
    pub value: &'static str,
    /// What it is for, in a sentence, with its default.
    pub about: &'static str,
    /// How many values it takes.
    pub shape: Shape,
    /// Whether what was said may hold a password.
    secret: bool,
    set: fn(&mut Config, &[String]) -> Vec<Wrong>,
    show: fn(&Config) -> Shown,
}

/// How many values a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    One,
    /// Any number.
    List,
    /// `true` or `false`; the flag alone says `true`.
    Switch,
}

/// A text that is no value of its key, and why.
type Wrong = (String, String);

/// A value as it may be printed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Shown {
    Unset,
    One(String),
    Many(Vec<String>),
}

impl Key {
    /// The environment variable: `RGSD_BITCOIND_REST_URL` for `bitcoind.rest_url`.
    pub fn variable(&self) -> String {
        format!("RGSD_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// The flag, without its dashes: `bitcoind-rest-url` for `bitcoind.rest_url`.
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// Sets the value; gives back the texts that are none.
    pub(super) fn set(&self, config: &mut Config, texts: &[String]) -> Vec<Wrong> {
        (self.set)(config, texts)
    }

    /// The effective value, secrets masked.
    pub fn show(&self, config: &Config) -> Shown {
        (self.show)(config)
    }

    /// A text that was said for this key, as it may be printed.
    pub(super) fn mask(&self, text: &str) -> String {
        if self.secret { values::mask_url(text) } else { text.to_owned() }
    }
}

/// Every key, in the order in which they are set and shown: `database.url`, `s3.bucket` and `upload.url`
/// before what refines them.
pub const KEYS: &[Key] = &[
    Key {
        name: "network",
        value: "NETWORK",
        about: "bitcoin, testnet, signet or regtest [default: bitcoin]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_network, |value| config.network = value),
        show: |config| Shown::One(config.network.to_string()),
    },
    Key {
        name: "data_dir",
        value: "DIR",
        about: "Where the journal and the published files are [default: ./data]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_path, |value| config.data_dir = value),
        show: |config| Shown::One(config.data_dir.display().to_string()),
    },
    Key {
        name: "peers",
        value: "PUBKEY@HOST:PORT",
        about: "Lightning nodes to listen to, separated by commas [default for bitcoin: four long-lived public nodes]",
        shape: Shape::List,
        secret: false,
        set: |config, texts| all(values::parse_peers(texts), |value| config.peers = value),
        show: |config| Shown::Many(config.peers.iter().map(ToString::to_string).collect()),
    },
    Key {
        name: "interval",
        value: "TIME",
        about: "How often to cut a snapshot: a multiple of 10 s that divides 24 h [default: 1h]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_interval, |value| config.interval = value),
        show: |config| Shown::One(text::time(config.interval.as_duration())),
    },
    Key {
        name: "listen",
        value: "IP:PORT",
        about: "The HTTP address [default: 127.0.0.1:3000]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_listen, |value| config.listen = value),
        show: |config| Shown::One(config.listen.to_string()),
    },
    Key {
        name: "tls.cert",
        value: "FILE",
        about: "The server's certificate and its chain (PEM), for HTTPS without a reverse proxy; read again when it changes",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_file, |file| config.tls.get_or_insert_default().cert = file),
        show: |config| tls_file(config, |files| &files.cert),
    },
    Key {
        name: "tls.key",
        value: "FILE",
        about: "The private key of tls.cert (PEM)",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_file, |file| config.tls.get_or_insert_default().key = file),
        show: |config| tls_file(config, |files| &files.key),
    },
    Key {
        name: "snapshots",
        value: "SNAPSHOTS",
        about: "What a wallet gets that synced here before: delta is what has changed since, full is everything \
                [default: delta]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_snapshots, |value| config.snapshots = value),
        show: |config| {
            Shown::One(match config.snapshots {
                Mode::Delta => "delta".to_owned(),
                Mode::Full => "full".to_owned(),
            })
        },
    },
    Key {
        name: "graph",
        value: "GRAPH",
        about: "routable leaves out channels that are disabled in both directions, complete keeps them \
                [default: routable]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_graph, |value| config.graph = value),
        show: |config| {
            Shown::One(match config.graph {
                Graph::Routable => "routable".to_owned(),
                Graph::Complete => "complete".to_owned(),
            })
        },
    },
    Key {
        name: "bitcoind.rest_url",
        value: "URL",
        about: "bitcoind's REST endpoint, such as http://127.0.0.1:8332, for funding proofs; without it, channels \
                are accepted unproven",
        shape: Shape::One,
        secret: true,
        set: |config, texts| one(texts, values::parse_rest_url, |value| config.bitcoind.rest_url = Some(value)),
        show: |config| config.bitcoind.rest_url.as_ref().map_or(Shown::Unset, |url| Shown::One(url.to_string())),
    },
    Key {
        name: "database.url",
        value: "URL",
        about: "The archive's PostgreSQL, such as postgres://rgsd@host/rgsd?sslmode=verify-full&sslrootcert=system; \
                without it, the journal stands alone",
        shape: Shape::One,
        secret: true,
        set: |config, texts| one(texts, str::parse, |url| config.database = Some(Database::new(url))),
        show: |config| config.database.as_ref().map_or(Shown::Unset, |database| Shown::One(database.url.to_string())),
    },
    Key {
        name: "database.password_file",
        value: "FILE",
        about: "A file with the database's password, read at each connection",
        shape: Shape::One,
        secret: false,
        set: |config, texts| {
            one(texts, values::parse_file, |file| refine(config, |database| database.password_file = Some(file)))
        },
        show: |config| {
            let file = config.database.as_ref().and_then(|database| database.password_file.as_ref());
            file.map_or(Shown::Unset, |file| Shown::One(file.display().to_string()))
        },
    },
    Key {
        name: "database.lease",
        value: "TIME",
        about: "How long the archive's writer may go without a sign of life before a collector that stands by takes \
                over: 1s to 1h [default: 15s]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_lease, |time| refine(config, |database| database.lease = time)),
        show: |config| database_time(config, |database| database.lease),
    },
    Key {
        name: "database.timeout",
        value: "TIME",
        about: "How long the database may take to answer before it is given up and connected to anew: at most two \
                thirds of the lease [default: 10s]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| {
            one(texts, values::parse_timeout, |time| refine(config, |database| database.timeout = time))
        },
        show: |config| database_time(config, |database| database.timeout),
    },
    Key {
        name: "replica",
        value: "BOOL",
        about: "Serve what the archive holds, without peers or bitcoind of its own [default: false]",
        shape: Shape::Switch,
        secret: false,
        set: |config, texts| one(texts, values::parse_switch, |value| config.replica = value),
        show: |config| Shown::One(config.replica.to_string()),
    },
    uploads::S3_BUCKET,
    uploads::S3_PREFIX,
    uploads::S3_ENDPOINT,
    uploads::S3_REGION,
    uploads::S3_ACCESS_KEY_ID,
    uploads::S3_SECRET_ACCESS_KEY_FILE,
    uploads::S3_PATH_STYLE,
    uploads::S3_ALLOW_HTTP,
    uploads::UPLOAD_URL,
    uploads::UPLOAD_API_KEY_FILE,
    uploads::UPLOAD_FORMAT,
    uploads::UPLOAD_ALLOW_HTTP,
    Key {
        name: "retention",
        value: "TIME",
        about: "How long superseded messages are kept, at least 8d [default: 30d]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_retention, |value| config.retention = value),
        show: |config| Shown::One(text::time(config.retention)),
    },
    Key {
        name: "log",
        value: "FILTER",
        about: "What is logged: a level, or a tracing filter such as info,rgsd::gossip=debug [default: info]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_log, |value| config.log = value),
        show: |config| Shown::One(config.log.clone()),
    },
    Key {
        name: "log_format",
        value: "FORMAT",
        about: "text or json [default: text]",
        shape: Shape::One,
        secret: false,
        set: |config, texts| one(texts, values::parse_log_format, |value| config.log_format = value),
        show: |config| {
            Shown::One(match config.log_format {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            })
        },
    },
];

fn tls_file(config: &Config, file: fn(&TlsFiles) -> &PathBuf) -> Shown {
    config.tls.as_ref().map_or(Shown::Unset, |files| Shown::One(file(files).display().to_string()))
}

/// Sets what belongs to a database. Where none is named, that is a mistake of its own.
fn refine(config: &mut Config, set: impl FnOnce(&mut Database)) {
    config.database.as_mut().map(set);
}

/// A time that has no meaning without a database.
fn database_time(config: &Config, time: fn(&Database) -> Duration) -> Shown {
    let time = config.database.as_ref().map(|database| text::time(time(database)));
    time.map_or(Shown::Unset, Shown::One)
}

/// Sets a key that takes one value.
fn one<T>(texts: &[String], parse: fn(&str) -> Result<T, String>, set: impl FnOnce(T)) -> Vec<Wrong> {
    let [text] = texts else { return vec![(texts.join(", "), "expected one value".to_owned())] };
    all(parse(text).map_err(|why| vec![(text.clone(), why)]), set)
}

/// Sets a key if all of its texts are right.
fn all<T>(parsed: Result<T, Vec<Wrong>>, set: impl FnOnce(T)) -> Vec<Wrong> {
    parsed.map(set).err().unwrap_or_default()
}
