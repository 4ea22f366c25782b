//! Recordings: live gossip to files that each tell of the whole network, journals exported, and both replayed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rgsd::gossip::check::Gossip;
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Closing, Direction, Fact, NodeAnnouncement, UnixMs};
use rgsd::history::History;
use rgsd::journal::{Draft, Event, Graph, Journal, Seq, SqliteJournal};
use rgsd::recording::{self, Body, Content, Damage, Found, Source};
use rgsd::snapshot::{self, LeftOut, Matter, Version};
use rgsd::synth::{Behaviour, PeerHandle};

use crate::gossmap::told_by_their_reader;
use crate::support::{Process, Running, Wallet, World, eventually, rgsd, story};

const BINARY: &str = env!("CARGO_BIN_EXE_rgsd");
const VERSIONS: [(Version, &str); 2] = [(Version::V1, "snapshot/0"), (Version::V2, "snapshot/v2/0")];

/// A journal, or a part of it, as a recording.
fn exported(world: &World, name: &str, more: &[&str]) -> PathBuf {
    let file = world.data_dir().join(name);
    let arguments = ["record", "--from-journal"].map(OsStr::new).into_iter();
    let arguments = arguments.chain([world.data_dir().as_os_str(), OsStr::new("--out"), file.as_os_str()]);
    let run = rgsd(arguments.chain(more.iter().map(OsStr::new)));
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    file
}

/// Snapshots of recordings, replayed.
struct Replayed {
    out: PathBuf,
    said: String,
}

impl Replayed {
    fn of<'a>(world: &World, files: impl IntoIterator<Item = &'a Path>, at: &[u32]) -> Self {
        let out =
            tempfile::Builder::new().prefix("replayed-").tempdir_in(world.data_dir()).expect("a directory").keep();
        let mut arguments: Vec<OsString> = ["replay", "--network", "regtest", "--out"].map(OsString::from).into();
        arguments.push(out.clone().into());
        arguments.extend(at.iter().flat_map(|at| ["--at".into(), at.to_string().into()]));
        arguments.extend(files.into_iter().map(OsString::from));
        let run = rgsd(arguments);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        Self { out, said: run.stdout }
    }

    /// The timestamps of the snapshots, in order.
    fn epochs(&self) -> Vec<u32> {
        let entries =
            fs::read_dir(self.out.join("snapshots")).expect("a directory").map(|entry| entry.expect("an entry"));
        let mut epochs: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        epochs.sort_unstable();
        epochs
    }

    /// Both versions.
    fn bytes(&self, epoch: u32) -> [Vec<u8>; 2] {
        let folder = self.out.join("snapshots").join(epoch.to_string());
        VERSIONS.map(|(_, path)| fs::read(folder.join(path)).expect("a snapshot of this epoch"))
    }

    fn wallet(&self, epoch: u32) -> Wallet {
        Wallet::read(&self.bytes(epoch)[1], Version::V2)
    }
}

/// What is served now: the epoch, and both versions.
async fn served(service: &Running) -> (u32, [Vec<u8>; 2]) {
    let epoch = service.status().epoch.expect("an epoch").timestamp;
    (epoch, [service.fetch(Version::V1).await, service.fetch(Version::V2).await])
}

#[test]
fn an_exported_journal_replays_to_the_bytes_that_were_served() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let mut messages = store.len() as u64;
        service.ready_after(messages).await;
        let mut epochs = vec![served(&service).await];
        for direction in [Direction::OneToTwo, Direction::TwoToOne, Direction::OneToTwo] {
            for channel in 0..10 {
                store.append(world.change_fee(channel, direction));
            }
            store.append(world.network.next_node_announcement(world.clock.now()));
            messages += 11;
            service.accepted(messages).await;
            service.next_epoch().await;
            epochs.push(served(&service).await);
        }

        // The service is running all the while.
        let stamps: Vec<u32> = epochs.iter().map(|(epoch, _)| *epoch).collect();
        let check = |file: &Path, epochs: &[(u32, [Vec<u8>; 2])]| {
            let at: Vec<u32> = epochs.iter().map(|(epoch, _)| *epoch).collect();
            let replayed = Replayed::of(&world, [file], &at);
            assert_eq!(replayed.epochs(), at);
            for (epoch, bytes) in epochs {
                assert!(replayed.bytes(*epoch) == *bytes, "epoch {epoch} of {}: {}", file.display(), replayed.said);
            }
        };
        check(&exported(&world, "all", &[]), &epochs);
        let time = |at: u32| stamps[at as usize].to_string();
        check(&exported(&world, "from", &["--from", &time(1)]), &epochs[1..]);
        check(&exported(&world, "between", &["--from", &time(0), "--to", &time(2)]), &epochs[..3]);
        check(&exported(&world, "to", &["--to", &time(0)]), &epochs[..1]);

        let piped = world.data_dir().join("piped");
        let line =
            format!("{BINARY} record --from-journal {0} --out - > {1}", world.data_dir().display(), piped.display());
        assert!(Command::new("sh").arg("-c").arg(line).status().expect("a shell").success());
        check(&piped, &epochs);
        service.stop().await;

        // And of a journal whose service is gone.
        check(&exported(&world, "later", &[]), &epochs);
    });
}

/// A journal, as if a service had written it; each of its epochs, and what was published then.
fn journaled(world: &World, drafts: &[Draft]) -> Vec<(u32, [Vec<u8>; 2])> {
    let network = world.network.spec().chain;
    let journal = SqliteJournal::open(world.data_dir(), network, world.clock.now(), &mut rand::rng());
    let first = journal.expect("a new journal").append(drafts).expect("room");
    let mut history = History::new();
    let mut epochs = Vec::new();
    for (draft, seq) in drafts.iter().zip(first.0..) {
        history.apply(&draft.clone().numbered(Seq(seq)));
        if let Event::Epoch { timestamp, .. } = draft.event {
            let matter = history.last_epoch().and_then(|epoch| Matter::of(&history, epoch)).expect("just cut");
            let cut = snapshot::cut(matter, &LeftOut::default(), network, world.now_s()).expect("a snapshot");
            let full = cut.snapshot.full;
            epochs.push((timestamp, [full.v1.to_vec(), full.v2.to_vec()]));
        }
    }
    epochs
}

fn fact(wire: &[u8], capacity_sat: Option<u64>) -> Fact {
    match Gossip::from_wire(wire).expect("gossip") {
        Gossip::Channel(_) => {
            Fact::Channel { announcement: ChannelAnnouncement::from_wire(wire).expect("well-formed"), capacity_sat }
        }
        Gossip::Update(_) => Fact::Update(ChannelUpdate::from_wire(wire).expect("well-formed")),
        Gossip::Node(_) => Fact::Node(NodeAnnouncement::from_wire(wire).expect("well-formed")),
    }
}

#[test]
fn an_epoch_has_what_stands_before_it_whatever_the_clock_said() {
    story(async {
        let mut world = World::new(40).await;
        let (start, channel) = (world.now_s(), world.a_routable_channel());
        let mut drafts: Vec<Draft> = Vec::new();
        let mut add = |ms_after: i64, second: u32, event: Event| {
            let seen = UnixMs((i64::from(second) * 1000 + ms_after).unsigned_abs());
            drafts.push(Draft { seen, event });
        };
        for (message, n) in world.network.dump().iter().zip(0..) {
            // Some channels are proven, some are not.
            add(0, start, Event::Fact(fact(message, Some(10_000_000_000).filter(|_| n % 3 > 0))));
        }
        let epoch = |n: u32| start + 10 * n;
        let cut = |timestamp| Event::Epoch { timestamp, rules: snapshot::rules(Graph::Routable) };
        // Accepted after the epoch's second, and journaled before it; then the other way round.
        add(40, epoch(1), Event::Fact(fact(&world.change_fee(channel, Direction::OneToTwo), None)));
        add(90, epoch(1), cut(epoch(1)));
        add(-30, epoch(1), Event::Fact(fact(&world.change_fee(channel, Direction::OneToTwo), None)));
        // A clock that went back; and another channel in the place of one that was reorganised away.
        add(-5000, epoch(1), Event::Fact(fact(&world.change_fee(channel, Direction::TwoToOne), None)));
        for message in world.network.rival(channel, 1) {
            add(2000, epoch(1), Event::Fact(fact(&message, Some(10_000_000_000))));
        }
        add(0, epoch(2), cut(epoch(2)));
        let scid = world.network.channels()[channel].scid;
        add(0, epoch(2), Event::Fact(Fact::Closed { scid, reason: Closing::Silent }));
        add(0, epoch(3), cut(epoch(3)));
        let epochs = journaled(&world, &drafts);
        assert!(epochs.windows(2).all(|pair| pair[0].1[1][40..] != pair[1].1[1][40..]), "each tells something else");

        for began in 0..=3 {
            let from = epoch(u32::try_from(began).expect("small").max(1)).to_string();
            let more = if began == 0 { vec![] } else { vec!["--from", from.as_str()] };
            let file = exported(&world, &format!("from-{began}"), &more);
            let wanted = &epochs[began.max(1) - 1..];
            let at: Vec<u32> = wanted.iter().map(|(epoch, _)| *epoch).collect();
            let replayed = Replayed::of(&world, [file.as_path()], &at);
            for (epoch, bytes) in wanted {
                assert!(replayed.bytes(*epoch) == *bytes, "epoch {epoch}, begun {began}: {}", replayed.said);
            }
        }
    });
}

#[test]
fn what_cannot_be_exported_is_said_and_leaves_nothing_behind() {
    story(async {
        let world = World::new(20).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        service.stop().await;
        let (data_dir, out) = (world.data_dir(), world.data_dir().join("out"));
        let fails = |from: &Path, more: &[&str], what: &[&str]| {
            let arguments =
                [OsStr::new("record"), OsStr::new("--out"), out.as_os_str(), OsStr::new("--from-journal")];
            let run = rgsd(arguments.into_iter().chain([from.as_os_str()]).chain(more.iter().map(OsStr::new)));
            assert_eq!(run.code, Some(1), "{}", run.stdout);
            assert!(what.iter().all(|what| run.stderr.contains(what)), "{}", run.stderr);
            assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        };
        fails(&data_dir.join("nowhere"), &[], &["there is no journal in", "nowhere"]);
        fails(
            data_dir,
            &["--from", "2001-01-01T00:00:00Z"],
            &["--from 2001-01-01T00:00:00Z", "before the journal begins"],
        );
        fails(data_dir, &["--from", "2100-01-01T00:00:00Z"], &["after the journal ends: the journal has 20"]);
        fails(
            data_dir,
            &["--to", "2001-01-01T00:00:00Z"],
            &["--to 2001-01-01T00:00:00Z", "before the journal begins"],
        );
        assert!(!out.exists());
        fs::write(&out, "precious").expect("written");
        fails(data_dir, &[], &["is there already"]);
        assert_eq!(fs::read(&out).expect("still there"), b"precious");
        let strange = world.data_dir().join("strange");
        fs::create_dir(&strange).expect("made");
        fs::write(strange.join("journal.sqlite"), "no database at all").expect("written");
        fs::remove_file(&out).expect("removed");
        fails(&strange, &[], &["is damaged or not a journal"]);
        let left = fs::read_dir(data_dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
    });
}

/// The files of a recording, oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.collect();
    files.sort_unstable();
    files
}

/// What is in a file, in order.
fn found(file: &Path) -> Vec<Found> {
    let reading = recording::open(&Source::File(file.to_owned())).expect("a recording");
    let Content::Records(records) = reading.content else { panic!("a map") };
    records.map(|located| located.expect("readable").found).collect()
}

/// The messages that were recorded.
fn messages(files: &[PathBuf]) -> HashSet<Vec<u8>> {
    let found = files.iter().flat_map(|file| found(file));
    found
        .filter_map(|found| match found {
            Found::Record(recording::Record { body: Body::Message(wire), .. }) => Some(wire.into_vec()),
            _ => None,
        })
        .collect()
}

/// Waits until everything that is current on the network is recorded.
async fn all_recorded(world: &World, recorder: &Process, dir: &Path) {
    let missing = || {
        let there = messages(&files(dir));
        world.network.dump().iter().filter(|message| !there.contains(&message[..])).count()
    };
    eventually("all is recorded", || format!("{} are missing\n{}", missing(), recorder.said()), || missing() == 0)
        .await;
}

/// A recorder of these peers, with a data directory of its own.
fn recorder(world: &World, peer: &PeerHandle, dir: &Path, more: &[&str]) -> Process {
    let config = world.config_file_in(&world.data_dir().join("recorder"), "1h", [peer], "");
    let arguments = ["record", "--config"].map(OsStr::new).into_iter();
    let arguments = arguments.chain([config.as_os_str(), OsStr::new("--out"), dir.as_os_str()]);
    Process::start(arguments.chain(more.iter().map(OsStr::new)))
}

#[test]
fn each_file_of_a_recording_tells_of_the_whole_network() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let mut told = store.len() as u64;
        let dir = world.data_dir().join("recordings");
        let mut recorder = recorder(&world, &peer, &dir, &["--rotate-size", "60kB"]);
        eventually("its sync", || recorder.said(), || recorder.said().contains("has everything that a peer knows"))
            .await;
        service.accepted(told).await;
        for _ in 0..12 {
            for channel in 0..40 {
                store.append(world.change_fee(channel, Direction::OneToTwo));
            }
            store.append(world.network.next_node_announcement(world.clock.now()));
            told += 41;
            service.accepted(told).await;
        }
        all_recorded(&world, &recorder, &dir).await;
        recorder.signal("TERM");
        let (_, ended) = recorder.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", recorder.said());

        let files = files(&dir);
        assert!(files.len() > 2, "{files:?}\n{}", recorder.said());
        let whole = |file: &PathBuf| found(file).iter().all(|found| matches!(found, Found::Record(_)));
        assert!(files.iter().all(whole), "{}", recorder.said());
        let paths = || files.iter().map(PathBuf::as_path);
        for (file, count) in paths().zip(1..) {
            let alone = Replayed::of(&world, [file], &[]);
            let end = alone.epochs()[0];
            let theirs = told_by_their_reader(file).into_iter().filter(|line| line.starts_with("channel ")).count();
            assert_eq!(theirs, 40, "Core Lightning's own reader reads it, too");
            assert!(alone.wallet(end).channel_count() == world.truth().channel_count(), "{}", alone.said);
            let together = Replayed::of(&world, paths().take(count), &[end]);
            assert!(alone.bytes(end) == together.bytes(end), "{}\n{}", alone.said, together.said);
        }

        // All of it is what the service heard.
        let at = world.now_s() + 5;
        let recorded = Replayed::of(&world, paths(), &[at]);
        recorded.wallet(at).assert_knows(&world.truth());
        let journaled = Replayed::of(&world, [exported(&world, "journal", &[]).as_path()], &[at]);
        assert!(recorded.bytes(at) == journaled.bytes(at), "{}\n{}", recorded.said, journaled.said);
        service.stop().await;
    });
}

#[test]
fn a_recorder_that_is_killed_leaves_files_that_can_be_replayed() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let half = Behaviour { stall_after: Some(store.len() as u64 / 2), ..Behaviour::default() };
        let peer = world.peer_like(0, &store, half).await;
        let dir = world.data_dir().join("recordings");
        let first = recorder(&world, &peer, &dir, &[]);
        let messages_in =
            |file: usize| files(&dir).get(file).map_or(0, |file| messages(std::slice::from_ref(file)).len());
        eventually("a part is recorded", || first.said(), || messages_in(0) > 50).await;
        first.kill();
        let torn = files(&dir).remove(0);
        // Killed within a write, it may leave any part of that.
        let file = fs::OpenOptions::new().write(true).open(&torn).expect("it is there");
        file.set_len(file.metadata().expect("it is there").len() - 3).expect("cut");
        assert!(matches!(found(&torn).last(), Some(Found::Damage(Damage::TornTail { .. }))));
        let replayed = Replayed::of(&world, [torn.as_path()], &[]);
        assert!(replayed.said.contains("it ends within a record"), "{}", replayed.said);

        let mut brief = recorder(&world, &peer, &world.data_dir().join("brief"), &["--duration", "1s"]);
        assert_eq!(brief.ended().await.1.code(), Some(0), "{}", brief.said());
        assert!(brief.said().contains("what is recorded is a part of the network"), "{}", brief.said());

        // The next one begins a file of its own, and ends when it is to.
        peer.set_behaviour(Behaviour::default());
        let mut second = recorder(&world, &peer, &dir, &["--duration", "15s"]);
        all_recorded(&world, &second, &dir).await;
        let (_, ended) = second.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", second.said());
        assert!(second.said().contains("the duration is over"), "{}", second.said());
        let files = files(&dir);
        assert_eq!((files.len(), &files[0]), (2, &torn), "{files:?}");
        let both = Replayed::of(&world, files.iter().map(PathBuf::as_path), &[]);
        both.wallet(both.epochs()[0]).assert_knows(&world.truth());
        let alone = Replayed::of(&world, [files[1].as_path()], &[]);
        alone.wallet(alone.epochs()[0]).assert_knows(&world.truth());
    });
}

#[test]
fn channels_that_nobody_can_prove_are_recorded_all_the_same() {
    story(async {
        let world = World::new(30).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let dir = world.data_dir().join("recordings");
        let config = world.config([&peer]);
        let peers = config.peers[0].to_string();
        let own = world.data_dir().join("recorder");
        let arguments =
            ["record", "--network", "regtest", "--peers", &peers, "--data-dir"].map(OsStr::new).into_iter();
        let mut recorder = Process::start(arguments.chain([own.as_os_str(), OsStr::new("--out"), dir.as_os_str()]));
        all_recorded(&world, &recorder, &dir).await;
        recorder.signal("INT");
        let (_, ended) = recorder.ended().await;
        assert_eq!(ended.code(), Some(0), "{}", recorder.said());
        assert_eq!(recorder.said().matches("without proof of their funding").count(), 1, "{}", recorder.said());
        let unknown = |found: &Found| {
            matches!(found, Found::Record(recording::Record { body: Body::Amount { capacity_sat: 0 }, .. }))
        };
        let file = files(&dir).remove(0);
        assert_eq!(found(&file).iter().filter(|found| unknown(found)).count(), 30);
        Replayed::of(&world, [file.as_path()], &[]);
    });
}

#[test]
fn without_room_a_recording_ends_with_a_whole_record_and_says_so() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let dir = world.data_dir().join("recordings");
        let config = world.config_file_in(&world.data_dir().join("recorder"), "1h", [&peer], "");
        // Forty blocks, of 512 bytes or (in some shells) 1024, are the most that a file may have here: as if the disk were full then.
        let line = format!(
            "trap '' XFSZ; ulimit -f 40; exec {BINARY} record --duration 50s --config {} --out {}",
            config.display(),
            dir.display()
        );
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(line).env_clear();
        let output = tokio::task::spawn_blocking(move || shell.output().expect("a shell")).await.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("rgsd: there is no room left for the recording"), "{said}");
        let files = files(&dir);
        assert_eq!(files.len(), 1);
        assert!(found(&files[0]).iter().all(|found| matches!(found, Found::Record(_))), "it is whole");
        assert!(fs::metadata(&files[0]).expect("it is there").len() <= 40 * 1024);
    });
}
