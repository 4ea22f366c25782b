//! `database.url`: which PostgreSQL, in libpq's words and with libpq's meaning.
//!
//! Owns what each word means; `uri` owns the syntax. Promises that a [`DatabaseUrl`] is complete and
//! consistent, and that its `Display` and `Debug` show no password.
//!
//! Where it differs from libpq, on purpose:
//!
//! - libpq's default files (`~/.postgresql/*`, `~/.pgpass`, services) and its environment are not read: a service should
//!   not trust what lies about in a home directory. So `verify-ca` and `verify-full` need `sslrootcert`, and `sslcert`
//!   needs `sslkey`.
//! - The times without which a dead connection goes unnoticed have other defaults: `keepalives_idle` 5 s,
//!   `keepalives_interval` 2 s, `keepalives_count` 3, `tcp_user_timeout` 10 s.
//! - `connect_timeout=0` is the default, not "wait forever".

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use super::uri::{self, Uri};
use crate::journal::tls::{Identity, Roots, SslMode, Tls};
use crate::text::{Secret, choose};

/// Where libpq looks on most systems when no host is named.
const DEFAULT_SOCKET_DIRECTORY: &str = "/var/run/postgresql";
const DEFAULT_PORT: u16 = 5432;
const MOST_HOSTS: usize = 16;

/// Which database, as whom, and how safely. Made from a `postgres://` or `postgresql://` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    shown: String,
    /// In the order in which they are tried; at least one.
    pub(super) places: Vec<Place>,
    /// `None`: the name of the user that this process runs as.
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    /// `None`: the one named after the user.
    pub(super) dbname: Option<String>,
    pub(super) tls: Tls,
    pub(super) channel_binding: ChannelBinding,
    pub(super) application_name: String,
    pub(super) options: Option<String>,
    /// How long one address may take; `None`: as long as the caller waits.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) liveness: Liveness,
    pub(super) session: SessionAttributes,
}

/// One place where a server may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// `name` is what the certificate must be for, and is looked up if there is no `address`.
    Tcp { name: String, address: Option<IpAddr>, port: u16 },
    /// A directory with a socket in it. TLS is not used there, whatever `sslmode` says.
    Socket { directory: PathBuf, port: u16 },
}

/// How a connection is noticed to be dead. TCP alone would take hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Liveness {
    pub keepalives: bool,
    /// 5 s by default; `None` is the system's.
    pub idle: Option<Duration>,
    /// 2 s by default; `None` is the system's.
    pub interval: Option<Duration>,
    /// 3 by default; `None` is the system's.
    pub count: Option<u32>,
    /// How long sent data may go unacknowledged: 10 s by default; `None` is the system's.
    pub user_timeout: Option<Duration>,
}

/// What kind of server will do: `target_session_attrs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, port, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp { name, port, .. } => write!(f, "{name}:{port}"),
            Self::Socket { directory, port } => write!(f, "{}/.s.PGSQL.{port}", directory.display()),
        }
    }
}

/// With its passwords blanked.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl DatabaseUrl {
    /// What `sslmode` asks for.
    pub fn ssl_mode(&self) -> SslMode {
        self.tls.mode
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    /// The error says what is wrong and what was expected, in words that follow "key = value: ".
    fn from_str(text: &str) -> Result<Self, String> {
        let Uri { mut words, shown } = uri::split(text)?;
        let mut take = |word: &str| words.remove(word).filter(|value| !value.is_empty());
        let tls = tls(&mut take)?;
        let places = places(take("host"), take("hostaddr"), take("port"), tls.mode)?;
        Ok(Self {
            shown,
            places,
            tls,
            user: take("user"),
            password: take("password").map(Secret::new),
            dbname: take("dbname"),
            channel_binding: take("channel_binding").map_or(Ok(ChannelBinding::Prefer), |text| channel(&text))?,
            application_name: take("application_name").unwrap_or_else(|| "rgsd".to_owned()),
            options: take("options"),
            connect_timeout: time(take("connect_timeout"), "connect_timeout", Duration::from_secs)?.flatten(),
            liveness: liveness(&mut take)?,
            session: take("target_session_attrs").map_or(Ok(SessionAttributes::Any), |text| session(&text))?,
        })
    }
}

/// A word's value, once.
type Take<'a> = dyn FnMut(&str) -> Option<String> + 'a;

fn tls(take: &mut Take<'_>) -> Result<Tls, String> {
    let roots =
        take("sslrootcert").map(|path| if path == "system" { Roots::System } else { Roots::File(path.into()) });
    let mode = match take("sslmode") {
        Some(text) => choose(&text, &SslMode::WORDS).map_err(|why| format!("sslmode: {why}"))?,
        // As libpq since 16: half a check would trust everyone who has a certificate from anybody.
        None if roots == Some(Roots::System) => SslMode::VerifyFull,
        None => SslMode::Prefer,
    };
    if roots == Some(Roots::System) && mode != SslMode::VerifyFull {
        return Err(format!("sslmode={mode} is too weak for sslrootcert=system: use sslmode=verify-full"));
    }
    if roots.is_none() && mode >= SslMode::VerifyCa {
        return Err(format!(
            "sslmode={mode} needs sslrootcert, the file of the authorities that are trusted, or sslrootcert=system"
        ));
    }
    let password = take("sslpassword").map(Secret::new);
    let identity = match (take("sslcert"), take("sslkey")) {
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate: certificate.into(), key: key.into(), password })
        }
        (None, None) => None,
        (Some(_), None) => return Err("sslcert needs sslkey, the file of the certificate's key".to_owned()),
        (None, Some(_)) => return Err("sslkey needs sslcert, the file of the key's certificate".to_owned()),
    };
    Ok(Tls { mode, roots, identity })
}

/// Pairs hosts, addresses and ports as libpq does: one port serves all hosts.
fn places(
    hosts: Option<String>,
    addresses: Option<String>,
    ports: Option<String>,
    mode: SslMode,
) -> Result<Vec<Place>, String> {
    let list = |text: &Option<String>| -> Vec<String> {
        text.iter().flat_map(|text| text.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let (hosts, addresses, ports) = (list(&hosts), list(&addresses), list(&ports));
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(format!("{} hosts, but {} addresses in hostaddr", hosts.len(), addresses.len()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("{} ports for {count} hosts: expected one for all, or one for each", ports.len()));
    }
    if count > MOST_HOSTS {
        return Err(format!("{count} hosts: expected at most {MOST_HOSTS}"));
    }
    let place = |at: usize| {
        let address = addresses.get(at).map(String::as_str).filter(|text| !text.is_empty());
        let address = address.map(|text| text.parse::<IpAddr>().map_err(|_| "hostaddr: expected an IP address"));
        let port = ports.get(at).or(ports.first()).map_or("", String::as_str);
        place(hosts.get(at).map_or("", String::as_str), address.transpose()?, parse_port(port)?, mode)
    };
    (0..count).map(place).collect()
}

fn place(host: &str, address: Option<IpAddr>, port: u16, mode: SslMode) -> Result<Place, String> {
    match address {
        Some(_) if host.is_empty() && mode == SslMode::VerifyFull => {
            Err("hostaddr needs host with sslmode=verify-full: the name that the certificate must be for".to_owned())
        }
        Some(ip) if host.is_empty() => Ok(Place::Tcp { name: ip.to_string(), address, port }),
        None if host.is_empty() => Ok(Place::Socket { directory: DEFAULT_SOCKET_DIRECTORY.into(), port }),
        None if host.starts_with('/') => Ok(Place::Socket { directory: host.into(), port }),
        None if host.starts_with('@') => {
            Err("abstract sockets are not supported: name the socket's directory".to_owned())
        }
        _ => Ok(Place::Tcp { name: host.to_owned(), address, port }),
    }
}

/// The text is not quoted in the error: where a `/` in a password was not encoded, it is a part of that.
fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(DEFAULT_PORT),
        Ok(0) | Err(_) => {
            Err("what follows a host's : is no port from 1 to 65535 (write / in a password as %2F)".to_owned())
        }
        Ok(port) => Ok(port),
    }
}

fn channel(text: &str) -> Result<ChannelBinding, String> {
    let choices = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    choose(text, &choices).map_err(|why| format!("channel_binding: {why}"))
}

fn session(text: &str) -> Result<SessionAttributes, String> {
    let choices = [
        ("any", SessionAttributes::Any),
        ("read-write", SessionAttributes::ReadWrite),
        ("read-only", SessionAttributes::ReadOnly),
        ("primary", SessionAttributes::Primary),
        ("standby", SessionAttributes::Standby),
    ];
    choose(text, &choices).map_err(|why| format!("target_session_attrs: {why}"))
}

fn liveness(take: &mut Take<'_>) -> Result<Liveness, String> {
    let mut seconds = |word, default_s| -> Result<_, String> {
        Ok(time(take(word), word, Duration::from_secs)?.unwrap_or(Some(Duration::from_secs(default_s))))
    };
    let (idle, interval) = (seconds("keepalives_idle", 5)?, seconds("keepalives_interval", 2)?);
    let count = whole(take("keepalives_count"), "keepalives_count")?.unwrap_or(3);
    let user_timeout = time(take("tcp_user_timeout"), "tcp_user_timeout", Duration::from_millis)?;
    Ok(Liveness {
        keepalives: whole(take("keepalives"), "keepalives")? != Some(0),
        idle,
        interval,
        count: (count > 0).then_some(count),
        user_timeout: user_timeout.unwrap_or(Some(Duration::from_secs(10))),
    })
}

/// A time that was said: `Some(None)` for 0 and less, which leave it to the system.
fn time(text: Option<String>, word: &str, unit: fn(u64) -> Duration) -> Result<Option<Option<Duration>>, String> {
    Ok(whole(text, word)?.map(|number| (number > 0).then(|| unit(u64::from(number)))))
}

/// A whole number, as large as libpq's; what is below zero is as good as zero, as there.
fn whole(text: Option<String>, word: &str) -> Result<Option<u32>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.trim().parse::<i32>() {
        Ok(number) => Ok(Some(u32::try_from(number).unwrap_or(0))),
        Err(_) => Err(format!("{word}: expected a whole number")),
    }
}

#[cfg(test)]
mod tests;
