//! The status page, looked at with a real browser: in light and dark, on a phone, with the keyboard, and by a checker of
//! accessibility, which leaves its screenshots in `target/browser/shots`; and what it tells that nobody else looks at.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rgsd::gossip::Direction;
use rgsd::snapshot::Version;
use rgsd::synth::Behaviour;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{DEADLINE, Running, World, story};

/// How long the browser may take to close.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);

/// A browser, and who tells it what to do.
struct Browser {
    script: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    _profile: TempDir,
}

impl Browser {
    fn at(url: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let packages = here.join("target/browser");
        assert!(
            packages.join("node_modules").exists(),
            "{} lacks npm's packages: `make tools` puts them there",
            packages.display()
        );
        let profile = tempfile::Builder::new().prefix("rgsd-browser-").tempdir().expect("a temporary directory");
        let mut script = Command::new(program("node", "nodejs"))
            .arg(here.join("tests/browser/page.mjs"))
            .args([&packages, &program("chromium", "chromium")])
            .arg(url)
            .arg(packages.join("shots"))
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let (commands, said) = (script.stdin.take(), script.stdout.take().expect("piped"));
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            BufReader::new(said).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        Self { script, commands, answers, _profile: profile }
    }

    /// What is seen then, and what should not have been.
    fn tell_noise(&mut self, command: &str) -> (Value, Vec<Value>) {
        let commands = self.commands.as_mut().expect("there until the end");
        writeln!(commands, "{command}").expect("the browser listens");
        let answer = self.answers.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no answer to: {command}"));
        let mut seen: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(seen["failed"], Value::Null, "{command}");
        let noise = seen["noise"].take().as_array().cloned().expect("a list");
        (seen, noise)
    }

    /// What is seen then; nothing else may be.
    fn tell(&mut self, command: &str) -> Value {
        let (seen, noise) = self.tell_noise(command);
        assert_eq!(noise, Vec::<Value>::new(), "{command}");
        seen
    }

    /// Looks at the page in every way.
    fn look(&mut self, name: &str) -> Value {
        let seen = self.tell(&format!("look {name}"));
        assert_eq!((&seen["wide"], &seen["violations"]), (&json!([]), &json!([])), "{name}");
        assert_ne!(seen["light"], seen["dark"], "{name}");
        seen
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // No more commands: it closes the browser, which puts its files away, and ends, and with it what it says.
        drop(self.commands.take());
        let deadline = Instant::now() + CLOSES_WITHIN;
        while self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("this test needs {name}: install Debian's package {package} (make tools does)"))
}

#[test]
fn people_see_how_the_server_fares() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let half = Behaviour { stall_after: Some(store.len() as u64 / 2), ..Behaviour::default() };
        let peer = world.peer_like(0, &store, half).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.accepted(10).await;
        let mut browser = Browser::at(&service.url("/"));

        let seen = browser.look("before");
        assert_eq!((&seen["tone"], &seen["word"]), (&json!("syncing"), &json!("No snapshot yet")));
        assert!(seen["figure"].as_str().is_some_and(|figure| figure.ends_with(" channels so far")), "{seen}");

        peer.set_behaviour(Behaviour::default());
        peer.disconnect_all();
        service.ready_after(store.len() as u64).await;
        service.hears(&store, world.change_fee(world.a_routable_channel(), Direction::OneToTwo)).await;
        let first = service.status().epoch.expect("an epoch");
        service.eventually("stale fees are known", |status| status.stale_fees.share.is_some()).await;
        let seen = browser.look("well");
        assert_eq!(
            (&seen["tone"], &seen["word"], &seen["reason"]),
            (&json!("well"), &json!("All is well"), &json!(""))
        );
        assert_eq!(seen["url"], service.url("/snapshot/v2"));
        assert_eq!(
            (&seen["tiles"]["Channels"], &seen["tiles"]["Fee changes, last day"]),
            (&json!(first.channels.to_string()), &json!("1"))
        );
        let plain = browser.tell("plain");
        assert_eq!(plain["refresh"], 1);
        let cards = ["Fee changes by the hour", "A wallet from this server: ", "Snapshot sizes", "/snapshot/v2"];
        for told in cards.into_iter().chain(["All is well", "Reloads every 30 s"]) {
            assert!(plain["text"].as_str().is_some_and(|text| text.contains(told)), "{told}: {plain}");
        }

        let fetched = browser.tell("elsewhere /v2/snapshot/0");
        assert!(fetched["origin"].as_str().is_some_and(|origin| origin.starts_with("http://localhost:")));
        assert_eq!((&fetched["status"], &fetched["again"]), (&json!(200), &json!(304)));
        assert!(fetched["bytes"] == json!(service.fetch(Version::V2).await), "the bytes that every wallet gets");

        let stays = browser.tell("stay");
        assert_ne!(stays["before"]["figure"], stays["after"]["figure"], "ages tick");
        let focus = json!({ "on": "The same as a table", "unfolded": true });
        assert_eq!(stays["focus"], focus);
        let shown = stays["after"]["epoch"].as_str().expect("an epoch").to_owned();
        service.next_epoch().await;
        service.body(first.timestamp).await; // a delta is made
        let seen = browser.tell(&format!("changed {shown}"));
        assert_eq!(
            (&seen["mine"], &seen["scroll"], &seen["focus"]),
            (&json!(true), &json!(400), &focus),
            "the same page"
        );
        assert_eq!(browser.tell("hidden")["meanwhile"], 0);

        peer.stop().await;
        service.eventually("the loss is noticed", |status| status.problem.is_some()).await;
        let seen = browser.tell("tone problem");
        let reason = seen["reason"].as_str().expect("a reason");
        let reasons = ["No peer is connected: check the peers and the network", "Connecting to the peers"];
        assert!(reasons.contains(&reason), "{reason}"); // it tries again all the while
        browser.look("problem");

        service.stop().await;
        let (seen, noise) = browser.tell_noise("tone away");
        assert_eq!(seen["word"], "The server does not answer");
        assert_eq!(seen["title"], "Away · rgsd on regtest");
        let refused = |noise: &Value| noise.as_str().is_some_and(|noise| noise.contains("ERR_CONNECTION_REFUSED"));
        assert!(noise.iter().all(refused), "{noise:?}");
    });
}

#[test]
fn fee_changes_are_counted_over_restarts() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let channel = world.a_routable_channel();
        for direction in Direction::BOTH {
            service.hears(&store, world.change_fee(channel, direction)).await;
        }
        service.eventually("both are counted", |status| status.fee_changes.total == 2).await;
        service.next_epoch().await;
        let before = service.status();
        assert_eq!(before.fee_changes.hours.iter().map(|hour| hour.changes).sum::<u32>(), 2);
        assert_eq!(before.recent.len(), 2);
        let epoch = before.epoch.expect("an epoch").timestamp;
        assert!(before.next_cut.is_some_and(|next| (1..=600).contains(&(next - epoch))), "{:?}", before.next_cut);
        service.stop().await;

        let service = Running::start(&world, world.config([&peer])).await;
        service.eventually("the journal is read", |status| status.fee_changes.total == 2).await;
        let after = service.status();
        assert_eq!(after.fee_changes.hours.iter().map(|hour| hour.changes).sum::<u32>(), 2);
        assert_eq!(after.history.channels, 40);
        service.stop().await;
    });
}
