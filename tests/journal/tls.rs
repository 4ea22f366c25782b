//! Who is let in, with TLS or without: exactly whom libpq lets in. The oracle is `psql` with the same URL.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rgsd::journal::postgres::{DatabaseUrl, Settings, connect};
use tokio_postgres::SimpleQueryMessage;

use crate::postgres::{Cluster, Options, PASSWORD, ROLE, ServerCertificate, certificates};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
const PATIENCE: Duration = Duration::from_secs(30);
const IN_USE: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// How an attempt to connect ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Refused,
    Plain,
    Encrypted,
}

/// A database for each rule: `any` takes everyone, `tls` and `plain` only those, `cert` only a client certificate.
fn server(tls: Option<ServerCertificate>) -> Cluster {
    let mut hba = vec!["host any all all trust", "hostnossl plain all all trust"];
    if tls.is_some() {
        hba.extend(["hostssl tls all all trust", "hostssl cert all all cert"]);
    }
    let hba = hba.into_iter().map(str::to_owned).collect();
    let cluster = Cluster::start(Options { tls, hba, conf: Vec::new() });
    for database in ["any", "plain", "tls", "cert"] {
        cluster.sql(&format!("CREATE DATABASE \"{database}\""));
    }
    cluster
}

fn with_tls() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| server(Some(ServerCertificate::Good)))
}

fn without_tls() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| server(None))
}

fn with_another_name() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| server(Some(ServerCertificate::OtherName)))
}

fn url(cluster: &Cluster, host: &str, database: &str, words: &[String]) -> String {
    format!("postgres://{ROLE}@{host}:{}/{database}?{}", cluster.port(), words.join("&"))
}

/// What libpq does.
fn psql(url: &str) -> Verdict {
    let mut command = Command::new("psql");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    // No files of a home directory: we read none either.
    command.env("HOME", "/nonexistent").args(["-X", "-A", "-t", "-w", "-c", IN_USE, url]);
    let output = command.output().expect("psql started");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "t" => Verdict::Encrypted,
        "f" => Verdict::Plain,
        _ => Verdict::Refused,
    }
}

/// What we do, and our reason if we refuse or are refused.
async fn ours(url: &str) -> (Verdict, String) {
    let url: DatabaseUrl = match url.parse() {
        Ok(url) => url,
        Err(why) => return (Verdict::Refused, why),
    };
    let (client, wire) = match connect(&Settings { url, password_file: None }, PATIENCE).await {
        Ok(connected) => connected,
        Err(error) => return (Verdict::Refused, error.to_string()),
    };
    let rows = client.simple_query(IN_USE).await.expect("an answer");
    let encrypted = rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")));
    assert_eq!(wire.is_encrypted(), encrypted, "what we say of it is true");
    wire.close(client, PATIENCE).await;
    (if encrypted { Verdict::Encrypted } else { Verdict::Plain }, String::new())
}

/// Both with the same URL: they agree, or this fails.
async fn agreed(url: &str) -> Verdict {
    let theirs = {
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || psql(&url)).await.expect("no panic")
    };
    let (ours, why) = ours(url).await;
    assert_eq!(ours, theirs, "ours and libpq's, for {url} ({why})");
    assert_eq!(why.is_empty(), ours != Verdict::Refused);
    ours
}

/// Every mode with every kind of trust; how many of these were refused, went plain, and were encrypted.
async fn every_mode(cluster: &Cluster, host: &str, database: &str) -> [usize; 3] {
    let known = certificates();
    let root = |path: &Path| Some(format!("sslrootcert={}", path.display()));
    let roots = [None, root(&known.ca), root(&known.other_ca), root(&known.bundle), root(Path::new("/nonexistent"))];
    let mut counts = [0; 3];
    for mode in MODES {
        for root in &roots {
            let words: Vec<String> = [format!("sslmode={mode}")].into_iter().chain(root.clone()).collect();
            counts[agreed(&url(cluster, host, database, &words)).await as usize] += 1;
        }
    }
    counts
}

#[tokio::test]
async fn a_server_with_tls() {
    // Refused: verify-* without a root (4), and whatever insists, with the wrong one (3).
    assert_eq!(every_mode(with_tls(), "localhost", "any").await, [7, 11, 12]);
    assert_eq!(
        every_mode(with_tls(), "127.0.0.1", "any").await,
        [7, 11, 12],
        "the certificate names the address, too"
    );
}

#[tokio::test]
async fn a_server_that_insists_on_tls_or_on_its_absence() {
    // Without TLS there is no way in, and with the wrong root none with it.
    assert_eq!(every_mode(with_tls(), "localhost", "tls").await, [14, 0, 16]);
    assert_eq!(every_mode(with_tls(), "localhost", "plain").await, [15, 15, 0]);
}

#[tokio::test]
async fn a_server_without_tls() {
    assert_eq!(every_mode(without_tls(), "localhost", "any").await, [15, 15, 0]);
}

#[tokio::test]
async fn a_server_with_a_certificate_for_another_name() {
    // As with the right name, but for verify-full.
    assert_eq!(every_mode(with_another_name(), "localhost", "any").await, [9, 11, 10]);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate() {
    let known = certificates();
    let identities = [
        (&known.client, &known.client_key_pkcs8, ""),
        (&known.client, &known.client_key_pkcs1, ""),
        (&known.client, &known.client_key_encrypted, "&sslpassword=key%20secret"),
        (&known.client_ec, &known.client_ec_key_sec1, ""),
    ];
    for (certificate, key, more) in identities {
        let identity = format!("sslcert={}&sslkey={}{more}", certificate.display(), key.display());
        for (mode, verdict) in MODES.into_iter().zip([Verdict::Refused].into_iter().chain([Verdict::Encrypted; 5])) {
            let words = [format!("sslmode={mode}"), format!("sslrootcert={}", known.ca.display()), identity.clone()];
            assert_eq!(agreed(&url(with_tls(), "localhost", "cert", &words)).await, verdict, "{mode} {identity}");
        }
    }
    let cell = |words: String| async move {
        let words = [format!("sslmode=verify-ca&sslrootcert={}", certificates().ca.display()), words];
        agreed(&url(with_tls(), "localhost", "cert", &words)).await
    };
    let key = known.client_key_pkcs8.display();
    let open = known.client.with_file_name("open.key");
    std::fs::write(&open, std::fs::read(&known.client_key_pkcs8).expect("a key")).expect("written");
    std::process::Command::new("chmod").arg("644").arg(&open).status().expect("chmod");
    for (why, words) in [
        ("none", "application_name=x".to_owned()),
        ("there is none in the file's place", format!("sslcert=/nonexistent&sslkey={key}")),
        ("another's key", format!("sslcert={}&sslkey={key}", known.client_ec.display())),
        ("no key", format!("sslcert={}&sslkey=/nonexistent", known.client.display())),
        ("a key that everyone can read", format!("sslcert={}&sslkey={}", known.client.display(), open.display())),
        (
            "a key that stays locked",
            format!(
                "sslcert={}&sslkey={}&sslpassword=x",
                known.client.display(),
                known.client_key_encrypted.display()
            ),
        ),
    ] {
        assert_eq!(cell(words).await, Verdict::Refused, "{why}");
    }
}

#[tokio::test]
async fn a_socket_needs_no_tls_and_a_list_may_begin_with_the_dead() {
    let (cluster, ca) = (with_tls(), certificates().ca.display());
    let socket = cluster.socket().display().to_string();
    for mode in MODES {
        let words = format!("sslmode={mode}&sslrootcert={ca}&host={socket}&port={}", cluster.port());
        assert_eq!(agreed(&format!("postgres://{ROLE}@/any?{words}")).await, Verdict::Plain, "{mode}");
    }
    let encoded = socket.replace('/', "%2F");
    assert_eq!(agreed(&url(cluster, &encoded, "any", &[])).await, Verdict::Plain);

    let dead = crate::postgres::free_port();
    let words = format!("sslmode=verify-full&sslrootcert={ca}");
    let list = |hosts: String| format!("postgres://{ROLE}@{hosts}/any?{words}");
    let alive = format!("localhost:{}", cluster.port());
    assert_eq!(agreed(&list(format!("localhost:{dead},{alive}"))).await, Verdict::Encrypted);
    assert_eq!(agreed(&list(format!("nowhere.invalid,{alive}"))).await, Verdict::Encrypted);
    let list_of = |attributes| format!("{}&target_session_attrs={attributes}", list(alive.clone()));
    for (attributes, verdict) in [
        ("any", Verdict::Encrypted),
        ("read-write", Verdict::Encrypted),
        ("primary", Verdict::Encrypted),
        ("read-only", Verdict::Refused),
        ("standby", Verdict::Refused),
    ] {
        assert_eq!(agreed(&list_of(attributes)).await, verdict, "{attributes}");
    }
    // Who has heard us out and refused is the last word.
    let refusing = format!("localhost:{},{alive}", without_tls().port());
    assert_eq!(agreed(&list(refusing)).await, Verdict::Refused);
    let address = format!("{words}&hostaddr=127.0.0.1");
    let named = format!("postgres://{ROLE}@localhost:{}/any?{address}", cluster.port());
    assert_eq!(agreed(&named).await, Verdict::Encrypted);
    let misnamed = format!("postgres://{ROLE}@db.example:{}/any?{address}", cluster.port());
    assert_eq!(agreed(&misnamed).await, Verdict::Refused);
}

#[tokio::test]
async fn a_password_may_be_in_the_url() {
    let database = Cluster::shared().database();
    assert_eq!(agreed(&database.url).await, Verdict::Encrypted);
    let wrong = database.url.replace(&PASSWORD.replace(' ', "%20"), "hunter2");
    assert_eq!(agreed(&wrong).await, Verdict::Refused);
    assert_eq!(agreed(&format!("{}&channel_binding=require", database.url)).await, Verdict::Encrypted);
}
