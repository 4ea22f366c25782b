//! Recordings become snapshots: the same bytes every time, at the times that were asked for, and all or nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rgsd::gossip::{Direction, Policy, UnixMs};
use rgsd::recording::store::Writer;
use rgsd::recording::{Body, Flags, Record};
use rgsd::snapshot::Version;
use rgsd::synth::{Network, NetworkSpec, Topology};
use tempfile::TempDir;

use crate::support::{DEADLINE, Run, Truth, Wallet, rgsd};

/// An aligned hour.
pub const START_S: u32 = 1_770_076_800;
const HOUR_S: u32 = 3600;

pub fn network(channels: usize) -> Network {
    let spec = NetworkSpec::default();
    Network::new(&Topology::generate(channels, spec.seed), spec, UnixMs(u64::from(START_S) * 1000))
        .expect("a network")
}

/// As Core Lightning records: channels with their amounts and updates, then nodes, then what comes.
pub fn recording(network: &Network, talk: &[Bytes]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("room");
    let mut write = |body| writer.write(&Record { flags: Flags::default(), timestamp: 0, body }).expect("room");
    for channel in network.channels() {
        let [announcement, one, two] = channel.messages();
        write(Body::Message(announcement.to_vec().into()));
        write(Body::Amount { capacity_sat: channel.capacity_sat });
        [one, two].into_iter().for_each(|update| write(Body::Message(update.to_vec().into())));
    }
    network.nodes().iter().for_each(|node| write(Body::Message(node.announcement.to_vec().into())));
    talk.iter().for_each(|message| write(Body::Message(message.to_vec().into())));
    writer.into_inner()
}

/// Where the stories' files lie.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).expect("written");
        self.path(name)
    }

    /// What lies there, hidden files included.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("there");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("there").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

/// `rgsd replay` on the synthetic network's chain.
fn replay(recordings: &[&Path], out: &Path, flags: &[&str]) -> Run {
    let recordings = recordings.iter().map(|path| path.as_os_str());
    let network: &[&str] = if flags.contains(&"--network") { &[] } else { &["--network", "regtest"] };
    let out = ["--out".as_ref(), out.as_os_str()];
    let flags = network.iter().chain(flags).map(|flag| flag.as_ref());
    rgsd(["replay".as_ref()].into_iter().chain(recordings).chain(out).chain(flags))
}

/// The same, and it must succeed; returns what it prints.
pub fn replayed(recordings: &[&Path], out: &Path, flags: &[&str]) -> String {
    let run = replay(recordings, out, flags);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.stdout
}

fn snapshot(out: &Path, timestamp: u32) -> Vec<u8> {
    fs::read(out.join(format!("snapshots/{timestamp}/v2/snapshot/0"))).expect("a snapshot")
}

/// Every file below a directory, with what is in it.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).expect("there").map(|entry| entry.expect("there")) {
            match entry.file_type().expect("there") {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_symlink() => found.push((entry.path(), Vec::new())),
                _ => found.push((entry.path(), fs::read(entry.path()).expect("there"))),
            }
        }
    }
    let relative = |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(folder).expect("below").to_owned(), bytes);
    let mut found: Vec<_> = found.into_iter().map(relative).collect();
    found.sort();
    found
}

#[test]
fn the_same_recording_gives_the_same_bytes_every_time() {
    let place = Place::new();
    let mut network = network(60);
    let truth = Truth::of(&network);
    let before = recording(&network, &[]);
    let talk: Vec<Bytes> =
        (1..200).map(|n| network.next_update(UnixMs(u64::from(START_S + n * 30) * 1000))).collect();
    let mut bytes = before.clone();
    bytes.extend(&recording_tail(&talk));
    let file = place.file("recording", &bytes);

    let flags = ["--at", "1770076800", "--at", "2026-02-03T01:00:00Z"];
    let said = replayed(&[&file], &place.path("one"), &flags);
    assert!(said.contains("every signature was checked"), "{said}");
    replayed(&[&file], &place.path("two"), &flags);
    let one = contents(&place.path("one"));
    assert_eq!(one, contents(&place.path("two")));
    assert!(one.iter().any(|(path, _)| path.ends_with("journal.sqlite")), "the journal is there, too");

    let first = snapshot(&place.path("one"), START_S);
    Wallet::read(&first, Version::V2).assert_knows(&truth);
    assert_ne!(snapshot(&place.path("one"), START_S + HOUR_S)[40..], first[40..], "an hour later, fees have changed");
}

/// What comes after a recording's beginning: the same format without the version byte.
fn recording_tail(talk: &[Bytes]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("room");
    for message in talk {
        let body = Body::Message(message.to_vec().into());
        writer.write(&Record { flags: Flags::default(), timestamp: 0, body }).expect("room");
    }
    writer.into_inner().split_off(1)
}

#[test]
fn a_snapshot_tells_what_was_so_at_its_time_and_nothing_of_later() {
    let place = Place::new();
    let mut network = network(20);
    let enabled = |channel: &rgsd::synth::Channel| channel.policies.iter().all(|policy| policy.enabled);
    let index = network.channels().iter().position(enabled).expect("one that is enabled");
    let (scid, mut policy) = (network.channels()[index].scid, network.channels()[index].policies[0]);
    let first_fee = policy.fee_base_msat;
    let before = recording(&network, &[]);
    let mut fee_from = |fee: u32, timestamp: u32| {
        policy = Policy { fee_base_msat: fee, ..policy };
        network.set_policy(index, Direction::OneToTwo, policy, timestamp)
    };
    // Out of order: a recording has what its recorder heard, as it heard it.
    let talk =
        [fee_from(11, START_S + HOUR_S), fee_from(12, START_S + HOUR_S + 1), fee_from(13, START_S + 2 * HOUR_S)];
    let file = place.file("recording", &[before, recording_tail(&talk)].concat());

    let out = place.path("out");
    replayed(&[&file], &out, &["--every", "1h", "--from", "2026-02-03T00:00:00Z"]);
    let fee_at = |timestamp| {
        let wallet = Wallet::read(&snapshot(&out, timestamp), Version::V2);
        assert_eq!(wallet.synced_at, timestamp);
        wallet.policy(scid, 0).map(|policy| policy.fee_base_msat)
    };
    assert_eq!(fee_at(START_S), Some(first_fee));
    assert_eq!((fee_at(START_S + HOUR_S), fee_at(START_S + 2 * HOUR_S)), (Some(11), Some(13)));
    let current = fs::read_link(out.join("snapshots/current")).expect("a link");
    assert_eq!(current, Path::new(&(START_S + 2 * HOUR_S).to_string()));
}

#[test]
fn several_recordings_are_one_by_their_times() {
    let place = Place::new();
    let mut network = network(30);
    let before = recording(&network, &[]);
    let talk: Vec<Bytes> = (1..60).map(|n| network.next_update(UnixMs(u64::from(START_S + n * 60) * 1000))).collect();
    let (odd, even): (Vec<_>, Vec<_>) = talk.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 1);
    let of = |part: Vec<(usize, Bytes)>| part.into_iter().map(|(_, message)| message).collect::<Vec<_>>();
    let whole = place.file("whole", &[before.clone(), recording_tail(&talk)].concat());
    let odd = place.file("odd", &[vec![16], recording_tail(&of(odd))].concat());
    let even = place.file("even", &[before, recording_tail(&of(even))].concat());

    replayed(&[&whole], &place.path("one"), &["--every", "10m"]);
    replayed(&[&odd, &even], &place.path("two"), &["--every", "10m", "--from", "2026-02-02T23:00:00Z"]);
    for minutes in [0, 10, 30, 50] {
        let at = START_S + minutes * 60;
        assert_eq!(snapshot(&place.path("one"), at), snapshot(&place.path("two"), at), "{minutes} minutes");
    }
}

#[test]
fn what_is_damaged_or_forged_is_counted_and_passed_over_or_with_strict_named() {
    let place = Place::new();
    let network = network(20);
    let good = recording(&network, &[]);
    let mut bytes = good[..good.len() - 3].to_vec();
    bytes[600] ^= 1; // within the first channel's first update
    let damaged = place.file("damaged", &bytes);

    let said = replayed(&[&damaged], &place.path("out"), &[]);
    assert!(said.contains("1 checksum") && said.contains("it ends within a record"), "{said}");
    let run = replay(&[&damaged], &place.path("strict"), &["--strict"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("damaged: byte ") && run.stderr.contains("checksum"), "{}", run.stderr);

    let mut forgery =
        network.sign_policy(2, Direction::OneToTwo, &network.channels()[2].policies[1], START_S).to_vec();
    forgery[10] ^= 1; // within its signature
    let forged = place.file("forged", &[good.clone(), recording_tail(&[forgery.into()])].concat());
    let said = replayed(&[&forged], &place.path("counted"), &[]);
    assert!(said.contains("1 bad_signature"), "{said}");
    let run = replay(&[&forged], &place.path("strict"), &["--strict"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains(&format!("byte {}: ", good.len())), "{}", run.stderr);
    assert!(run.stderr.contains("bad_signature"), "{}", run.stderr);

    let said = replayed(&[&forged], &place.path("trusted"), &["--trust", "--strict"]);
    assert!(said.contains("signatures were not checked (--trust)") && !said.contains("refused"), "{said}");
    assert_eq!(place.names(), ["counted", "damaged", "forged", "out", "trusted"], "nothing is left of the failures");
}

#[test]
fn a_replay_that_makes_no_sense_is_refused_in_one_sentence_and_leaves_nothing() {
    let place = Place::new();
    let good = place.file("good", &recording(&network(5), &[]));
    let text = place.file("text", b"channel,fee\n1x1x1,1000\n");
    let out = place.path("out");
    let refusal = |recording: &Path, out: &Path, flags: &[&str]| {
        let run = replay(&[recording], out, flags);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        run.stderr
    };
    assert!(refusal(&text, &out, &[]).contains("gossip_store"), "it names the formats that it knows");
    assert!(refusal(&place.path("nothing"), &out, &[]).contains("nothing"), "it names the file");
    let strange = refusal(&good, &out, &["--network", "signet"]);
    assert!(strange.contains("--network"), "{strange}");
    assert!(refusal(&good, &out, &["--at", "2001-01-01T00:00:00Z"]).contains("before the recording begins"));
    assert!(refusal(&good, place.0.path(), &[]).contains("not empty"));
    assert_eq!(place.names(), ["good", "text"]);
}

#[test]
fn a_signal_ends_a_replay_that_waits_for_its_input_and_nothing_is_left() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rgsd"))
        .args(["replay", "-", "--network", "regtest", "--out"])
        .arg(place.path("out"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(&recording(&network(5), &[])[..500]).expect("it reads");
    input.flush().expect("it reads");
    let started = Instant::now();
    while place.names().is_empty() {
        assert!(started.elapsed() < DEADLINE, "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    let output = child.wait_with_output().expect("ended");
    drop(input);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_packed_recording_on_standard_input_is_the_same_recording() {
    let place = Place::new();
    let bytes = recording(&network(10), &[]);
    let plain = place.file("plain", &bytes);
    let packed = place.file("packed", &zstd::encode_all(&bytes[..], 3).expect("packed"));
    replayed(&[&plain], &place.path("one"), &["--graph", "complete"]);
    let run = Command::new(env!("CARGO_BIN_EXE_rgsd"))
        .args(["replay", "-", "--network", "regtest", "--graph", "complete", "--json", "--out"])
        .arg(place.path("two"))
        .stdin(fs::File::open(packed).expect("there"))
        .output()
        .expect("started");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(contents(&place.path("one")), contents(&place.path("two")));
    let said: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(said["recordings"][0]["records"]["channel_announcement"], 10);
    assert_eq!(said["messages"]["received"], said["messages"]["accepted"]);
    assert_eq!(said["snapshots"][0]["channels"], 10);
}

#[test]
fn without_room_a_replay_ends_with_an_error_and_leaves_nothing() {
    let place = Place::new();
    let file = place.file("recording", &recording(&network(300), &[]));
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rgsd"), "replay"])
        .arg(&file)
        .args(["--network", "regtest", "--out"])
        .arg(place.path("parent/out"))
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("journal.sqlite"), "{said}");
    assert_eq!(place.names(), ["recording"], "nothing is left");
}

#[test]
fn recordings_that_divide_a_network_among_them_merge_in_any_order() {
    let place = Place::new();
    let network = network(20);
    let part = |name: &str, of: &dyn Fn(&rgsd::synth::Channel) -> Vec<Bytes>| {
        let messages: Vec<Bytes> = network.channels().iter().flat_map(of).collect();
        place.file(name, &[vec![16], recording_tail(&messages)].concat())
    };
    let announcements = part("announcements", &|channel| channel.messages()[..1].to_vec());
    let updates = part("updates", &|channel| channel.messages()[1..].to_vec());
    let whole = part("whole", &|channel| channel.messages().to_vec());
    replayed(&[&whole], &place.path("one"), &[]);
    let entire = fs::read_link(place.path("one/snapshots/current")).expect("a link");
    for (out, order) in [("two", [&announcements, &updates]), ("three", [&updates, &announcements])] {
        replayed(&order.map(PathBuf::as_path), &place.path(out), &[]);
        let current = place.path(out).join("snapshots").join(&entire);
        let bytes = |folder: &Path| fs::read(folder.join("v2/snapshot/0")).expect("a snapshot");
        assert!(bytes(&current) == bytes(&place.path("one/snapshots").join(&entire)), "{out}");
    }
}

#[test]
fn a_recording_is_held_against_a_snapshot_of_the_same_time() {
    let place = Place::new();
    let mut network = network(20);
    let before = recording(&network, &[]);
    let enabled = |channel: &rgsd::synth::Channel| channel.policies.iter().all(|policy| policy.enabled);
    let index = network.channels().iter().position(enabled).expect("one that is enabled");
    let policy = Policy { fee_base_msat: 4321, ..network.channels()[index].policies[0] };
    let change = network.set_policy(index, Direction::OneToTwo, policy, START_S + HOUR_S);
    let file = place.file("recording", &[before, recording_tail(&[change])].concat());
    let out = place.path("out");
    replayed(&[&file], &out, &["--at", "2026-02-03T00:00:00Z"]);
    let snapshot = out.join(format!("snapshots/{START_S}/v2/snapshot/0"));

    let diff = |flags: &[&str]| {
        let sides = ["diff".as_ref(), snapshot.as_os_str(), file.as_os_str()];
        let flags = ["--network", "regtest"].iter().chain(flags).map(|flag| flag.as_ref());
        rgsd(sides.into_iter().chain(flags))
    };
    let same = diff(&[]);
    assert_eq!(same.code, Some(0), "{}{}", same.stdout, same.stderr);
    let later = diff(&["--at", "2026-02-03T01:00:00Z", "--json"]);
    assert_eq!(later.code, Some(1), "{}", later.stderr);
    let said: serde_json::Value = serde_json::from_str(&later.stdout).expect("JSON");
    assert_eq!((&said["a"]["format"], &said["b"]["format"]), (&"snapshot".into(), &"recording".into()));
    let changed = said["policies_changed"].as_array().expect("a list");
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["scid"], network.channels()[index].scid.to_string());
    let strange = diff(&["--network=signet", "--at", "0"]);
    assert_eq!(strange.code, Some(2), "{}", strange.stdout);
    assert_eq!(place.names(), ["out", "recording"], "a comparison leaves nothing");
}

#[test]
fn which_times_are_asked_for_changes_no_snapshot() {
    let place = Place::new();
    let mut network = network(30);
    let mut writer = Writer::new(Vec::new()).expect("room");
    let mut tell = |seconds: u32, message: &Bytes| {
        let time = Body::Time(UnixMs(u64::from(START_S + seconds) * 1000));
        for body in [time, Body::Message(message.to_vec().into())] {
            writer.write(&Record { flags: Flags::default(), timestamp: 0, body }).expect("room");
        }
    };
    // Each channel's updates come before it, and again after it: the first time is too early.
    for (n, channel) in (0..).zip(network.channels().to_vec()) {
        let [announcement, one, two] = channel.messages();
        for (later, message) in (0..).step_by(200).zip([&one, &two, &announcement, &one, &two]) {
            tell(7 * n + later, message);
        }
    }
    for n in 0..300 {
        tell(1300 + 17 * n, &network.next_update(UnixMs(u64::from(START_S + 1300 + 17 * n) * 1000)));
    }
    let file = place.file("recording", &writer.into_inner());
    let end = START_S + 2 * HOUR_S;
    let (from, to) = (START_S.to_string(), end.to_string());
    replayed(&[&file], &place.path("one"), &["--at", &to, "--graph", "complete"]);
    let often = ["--every", "2m", "--from", &from, "--to", &to, "--graph", "complete"];
    replayed(&[&file], &place.path("many"), &often);
    let last = snapshot(&place.path("one"), end);
    assert_eq!(Wallet::read(&last, Version::V2).channel_count(), 30);
    assert_eq!(last, snapshot(&place.path("many"), end));
}
