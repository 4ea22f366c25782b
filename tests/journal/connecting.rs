//! Connecting to PostgreSQL: what an operator reads when it fails, a rotated password, a connection's end.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rgsd::journal::postgres::{Settings, Wire, connect};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_postgres::Client;

use crate::postgres::{
    Cluster, Options, PASSWORD, Pgbouncer, ROLE, ServerCertificate, certificates, free_port, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(url: &str) -> Settings {
    Settings { url: url.parse().unwrap_or_else(|why| panic!("{url}: {why}")), password_file: None }
}

async fn connected(url: &str) -> (Client, Wire) {
    connect(&settings(url), PATIENCE).await.expect("connected")
}

/// One sentence that has all of `words`, and no password.
async fn refused(settings: &Settings, words: &[&str]) {
    let said = connect(settings, PATIENCE).await.expect_err("refused").to_string();
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    assert!(!said.contains("hunter2") && !said.contains(PASSWORD) && said.lines().count() == 1, "{said}");
}

/// The same for a URL.
async fn url_refused(url: &str, words: &[&str]) {
    refused(&settings(url), words).await;
}

#[tokio::test]
async fn tls_that_fails_is_explained() {
    let hba = ["hostssl all all all cert".to_owned()];
    let cluster = Cluster::start(Options { hba: hba.to_vec(), ..Options::default() });
    let known = certificates();
    let (ca, port) = (known.ca.display(), cluster.port());
    let url = |words: String| format!("postgres://{ROLE}@localhost:{port}/postgres?{words}");
    let identity = format!("sslcert={}&sslkey={}", known.client.display(), known.client_key_pkcs8.display());
    let words = ["shows a certificate that is not trusted", "set sslrootcert"];
    url_refused(&url(format!("sslmode=verify-full&sslrootcert={}", known.other_ca.display())), &words).await;
    let words = ["client certificate", "set sslcert and sslkey"];
    url_refused(&url(format!("sslmode=verify-full&sslrootcert={ca}")), &words).await;
    let words = ["certificate authentication failed", "common name"];
    let other = url(format!("sslmode=verify-full&sslrootcert={ca}&{identity}"));
    url_refused(&other.replacen(ROLE, "postgres", 1), &words).await;
    url_refused(&url("sslmode=disable".to_owned()), &["no encryption", "sslmode=verify-full"]).await;
    let words = ["sslrootcert /nonexistent cannot be read", "sslrootcert=system"];
    url_refused(&url("sslmode=verify-ca&sslrootcert=/nonexistent".to_owned()), &words).await;
    let empty = url("sslmode=verify-ca&sslrootcert=/dev/null".to_owned());
    url_refused(&empty, &["holds no certificate"]).await;
    let locked = format!("sslcert={}&sslkey={}", known.client.display(), known.client_key_encrypted.display());
    url_refused(&url(format!("sslmode=require&{locked}")), &["is encrypted: say sslpassword"]).await;
    let words = ["cannot be decrypted", "sslpassword"];
    url_refused(&url(format!("sslmode=require&{locked}&sslpassword=hunter2")), &words).await;

    let other = Cluster::start(Options { tls: Some(ServerCertificate::OtherName), ..Options::default() });
    let url = format!("postgres://{ROLE}@localhost:{}/d?sslmode=verify-full&sslrootcert={ca}", other.port());
    url_refused(&url, &["not for the host localhost", "sslmode=verify-ca"]).await;
    let plain = Cluster::start(Options { tls: None, ..Options::default() });
    let url = format!("postgres://{ROLE}@localhost:{}/d?sslmode=require", plain.port());
    url_refused(&url, &["does not offer TLS, but sslmode=require", "sslmode=prefer"]).await;
}

#[tokio::test]
async fn a_log_in_that_fails_is_explained() {
    let cluster = Cluster::shared();
    let (ca, port) = (certificates().ca.display(), cluster.port());
    let url = |user: &str, database: &str| {
        format!("postgres://{user}@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={ca}")
    };
    let encoded = PASSWORD.replace(' ', "%20");
    let words = ["asks the user \"rgsd\" for a password", "database.password_file"];
    url_refused(&url(ROLE, "postgres"), &words).await;
    let words = ["password authentication failed", "is the password in the URL right"];
    url_refused(&url("rgsd:hunter2", "postgres"), &words).await;
    let words = ["database \"none_such\" does not exist", "CREATE DATABASE"];
    url_refused(&url(&format!("{ROLE}:{encoded}"), "none_such"), &words).await;

    let hba = ["host all all all trust".to_owned()];
    let trusting = Cluster::start(Options { hba: hba.to_vec(), ..Options::default() });
    let url = format!("postgres://nobody@localhost:{}/postgres", trusting.port());
    url_refused(&url, &["role \"nobody\" does not exist", "CREATE ROLE"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_explained() {
    let dead = free_port();
    let refused_at = |host: &str| format!("postgres://u:hunter2@{host}:{dead}/d");
    url_refused(&refused_at("127.0.0.1"), &["nothing listens at 127.0.0.1", "is PostgreSQL running"]).await;
    url_refused(&refused_at("none.invalid"), &["host none.invalid cannot be found"]).await;
    url_refused("postgres://u:hunter2@/d?host=/nonexistent", &["no server behind /nonexistent/.s.PGSQL.5432"]).await;

    // A server that accepts, and then says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("bound").port();
    for words in ["sslmode=disable", "sslmode=require"] {
        let url = format!("postgres://u:hunter2@127.0.0.1:{port}/d?connect_timeout=1&{words}");
        url_refused(&url, &["does not answer within 1s", "firewall"]).await;
    }
    let list = format!("postgres://u:hunter2@127.0.0.1:{dead},127.0.0.1:{port}/d?connect_timeout=1");
    url_refused(&list, &["nothing listens at", "; and ", "does not answer within 1s"]).await;
}

#[tokio::test]
async fn the_password_file_is_read_at_each_connection() {
    let cluster = Cluster::start(Options::default());
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("password");
    let ca = certificates().ca.display();
    let url = format!("postgres://{ROLE}:hunter2@localhost:{}/postgres?sslmode=verify-full&sslrootcert={ca}", {
        cluster.port()
    });
    let settings = Settings { password_file: Some(file.clone()), ..settings(&url) };
    refused(&settings, &["database.password_file", "cannot be read", "put the database's password there"]).await;
    fs::write(&file, "\n").expect("written");
    refused(&settings, &["is empty"]).await;
    fs::write(&file, "x".repeat(5000)).expect("written");
    refused(&settings, &["is it the right file?"]).await;
    fs::write(&file, format!("{PASSWORD}\r\n")).expect("written");
    drop(connect(&settings, PATIENCE).await.expect("connected"));

    cluster.sql(&format!("ALTER ROLE {ROLE} PASSWORD 'rotated'"));
    refused(&settings, &["password authentication failed"]).await;
    fs::write(&file, "rotated\n").expect("written");
    drop(connect(&settings, PATIENCE).await.expect("connected"));
}

#[tokio::test]
async fn notifications_are_handed_on_and_a_dropped_connection_ends() {
    let database = Cluster::shared().database();
    let (client, wire) = connected(&format!("{}&application_name=listener", database.url)).await;
    client.batch_execute("LISTEN news").await.expect("listening");
    database.sql("NOTIFY news; NOTIFY news");
    wire.notified().await;
    assert!(wire.server_version().starts_with(|first: char| first.is_ascii_digit()), "{}", wire.server_version());
    assert!(!wire.is_over());

    drop(wire);
    assert!(client.batch_execute("SELECT 1").await.is_err(), "nothing carries it");
    let here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ";
    tokio::task::spawn_blocking(move || {
        wait_until("the server has noticed", || database.value(&format!("{here}'listener'")) == "0");
    })
    .await
    .expect("no panic");
}

#[tokio::test]
async fn a_connection_says_why_it_ended() {
    let cluster = Cluster::start(Options::default());
    let (client, mut wire) = connected(&cluster.database().url).await;
    cluster.stop_immediate();
    let why = wire.ended().await.to_owned();
    assert!(why.contains("terminating connection") || why.contains("closed"), "{why}");
    assert_eq!(wire.ended().await, why, "it can be asked again");
    assert!(wire.is_over() && client.is_closed());
}

#[tokio::test]
async fn pgbouncer_may_be_in_between() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    for tls in [false, true] {
        let bouncer = Pgbouncer::start(cluster, tls);
        let (client, wire) = connected(&bouncer.url(&database)).await;
        assert_eq!(wire.is_encrypted(), tls);
        client.batch_execute("SELECT 1").await.expect("an answer");
    }
}

#[test]
fn the_configuration_can_be_checked() {
    let database = Cluster::shared().database();
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("password");
    fs::write(&file, PASSWORD).expect("written");
    let ca = certificates().ca.display().to_string();
    let url = database.url.replace(&format!(":{}", PASSWORD.replace(' ', "%20")), "");
    let system = url.replace(&ca, "system");
    let check = |url: &str, trusted: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rgsd"));
        // Where OpenSSL looks for the system's authorities.
        command.env("SSL_CERT_FILE", trusted).current_dir(dir.path());
        command.args(["config", "--check", "--replica", "--listen=127.0.0.1:0", "--database-url", url]);
        let output = command.arg("--database-password-file").arg(&file).output().expect("started");
        String::from_utf8(output.stdout).expect("text")
    };
    for good in [check(&url, "/dev/null"), check(&system, &ca)] {
        assert!(good.contains("ok      database.url: postgres://rgsd@localhost:"), "{good}");
        assert!(good.contains("PostgreSQL") && good.contains(", encrypted (sslmode=verify-full)"), "{good}");
        assert!(!good.contains("peers") && !good.contains("bitcoind") && !good.contains(PASSWORD), "{good}");
    }
    let bad = check(&system, "/dev/null");
    assert!(bad.contains("FAILED  database.url: ") && bad.contains("is not trusted"), "{bad}");
    let left = database.value("SELECT count(*) FROM pg_class WHERE relowner = 'rgsd'::regrole");
    assert_eq!(left, "0", "nothing was made");
}
