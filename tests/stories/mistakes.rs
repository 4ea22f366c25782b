//! Every error that a user can cause is one clear sentence of the real binary, which names culprit and remedy.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use bitcoin::Network;
use rgsd::gossip::{Clock, SystemClock};
use rgsd::journal::SqliteJournal;
use tempfile::TempDir;

use crate::support::rgsd;

const PEER: &str = "03864ef025fde8fb587d989186ce6a4a186895ee44a926bfc370e2c366597a3f8f@127.0.0.1:1";

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Runs the service with these settings, and otherwise good ones, and expects one sentence with all of `words`.
fn refused(data_dir: &Path, settings: &[(&str, &str)], words: &[&str]) {
    let good = [("network", "regtest"), ("peers", PEER), ("listen", "127.0.0.1:0"), ("log", "off")];
    let left = good.iter().filter(|(key, _)| settings.iter().all(|(other, _)| key != other));
    let mut arguments = vec![OsString::from("serve"), "--data-dir".into(), data_dir.into()];
    for (key, value) in left.chain(settings) {
        arguments.extend([format!("--{key}").into(), OsString::from(value)]);
    }
    let run = rgsd(arguments);
    let said = &run.stderr;
    assert_eq!(run.code, Some(1), "{said}");
    assert_eq!(run.stdout, "");
    assert!(said.starts_with("rgsd: ") && said.lines().count() == 1, "not one sentence: {said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

fn journal(data_dir: &Path, network: Network) -> SqliteJournal {
    SqliteJournal::open(data_dir, network, SystemClock.now(), &mut rand::rng()).expect("a journal")
}

#[test]
fn values_that_make_no_sense() {
    let dir = temporary();
    let expect = |setting: (&str, &str), words: &[&str]| refused(dir.path(), &[setting], words);
    expect(("peers", "nonsense"), &["peers", "nonsense", "expected pubkey@host:port", "--peers"]);
    expect(("peers", "0123@127.0.0.1:9735"), &["0123", "66 hexadecimal digits"]);
    expect(("interval", "7m"), &["interval", "7m", "multiple of 10 s", "near it"]);
    expect(("interval", "often"), &["interval", "often", "such as 10s, 10m or 1h"]);
    expect(("listen", "here"), &["listen", "here", "such as 127.0.0.1:3000"]);
    expect(("network", "mainnet"), &["network", "mainnet", "bitcoin"]);
    expect(("retention", "1d"), &["retention", "1d", "at least 8d"]);
    expect(("bitcoind-rest-url", "https://127.0.0.1:1"), &["bitcoind.rest_url", "plain HTTP"]);
    expect(("peers", ""), &["peers"]);
}

#[test]
fn several_mistakes_are_told_at_once() {
    let run = rgsd(["serve", "--network=regtest", "--peers=a,b", "--interval=7m"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("rgsd: 3 mistakes in the configuration:\n"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 4, "{}", run.stderr);
}

#[test]
fn a_configuration_file_that_is_missing_or_has_an_unknown_key() {
    let dir = temporary();
    let file = dir.path().join("rgsd.toml");
    let name = file.to_str().expect("text");
    refused(dir.path(), &[("config", name)], &[name, "there is no file", "--config"]);
    fs::write(&file, "intervall = \"1h\"\n").expect("written");
    refused(dir.path(), &[("config", name)], &[name, "intervall", "did you mean interval?"]);
    fs::write(&file, "interval = \n").expect("written");
    refused(dir.path(), &[("config", name)], &[name, "line 1"]);
}

#[test]
fn a_port_in_use() {
    let dir = temporary();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    refused(dir.path(), &[("listen", &address)], &[&address, "in use", "listen"]);
}

#[test]
fn a_data_directory_that_cannot_be_one() {
    let dir = temporary();
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").expect("written");
    refused(&file, &[], &[file.to_str().expect("text"), "data"]);
    // Not even root can make a directory there.
    refused(Path::new("/proc/rgsd"), &[], &["/proc/rgsd", "data"]);
}

#[test]
fn a_journal_of_another_network() {
    let dir = temporary();
    drop(journal(dir.path(), Network::Signet));
    refused(dir.path(), &[], &["journal", "signet", "regtest", "data_dir"]);
}

#[test]
fn a_data_directory_of_a_running_rgsd() {
    let dir = temporary();
    let _held = journal(dir.path(), Network::Regtest);
    refused(dir.path(), &[], &["another rgsd", dir.path().to_str().expect("text"), "stop it"]);
}

#[test]
fn files_that_are_damaged() {
    let dir = temporary();
    let file = dir.path().join("journal.sqlite");
    fs::write(&file, [b'x'; 8192]).expect("written");
    let name = file.to_str().expect("text");
    refused(dir.path(), &[], &[name, "damaged", "back-up", "move it away"]);

    let dir = temporary();
    drop(journal(dir.path(), Network::Regtest));
    let file = dir.path().join("journal.sqlite");
    let mut bytes = fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[100..middle].fill(0xa5);
    fs::write(&file, bytes).expect("written");
    refused(dir.path(), &[], &[file.to_str().expect("text"), "damaged"]);

    let dir = temporary();
    fs::write(dir.path().join("node_key"), b"short").expect("written");
    refused(dir.path(), &[], &["node_key", "32 bytes", "move it away"]);
}

#[test]
fn wrong_usage_ends_with_code_2() {
    for arguments in [&["serve", "--intervall=1h"][..], &["dance"], &["demo", "--interval=7s"], &[]] {
        let run = rgsd(arguments);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
}
