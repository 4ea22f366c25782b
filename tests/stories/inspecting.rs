//! `rgsd inspect` and `rgsd diff`, run as operators run them: on files, on standard input, on servers.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use rgsd::gossip::Direction;
use rgsd::snapshot::Version;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{Certificates, ServerCertificate};
use crate::support::{Run, Running, World, rgsd, rgsd_with, story};

fn json_of(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{}\n{}", run.stdout, run.stderr))
}

fn saved(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("written");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn a_server_and_its_files_are_inspected_and_two_of_its_epochs_compared() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [v1, v2] = [service.fetch(Version::V1).await, service.fetch(Version::V2).await];
        let (v1, v2) = (saved(&dir, "v1", &v1), saved(&dir, "v2", &v2));

        // By the server's URL, by the one that wallets have, and by file: it is the same.
        let of_file = json_of(&rgsd(["inspect", "--json", text(&v2)]));
        assert_eq!((&of_file["version"], &of_file["chain"]), (&json!(2), &json!("regtest")));
        assert_eq!(of_file["channels"], world.truth().channel_count());
        assert_eq!(of_file["updates_full"], 2 * world.truth().channel_count());
        for (path, version) in [("", 2), ("/snapshot", 1), ("/snapshot/v2/", 2), ("/0.bin", 1)] {
            let run = rgsd(["inspect", "--json", &service.url(path)]);
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{path}");
            let told = json_of(&run);
            assert_eq!((&told["version"], &told["channels"]), (&json!(version), &of_file["channels"]), "{path}");
            if version == 2 {
                assert_eq!(told["bytes"], of_file["bytes"]);
            }
        }
        let run = rgsd(["inspect", text(&v2)]);
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains("where the bytes go") && run.stdout.contains("regtest"), "{}", run.stdout);

        // Nothing happened yet.
        let run = rgsd(["diff", text(&v2), &service.url("")]);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.ends_with("No difference.\n"), "{}", run.stdout);
        let run = rgsd_with(|command| command.args(["diff", "-", text(&v2)]).stdin(File::open(&v1).expect("there")));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.contains("Capacities and node details are not compared"), "{}", run.stdout);

        // A fee changes.
        let channel = world.a_routable_channel();
        service.hears(&store, world.change_fee(channel, Direction::TwoToOne)).await;
        service.next_epoch().await;
        let told = &world.network.channels()[channel];
        let to = told.policies[1].fee_proportional_millionths;
        let run = rgsd(["diff", text(&v2), &service.url("/v2/snapshot/0")]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let line = format!("~ {}/1  fee_proportional_millionths {} -> {to}\n", told.scid, to - 137);
        assert!(run.stdout.ends_with(&line), "{line}{}", run.stdout);
        let run = rgsd(["diff", "--json", text(&v1), &service.url("/snapshot")]);
        let changes = json_of(&run)["policies_changed"].clone();
        let change = json!({ "field": "fee_proportional_millionths", "from": to - 137, "to": to });
        assert_eq!(changes, json!([{ "scid": told.scid.to_string(), "direction": 1, "changes": [change] }]));
        service.stop().await;
    });
}

/// A snapshot without anything in it.
fn empty() -> Vec<u8> {
    [&b"LDK\x01"[..], bitcoin::constants::ChainHash::SIGNET.as_bytes(), &[0; 16]].concat()
}

/// Expects one sentence with all of `words`.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let run = rgsd(arguments);
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{}", run.stderr);
    assert!(run.stderr.starts_with("rgsd: ") && run.stderr.lines().count() == 1, "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} is missing: {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let good = saved(&dir, "good", &empty());
    let damaged = saved(&dir, "damaged", &empty()[..50]);
    let other = saved(&dir, "other", b"#!/bin/sh\n");
    let words = [text(&damaged), ": byte 48: expected the number of updates", "the snapshot ends 2 bytes later"];
    refused(&["inspect", text(&damaged)], 1, &words);
    refused(&["diff", text(&good), text(&damaged)], 2, &words);
    refused(&["inspect", text(&other)], 1, &[text(&other), ": byte 0: expected \"LDK\""]);
    refused(&["diff", text(&other), text(&good)], 2, &[text(&other), "it is not a snapshot"]);
    refused(&["inspect", "/no/such/file"], 1, &["cannot read /no/such/file: No such file"]);
    refused(&["diff", "-", "-"], 2, &["standard input can be read only once"]);
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    refused(&["inspect", &format!("http://{gone}")], 1, &[&format!("http://{gone}/v2/snapshot/0: cannot connect")]);
    let mut chain = empty();
    chain[4] ^= 1;
    let chain = saved(&dir, "chain", &chain);
    refused(&["diff", text(&good), text(&chain)], 2, &["good is of the chain signet", "nothing to compare"]);
    refused(&["diff", text(&good), text(dir.path())], 2, &["it is a directory"]);
}

/// A file that is too large takes no memory: it has holes only.
#[test]
fn a_file_over_256_mib_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("large");
    File::create(&path).and_then(|file| file.set_len((256 << 20) + 1)).expect("made");
    refused(&["inspect", text(&path)], 1, &[text(&path), "larger than 256 MiB"]);
}

#[test]
fn standard_input_may_be_empty() {
    let run = rgsd_with(|command| command.args(["inspect", "-"]).stdin(std::process::Stdio::null()));
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("rgsd: standard input: byte 0: expected"), "{}", run.stderr);
}

#[test]
fn a_server_behind_tls_is_trusted_by_its_certificate_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let certificates = Certificates::make(dir.path());
    let port = serve_tls(&certificates, empty());
    let url = format!("https://localhost:{port}/snapshot");
    let ask = |authority: &Path| {
        rgsd_with(|command| command.args(["inspect", "--json", &url]).env("SSL_CERT_FILE", authority))
    };
    let run = ask(&certificates.ca);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(json_of(&run)["source"], format!("{url}/0"));
    let run = ask(&certificates.other_ca);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stderr.contains(&url) && run.stderr.contains("certificate verify failed"), "{}", run.stderr);
}

/// Answers every request with these bytes, until the tests end. The port.
fn serve_tls(certificates: &Certificates, body: Vec<u8>) -> u16 {
    let (certificate, key) = certificates.server(ServerCertificate::Good);
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).expect("OpenSSL");
    acceptor.set_certificate_file(certificate, SslFiletype::PEM).expect("a certificate");
    acceptor.set_private_key_file(key, SslFiletype::PEM).expect("a key");
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that does not trust us goes away.
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.flush());
            let _ = stream.shutdown();
        }
    });
    port
}
