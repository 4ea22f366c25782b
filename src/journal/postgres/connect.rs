//! Connecting: every host in turn, with TLS as `sslmode` asks for it, and an error that names the remedy.
//!
//! Owns libpq's order of attempts. Promises an answer within the time-out for each address, that the password file and
//! the certificates are read anew each time, and that no error holds a password.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres_native_tls::{TlsConnector, TlsStream};
use tokio::io::AsyncReadExt;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket, config};

use super::dsn::{DatabaseUrl, Liveness, Place, SessionAttributes};
use super::explain::{Failure, explain};
use super::wire::Wire;
use crate::journal::tls::{Attempt, Tls};

/// No password is longer.
const MOST_PASSWORD_BYTES: u64 = 4096;
/// How many of a name's addresses are tried.
const MOST_ADDRESSES: usize = 8;

/// Which database, and where its password lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub url: DatabaseUrl,
    /// Read at each connection; goes before a password in the URL.
    pub password_file: Option<PathBuf>,
}

/// Why there is no connection: one sentence that names what failed and the remedy, without passwords.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// Connects to the first host that will do. Each address may take `connect_timeout` of the URL, or else `patience`.
/// The client works for as long as the [`Wire`] is kept.
pub async fn connect(settings: &Settings, patience: Duration) -> Result<(Client, Wire), ConnectError> {
    let url = &settings.url;
    let config = config(url, password(settings).await.map_err(ConnectError)?);
    let tries = Tries { url, config, patience: url.connect_timeout.unwrap_or(patience) };
    let mut failures = Vec::new();
    for place in &url.places {
        match tries.place(place).await {
            Ok(connected) => return Ok(connected),
            Err(failure) => {
                failures.push(failure.sentence);
                if !failure.elsewhere {
                    break;
                }
            }
        }
    }
    Err(ConnectError(failures.join("; and ")))
}

/// What all of one call's attempts share.
struct Tries<'a> {
    url: &'a DatabaseUrl,
    config: Config,
    patience: Duration,
}

impl Tries<'_> {
    /// Tries a host at each of its addresses.
    async fn place(&self, place: &Place) -> Result<(Client, Wire), Failure> {
        let (name, address, port) = match place {
            Place::Tcp { name, address, port } => (name, *address, *port),
            Place::Socket { directory, port } => {
                let mut config = self.config.clone();
                config.host_path(directory).port(*port);
                return self.within(place, self.attempt(&config, Attempt::Plain, place)).await;
            }
        };
        let addresses = match address {
            Some(address) => vec![address],
            None => self.within(place, look_up(name, port)).await?,
        };
        let mut last = None;
        for address in addresses.into_iter().take(MOST_ADDRESSES) {
            let mut config = self.config.clone();
            config.host(name).hostaddr(address).port(port);
            match self.within(place, self.attempts(&config, place)).await {
                Err(failure) if failure.elsewhere => last = Some(failure),
                settled => return settled,
            }
        }
        Err(last.unwrap_or_else(|| not_found(name, "it has no address")))
    }

    async fn within<T>(&self, place: &Place, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match timeout(self.patience, work).await {
            Ok(done) => done,
            Err(_) => {
                let waited = humantime::format_duration(self.patience);
                let why = "is it overloaded, or does a firewall drop what is sent there?";
                Err(Failure::elsewhere(format!("the database at {place} does not answer within {waited}: {why}")))
            }
        }
    }

    /// Tries an address in the ways that `sslmode` allows.
    async fn attempts(&self, config: &Config, place: &Place) -> Result<(Client, Wire), Failure> {
        let (first, second) = self.url.tls.attempts();
        let failure = match self.attempt(config, first, place).await {
            Ok(connected) => return Ok(connected),
            Err(failure) => failure,
        };
        let Some(second) = second.filter(|_| failure.another_way) else { return Err(failure) };
        match self.attempt(config, second, place).await {
            Ok(connected) => {
                if !connected.1.is_encrypted() {
                    let (mode, why) = (self.url.tls.mode, failure.sentence);
                    tracing::warn!("not encrypted, as sslmode={mode} allows, because TLS failed: {why}");
                }
                Ok(connected)
            }
            // The one with TLS says more: without, most servers just refuse.
            Err(other) => Err(if first == Attempt::Plain { other } else { failure }),
        }
    }

    async fn attempt(&self, config: &Config, attempt: Attempt, place: &Place) -> Result<(Client, Wire), Failure> {
        let mut config = config.clone();
        let offered = Arc::new(AtomicBool::new(false));
        let connected = match attempt {
            Attempt::Plain => {
                let connected = config.ssl_mode(config::SslMode::Disable).connect(NoTls).await;
                connected.map(|(client, connection)| (client, Wire::start(connection, false)))
            }
            Attempt::IfOffered | Attempt::Tls => {
                let must = attempt == Attempt::Tls;
                config.ssl_mode(if must { config::SslMode::Require } else { config::SslMode::Prefer });
                let connector = connector(&self.url.tls, place).await?;
                let connected = config.connect(Connector { connector, offered: Arc::clone(&offered) }).await;
                // The connection stands: where TLS was offered, it is in use.
                connected
                    .map(|(client, connection)| (client, Wire::start(connection, offered.load(Ordering::Acquire))))
            }
        };
        let (client, wire) = connected.map_err(|error| {
            let mut failure = explain(&error, place, self.url);
            failure.another_way &= attempt == Attempt::Plain || offered.load(Ordering::Acquire);
            failure
        })?;
        suits(self.url.session, &client, place).await?;
        Ok((client, wire))
    }
}

/// What is the same for every host.
fn config(url: &DatabaseUrl, password: Option<Vec<u8>>) -> Config {
    let mut config = Config::new();
    config.application_name(&url.application_name).channel_binding(url.channel_binding);
    url.user.as_ref().map(|user| config.user(user));
    url.dbname.as_ref().map(|dbname| config.dbname(dbname));
    url.options.as_ref().map(|options| config.options(options));
    password.map(|password| config.password(password));
    let Liveness { keepalives, idle, interval, count, user_timeout } = &url.liveness;
    config.keepalives(*keepalives);
    idle.map(|idle| config.keepalives_idle(idle));
    interval.map(|interval| config.keepalives_interval(interval));
    count.map(|count| config.keepalives_retries(count));
    user_timeout.map(|time| config.tcp_user_timeout(time));
    config
}

/// From the file, or else from the URL.
async fn password(settings: &Settings) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = &settings.password_file else {
        return Ok(settings.url.password.as_ref().map(|password| password.expose().as_bytes().to_vec()));
    };
    let named = || format!("database.password_file {}", path.display());
    let mut password = read_at_most(path, MOST_PASSWORD_BYTES + 1)
        .await
        .map_err(|error| format!("{} cannot be read: {error}; put the database's password there", named()))?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    match password.len() as u64 {
        0 => Err(format!("{} is empty; put the database's password there", named())),
        1..=MOST_PASSWORD_BYTES => Ok(Some(password)),
        _ => Err(format!("{} is longer than any password; is it the right file?", named())),
    }
}

async fn read_at_most(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    tokio::fs::File::open(path).await?.take(bytes).read_to_end(&mut content).await?;
    Ok(content)
}

async fn look_up(name: &str, port: u16) -> Result<Vec<IpAddr>, Failure> {
    let found = lookup_host((name, port)).await.map_err(|error| not_found(name, &error.to_string()))?;
    Ok(found.map(|address| address.ip()).collect())
}

fn not_found(name: &str, why: &str) -> Failure {
    Failure::elsewhere(format!("the database's host {name} cannot be found ({why}): is the name in the URL right?"))
}

/// Reads the certificates, where it may take its time.
async fn connector(tls: &Tls, place: &Place) -> Result<native_tls::TlsConnector, Failure> {
    let tls = tls.clone();
    let made = tokio::task::spawn_blocking(move || tls.connector()).await;
    match made {
        Ok(Ok(connector)) => Ok(connector),
        Ok(Err(error)) => Err(Failure::here(format!("{error:#}"))),
        Err(_) => Err(Failure::elsewhere(format!("the connection to {place} was given up: rgsd is stopping"))),
    }
}

/// Whether the server is of the kind that was asked for.
async fn suits(wanted: SessionAttributes, client: &Client, place: &Place) -> Result<(), Failure> {
    if wanted == SessionAttributes::Any {
        return Ok(());
    }
    let sql = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')";
    let answer = client.simple_query(sql).await;
    let row = answer.iter().flatten().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
        _ => None,
    });
    let (standby, read_only) = row.ok_or_else(|| {
        Failure::elsewhere(format!("the database at {place} does not say whether it can be written"))
    })?;
    let (suits, word, is) = match wanted {
        SessionAttributes::Any => return Ok(()),
        SessionAttributes::ReadWrite => (!read_only, "read-write", "read-only"),
        SessionAttributes::ReadOnly => (read_only, "read-only", "not read-only"),
        SessionAttributes::Primary => (!standby, "primary", "a standby"),
        SessionAttributes::Standby => (standby, "standby", "no standby"),
    };
    let mistake = || format!("the database at {place} is {is}, but target_session_attrs={word} asks for another");
    if suits { Ok(()) } else { Err(Failure::elsewhere(mistake())) }
}

/// Makes TLS, and remembers that the server offered it.
#[derive(Clone)]
struct Connector {
    connector: native_tls::TlsConnector,
    offered: Arc<AtomicBool>,
}

/// The same, for one host.
struct HostConnector {
    connector: TlsConnector,
    offered: Arc<AtomicBool>,
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = TlsStream<Socket>;
    type TlsConnect = HostConnector;
    type Error = native_tls::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<HostConnector, native_tls::Error> {
        let connector = TlsConnector::new(self.connector.clone(), host);
        Ok(HostConnector { connector, offered: Arc::clone(&self.offered) })
    }
}

impl TlsConnect<Socket> for HostConnector {
    type Stream = TlsStream<Socket>;
    type Error = native_tls::Error;
    type Future = Pin<Box<dyn Future<Output = Result<TlsStream<Socket>, native_tls::Error>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        self.offered.store(true, Ordering::Release);
        self.connector.connect(socket)
    }
}
