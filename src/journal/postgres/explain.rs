//! Why a connection failed, in one sentence that names the remedy.
//!
//! The server's own words are quoted; its passwords are not in them, and ours are nowhere near.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use super::dsn::{DatabaseUrl, Place};

/// One attempt's failure.
#[derive(Debug)]
pub(super) struct Failure {
    pub sentence: String,
    /// Whether another address or host may do better: not where this one has heard us out and refused.
    pub elsewhere: bool,
    /// Whether the same server may accept a connection with TLS where this was without, or the other way around.
    pub another_way: bool,
}

impl Failure {
    /// Something that the same server will not mend, but another may.
    pub fn elsewhere(sentence: String) -> Self {
        Self { sentence, elsewhere: true, another_way: false }
    }

    /// Something that is wrong with us, or with what this server expects of us.
    pub fn here(sentence: String) -> Self {
        Self { sentence, elsewhere: false, another_way: false }
    }
}

/// What an error says, with all that lies behind it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

pub(super) fn explain(error: &tokio_postgres::Error, place: &Place, url: &DatabaseUrl) -> Failure {
    if let Some(refusal) = error.as_db_error() {
        return refused(refusal, place, url);
    }
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<native_tls::Error>()) {
        let sentence = handshake(&error.to_string(), place);
        return Failure { sentence, elsewhere: false, another_way: true };
    }
    if let Some(error) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        return unreachable(error, place);
    }
    let mode = url.tls.mode;
    Failure::here(match source.map(ToString::to_string).as_deref() {
        Some("server does not support TLS") => format!(
            "the database at {place} does not offer TLS, but sslmode={mode} asks for it: turn ssl on there, or set \
             sslmode=prefer"
        ),
        Some("password missing") => {
            format!("the database at {place} asks {} for a password: {SET_PASSWORD}", who(url))
        }
        Some("server did not use channel binding") => format!(
            "the database at {place} does not use channel binding, but channel_binding=require asks for it: use TLS \
             and scram-sha-256 there, or set channel_binding=prefer"
        ),
        Some("unsupported authentication method") => {
            format!(
                "the database at {place} asks for a kind of log-in that rgsd does not know: allow scram-sha-256 there"
            )
        }
        _ => format!("the database at {place} cannot be talked to: {}", chain(error)),
    })
}

const SET_PASSWORD: &str = "set it in the URL or in database.password_file";

fn who(url: &DatabaseUrl) -> String {
    let or_ours = || "the user that rgsd runs as".to_owned();
    url.user.as_ref().map_or_else(or_ours, |user| format!("the user {user:?}"))
}

/// The server has answered, and will not have us.
fn refused(refusal: &DbError, place: &Place, url: &DatabaseUrl) -> Failure {
    let (code, said) = (refusal.code(), refusal.message());
    let remedy = if *code == SqlState::INVALID_PASSWORD {
        match url.password.is_some() {
            _ if said.contains("no password") => SET_PASSWORD.to_owned(),
            true => "is the password in the URL right, and no database.password_file set?".to_owned(),
            false => format!("is the password right? {SET_PASSWORD}"),
        }
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        "create it (CREATE DATABASE), or name another in the URL".to_owned()
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        not_let_in(said, url).to_owned()
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        "close others, or raise max_connections there".to_owned()
    } else if *code == SqlState::CANNOT_CONNECT_NOW {
        "it will be tried again".to_owned()
    } else {
        "its log may say more".to_owned()
    };
    Failure {
        sentence: format!("the database at {place} refuses {}: {said}; {remedy}", who(url)),
        elsewhere: *code == SqlState::CANNOT_CONNECT_NOW,
        // What pg_hba.conf decides, it may decide differently for a connection with TLS.
        another_way: code.code().starts_with("28"),
    }
}

/// The remedies for what the server says in English; in other languages its own words must do.
fn not_let_in(said: &str, url: &DatabaseUrl) -> &'static str {
    if said.contains("client certificate") {
        return "set sslcert and sslkey in the URL";
    }
    if said.contains("certificate authentication failed") {
        return "sslcert must be a certificate whose common name is that user";
    }
    if said.contains("does not exist") {
        return "create it (CREATE ROLE … LOGIN), or name another in the URL";
    }
    match said.contains("no encryption") && url.tls.mode <= crate::journal::tls::SslMode::Allow {
        true => {
            "if it accepts connections with TLS only, set sslmode=verify-full and sslrootcert; else allow it in \
                 pg_hba.conf there"
        }
        false => "allow it in pg_hba.conf there",
    }
}

/// TLS was offered, and could not be agreed on.
fn handshake(said: &str, place: &Place) -> String {
    let name = match place {
        Place::Tcp { name, .. } => name.as_str(),
        Place::Socket { .. } => "",
    };
    if !said.contains("certificate verify failed") {
        let expects = "does it accept the certificate in sslcert, and speak TLS 1.2 or later?";
        return format!("TLS with the database at {place} fails ({}): {expects}", openssl_reason(said));
    }
    let why = said.rsplit_once('(').map_or(said, |(_, why)| why.trim_end_matches(')'));
    if why.to_lowercase().contains("mismatch") {
        return format!(
            "the database at {place} shows a certificate that is not for the host {name}: name the host as the \
             certificate does, or use sslmode=verify-ca to accept any name"
        );
    }
    format!(
        "the database at {place} shows a certificate that is not trusted ({why}): set sslrootcert to the file of the \
         authority that signed it"
    )
}

/// The words of OpenSSL's "error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:…" that say it.
fn openssl_reason(said: &str) -> &str {
    said.split(':').nth(4).unwrap_or(said)
}

fn unreachable(error: &io::Error, place: &Place) -> Failure {
    let said = error.to_string();
    let sentence = match (error.kind(), place) {
        (io::ErrorKind::ConnectionRefused, Place::Tcp { .. }) => {
            format!("nothing listens at {place}: is PostgreSQL running there, and are host and port right?")
        }
        (io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound, Place::Socket { .. }) => {
            format!("there is no server behind {place}: is PostgreSQL running, and is that its socket's directory?")
        }
        // Since TLS 1.3 a server judges the client's certificate after the handshake.
        _ if said.contains(" alert ") => {
            let why = openssl_reason(&said);
            return Failure::here(format!(
                "the database at {place} does not accept the certificate in sslcert ({why}): use one by an authority \
                 in its ssl_ca_file"
            ));
        }
        (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset, _) => {
            format!("the server at {place} breaks the connection off: is it PostgreSQL, and is it healthy?")
        }
        _ => format!("the database at {place} cannot be reached: {said}"),
    };
    Failure::elsewhere(sentence)
}
