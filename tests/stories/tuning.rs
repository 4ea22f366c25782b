//! `rgsd tune`, run as operators run it: on recordings, on a journal, beside the service that writes it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rgsd::gossip::{Direction, UnixMs};
use rgsd::synth::Network;
use serde_json::{Value, json};

use crate::replaying::{Place, START_S, network, recording, replayed};
use crate::support::{Run, Running, World, rgsd, rgsd_with, story};

const INTERVALS: [u64; 4] = [60, 600, 3_600, 10_800];

/// A recording of a day in which somebody changes a fee, or repeats it, every four minutes.
fn a_day(network: &Network) -> Vec<u8> {
    hours(network, 24)
}

/// The day's first hours.
fn hours(network: &Network, hours: u32) -> Vec<u8> {
    let at = |n: u32| UnixMs(u64::from(START_S + n * 240) * 1_000);
    let mut later = self::network(network.channels().len());
    let talk: Vec<Bytes> = (0..hours * 15).map(|n| later.next_update(at(n))).collect();
    recording(network, &talk)
}

/// `rgsd tune` on the synthetic network's chain.
fn tune(source: &[&str], out: &Path, flags: &[&str]) -> Run {
    let out = ["--out", out.to_str().expect("text"), "--network", "regtest"];
    rgsd(["tune"].iter().chain(source).chain(&out).chain(flags))
}

fn json_of(run: &Run) -> Value {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{}", run.stdout))
}

/// Without what is measured: how long the server was at work.
fn figures(mut answer: Value) -> Value {
    for row in answer["intervals"].as_array_mut().expect("rows") {
        let cpu_s = row["cost"]["server_cpu_s_an_hour"].take();
        assert!(cpu_s.as_f64().expect("seconds") > 0.0);
    }
    answer["sources"].take();
    answer
}

#[test]
fn a_recording_tells_which_interval_to_take_with_a_table_and_charts() {
    let place = Place::new();
    let network = network(80);
    let file = place.file("a-day", &a_day(&network));
    let file = file.to_str().expect("text");
    let flags =
        ["--payments", "90", "--intervals", "1m,10m,1h,3h,24h", "--amounts", "1k, 10k,100k sat", "--grace", "none"];

    let json = |flags: &[&str]| json_of(&tune(&[file], place.path(".").as_path(), flags));
    let answer = json(&[&flags[..], &["--json"]].concat());
    assert_eq!(answer["sources"], json!([file]));
    assert_eq!(answer["model"]["channels"], network.channels().len());
    assert_eq!(answer["model"]["amounts_sat"], json!([1_000, 10_000, 100_000]));

    assert_eq!(answer["model"]["left_out_s"], json!([86_400]), "a day is too short for it");
    assert_eq!(answer["model"]["propagation_recorded"], false);
    let rows = answer["intervals"].as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| row["interval_s"].as_u64().expect("seconds")).collect::<Vec<_>>(), INTERVALS);
    let number = |row: &Value, path: &str| {
        row.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {row}"))
    };
    for row in rows {
        let failed: f64 = row["failed"].as_object().expect("causes").values().filter_map(Value::as_f64).sum();
        assert_eq!(number(row, "/succeeded") + failed, number(row, "/payments"));
        assert_eq!(number(row, "/payments"), number(&answer, "/model/payments"));
        let rate = number(row, "/failure_rate");
        assert!(number(row, "/confidence/0") <= rate && rate <= number(row, "/confidence/1"));
        let syncs = 86_400.0 / number(row, "/interval_s");
        assert_eq!(number(row, "/cost/requests_a_wallet_a_day"), syncs);
        assert!(number(row, "/cost/delta_bytes_a_wallet_a_day") < number(row, "/cost/full_bytes_a_wallet_a_day"));
    }
    let [first, last] = [&rows[0], &rows[3]];
    assert!(number(last, "/failed/fee_insufficient") > number(first, "/failed/fee_insufficient"), "{last}");
    assert!(number(last, "/stale_fees/mean") > 5.0 * number(first, "/stale_fees/mean"), "{last}");
    let sentence = answer["recommendation"]["sentence"].as_str().expect("a sentence");

    // The same figures again; with another seed, others.
    assert_eq!(figures(answer.clone()), figures(json(&[&flags[..], &["--json"]].concat())));
    assert_ne!(figures(answer.clone()), figures(json(&[&flags[..], &["--json", "--seed", "2"]].concat())));

    let run = tune(&[file], place.path(".").as_path(), &flags);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    for word in ["1m", "10m", "1h", "3h", "fee_insufficient", "24h", sentence, "tune.svg", "tune.png"] {
        assert!(run.stdout.contains(word), "{word:?} is missing: {}", run.stdout);
    }
    assert!(fs::read(place.path("tune.png")).expect("a chart").starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(fs::read_to_string(place.path("tune.svg")).expect("a chart").contains("10m"));
}

#[test]
fn a_journal_that_was_replayed_from_a_recording_tells_the_same() {
    let place = Place::new();
    let network = network(60);
    let file = place.file("a-day", &a_day(&network));
    replayed(&[&file], &place.path("out"), &[]);
    // The recording notes no arrivals, and the journal has the messages' own times for them: there is no way at all.
    let flags = ["--payments", "60", "--intervals", "10m,3h", "--propagation", "0s", "--json"];
    let tuned = |source: &[&str]| figures(json_of(&tune(source, place.path(".").as_path(), &flags)));
    let [mut of_recording, mut of_journal] =
        [tuned(&[file.to_str().expect("text")]), tuned(&["--journal", place.path("out").to_str().expect("text")])];
    assert_eq!(of_recording["model"]["propagation_recorded"].take(), false);
    assert_eq!(of_journal["model"]["propagation_recorded"].take(), true);
    assert_eq!(of_recording, of_journal);
}

#[test]
fn what_came_after_the_time_that_is_looked_at_changes_no_figure() {
    let place = Place::new();
    let network = network(40);
    let until = (START_S + 11 * 3_600).to_string();
    let flags = ["--payments", "30", "--intervals", "10m,2h", "--to", &until, "--json"];
    let tuned = |name: &str, bytes: &[u8]| {
        let file = place.file(name, bytes);
        let answer = figures(json_of(&tune(&[file.to_str().expect("text")], &place.path("."), &flags)));
        ["live", "intervals", "recommendation"].map(|part| answer[part].clone())
    };
    assert_eq!(tuned("a-day", &a_day(&network)), tuned("half-a-day", &hours(&network, 12)));
}

#[test]
fn the_journal_of_a_running_service_is_read_beside_it() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let channel = world.a_routable_channel();
        for _ in 0..12 {
            service.pass(Duration::from_secs(900)).await;
            service.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
        }
        let data_dir = world.data_dir().to_str().expect("text");
        let out = tempfile::tempdir().expect("a directory");
        let flags = ["--payments", "60", "--intervals", "1m,30m", "--json"];
        let answer = json_of(&tune(&["--journal", data_dir], out.path(), &flags));
        assert_eq!(answer["model"]["propagation_recorded"], true);
        assert_eq!(answer["model"]["channels"], world.network.channels().len());

        // The same where nothing is named but the service's configuration.
        let config = format!("data_dir = {data_dir:?}\n");
        fs::write(out.path().join("rgsd.toml"), config).expect("room");
        let run =
            rgsd_with(|command| command.current_dir(out.path()).args(["tune", "--network", "regtest"]).args(flags));
        let by_configuration = json_of(&run);
        assert_eq!(by_configuration["model"]["channels"], answer["model"]["channels"]);
        assert!(out.path().join("tune.svg").exists());
        service.stop().await;
    });
}

#[test]
fn what_cannot_be_answered_is_said_in_a_sentence() {
    let place = Place::new();
    let network = network(20);
    let file = place.file("a-day", &a_day(&network));
    let file = file.to_str().expect("text");
    let out = place.path(".");
    let refused = |source: &[&str], flags: &[&str], code: i32, words: &[&str]| {
        let run = tune(source, &out, flags);
        assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "{word:?} is missing: {}", run.stderr);
        }
        assert!(code != 1 || run.stderr.starts_with("rgsd: ") && run.stderr.lines().count() == 1, "{}", run.stderr);
    };
    refused(&["--journal", "/no/such/place"], &[], 1, &["there is no journal in /no/such/place"]);
    refused(&["/no/such/file"], &[], 1, &["cannot read /no/such/file"]);
    refused(
        &[file],
        &["--intervals", "24h"],
        1,
        &["the shortest interval, 24h, needs 4d", "what is known and looked at is from"],
    );
    for ends in [["--from", "2100-01-01T00:00:00Z"], ["--to", "9"]] {
        refused(&[file], &ends, 1, &["the network is known from", "nothing to look at with these --from and --to"]);
    }
    refused(&[file], &["--network", "bitcoin"], 2, &["--network"]);
    refused(&[file], &["--to", "5", "--from", "9"], 1, &["--to", "is not after --from"]);
    refused(&[file], &["--grace", "10m:0"], 1, &["--grace"]);
    refused(&[file], &["--amounts", "2M BTC"], 2, &["--amounts", "expected an amount in sat"]);
    refused(
        &[file],
        &["--amounts", "1000000M", "--intervals", "1m", "--payments", "3"],
        1,
        &["no payment of 1,000,000,000,000 sat finds a route", "--amounts"],
    );
    refused(&[file], &["--intervals", "soon"], 2, &["--intervals"]);
    refused(&[file, "--journal", "x"], &[], 2, &["--journal"]);
    let run = rgsd(["tune", file, "--network", "regtest", "--out", "/no/such/directory"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("cannot write charts to /no/such/directory: name another directory"),
        "{}",
        run.stderr
    );
    let run = rgsd(["tune", file, "--out", out.to_str().expect("text")]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("are they of the network bitcoin?"), "{}", run.stderr);
    assert!(!out.join("tune.svg").exists());
}
