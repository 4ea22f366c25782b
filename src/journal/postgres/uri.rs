//! The syntax of libpq's connection URIs: a text becomes words and their values, and a text without its passwords.
//!
//! Follows `conninfo_uri_parse_options` of PostgreSQL's `fe-connect.c`, because `tokio_postgres`'s own parser differs
//! in what it finds: an `@` in a parameter, a host or port said twice, the unit of a time-out. It is stricter in one
//! thing: an `@` after the user and password is an error, since it is most often a password that was not encoded, and
//! would end up in a message as part of a host's name. Errors quote nothing that may be part of a password.

use std::collections::BTreeMap;

use crate::text::near;

/// What stands in the place of a password.
const MASK: &str = "***";
const PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];
const ENCODE: &str = "in a user or password, write / as %2F, @ as %40, : as %3A, ? as %3F and % as %25";

/// The words that are understood.
pub(super) const WORDS: [&str; 21] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "application_name",
    "connect_timeout",
    "options",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "target_session_attrs",
    "channel_binding",
];

/// A connection URI, taken apart.
#[derive(Debug)]
pub(super) struct Uri {
    /// By word: the last value that was said for it, decoded.
    pub words: BTreeMap<&'static str, String>,
    /// The text, with passwords masked.
    pub shown: String,
}

/// Takes a connection URI apart.
pub(super) fn split(text: &str) -> Result<Uri, String> {
    let prefix = PREFIXES.into_iter().find(|prefix| text.starts_with(prefix)).ok_or_else(no_uri)?;
    let mut uri = Uri { words: BTreeMap::new(), shown: prefix.to_owned() };
    let rest = uri.credentials(&text[prefix.len()..])?;
    let (before, parameters) = rest.split_once('?').map_or((rest, None), |(before, after)| (before, Some(after)));
    if before.contains('@') {
        return Err(format!("there is an @ where hosts and a database are expected; {ENCODE}"));
    }
    let (authority, dbname) = before.split_once('/').unwrap_or((before, ""));
    uri.hosts(authority)?;
    uri.store("dbname", dbname)?;
    uri.shown.push_str(before);
    if let Some(parameters) = parameters {
        uri.shown.push('?');
        uri.parameters(parameters)?;
    }
    Ok(uri)
}

fn no_uri() -> String {
    "expected a URL such as postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=system, not \
     key=value words"
        .to_owned()
}

impl Uri {
    /// Takes user and password, up to an `@` before any `/`; returns what follows.
    fn credentials<'a>(&mut self, text: &'a str) -> Result<&'a str, String> {
        let Some(at) = text.find(['@', '/']).filter(|at| text[*at..].starts_with('@')) else { return Ok(text) };
        let (credentials, rest) = (&text[..at], &text[at + 1..]);
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        if user.contains('?') {
            return Err(format!("there is a ? in the user; {ENCODE}"));
        }
        self.store("user", user)?;
        self.store("password", password)?;
        let masked = if password.is_empty() { String::new() } else { format!(":{MASK}") };
        self.shown.push_str(&format!("{user}{masked}@"));
        Ok(rest)
    }

    /// Takes `host:port,[v6]:port,…`. Decoding comes after: an encoded comma separates, too.
    fn hosts(&mut self, authority: &str) -> Result<(), String> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        let mut rest = Some(authority);
        while let Some(text) = rest {
            let (host, after) = match text.strip_prefix('[') {
                None => text.split_at(text.find([':', ',']).unwrap_or(text.len())),
                Some(address) => match address.split_once(']') {
                    Some(("", _)) => return Err("there is nothing between the [ and ] of an IPv6 address".to_owned()),
                    Some((address, after)) if after.is_empty() || after.starts_with([':', ',']) => (address, after),
                    Some(_) => return Err("after the ] of an IPv6 address only a : and a port may follow".to_owned()),
                    None => return Err("the ] after an IPv6 address is missing".to_owned()),
                },
            };
            let (port, next) = after.split_at(after.find(',').unwrap_or(after.len()));
            hosts.push(host);
            ports.push(port.strip_prefix(':').unwrap_or(port));
            rest = next.strip_prefix(',');
        }
        self.store("host", &hosts.join(","))?;
        // Without any port there is nothing to store, and one may still come as a parameter.
        if ports.iter().any(|port| !port.is_empty()) {
            self.store("port", &ports.join(","))?;
        }
        Ok(())
    }

    fn parameters(&mut self, text: &str) -> Result<(), String> {
        // What looks like a parameter may be the rest of a password that was not encoded.
        let mut may_be_secret = text.contains('@');
        for (place, parameter) in text.split('&').enumerate().filter(|(_, parameter)| !parameter.is_empty()) {
            let (word, value) = match parameter.split('=').collect::<Vec<_>>().as_slice() {
                [word, value] => (decode(word)?, *value),
                [_] => return Err("a word after the ? has no value: expected word=value&word=value".to_owned()),
                _ => return Err("a word after the ? has two =: write = in a value as %3D".to_owned()),
            };
            // As libpq does for those who come from JDBC.
            let (word, value) =
                if word == "ssl" && value == "true" { ("sslmode", "require") } else { (&*word, value) };
            let Some(word) = WORDS.into_iter().find(|known| *known == word) else {
                return Err(unknown(word, may_be_secret));
            };
            self.parameter(word, value)?;
            let secret = word.ends_with("password");
            may_be_secret |= secret;
            let separator = if place > 0 { "&" } else { "" };
            self.shown.push_str(&format!("{separator}{word}={}", if secret { MASK } else { value }));
        }
        Ok(())
    }

    /// Stores a parameter: unlike the parts before the `?`, an empty one counts, and unsays what was said there.
    fn parameter(&mut self, word: &'static str, value: &str) -> Result<(), String> {
        self.words.remove(word);
        self.store(word, value)
    }

    fn store(&mut self, word: &'static str, value: &str) -> Result<(), String> {
        if !value.is_empty() {
            let decoded = decode(value).map_err(|why| format!("its {word}: {why}"))?;
            self.words.insert(word, decoded);
        }
        Ok(())
    }
}

/// What to say of a word that is not understood; it is not quoted where it may be a part of a password.
fn unknown(word: &str, may_be_secret: bool) -> String {
    let known = format!("the known ones are {}", WORDS.join(", "));
    if may_be_secret || !word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
        return format!("a word after the ? is not known; {known} (in a password, write & as %26, and {ENCODE})");
    }
    match near(word, WORDS.into_iter()) {
        Some(meant) => format!("{word:?} is not a known word; did you mean {meant}? ({known})"),
        None => format!("{word:?} is not a known word; {known}"),
    }
}

/// Decodes `%41`.
fn decode(text: &str) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        match (digit(), digit()) {
            (Some(0), Some(0)) => return Err("%00 is not allowed".to_owned()),
            // Two hexadecimal digits make a byte.
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => return Err("after a % two hexadecimal digits are expected; write % itself as %25".to_owned()),
        }
    }
    String::from_utf8(decoded).map_err(|_| "it is not UTF-8 once it is decoded".to_owned())
}
