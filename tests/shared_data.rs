//! Real mainnet data, from Core Lightning's tests: gossip with real signatures, all of which verify at its recorded
//! time, and none with one bit flipped; and a map of the whole network. Runs where the data lies beside the checkout
//! (feature `shared-data`); where it lies, `SHARED_DATA` says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::constants::ChainHash;
use rayon::prelude::*;
use rgsd::gossip::check::{Checker, Gossip, Heard, Limits, Refusal, Rules, Signatures};
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, NodeId, ShortChannelId, UnixMs};
use rgsd::recording::format::{self, Content, Format};
use rgsd::recording::source::Source;
use rgsd::recording::{Body, Damage, Found, Located, Record};
use rgsd::synth::{Topology, TopologyChannel};

/// A gossip message of the recording, and when it was recorded.
struct Recorded {
    message: Vec<u8>,
    timestamp: u32,
}

fn data(name: &str) -> PathBuf {
    let folder = std::env::var("SHARED_DATA").expect("SHARED_DATA names the folder with the data");
    PathBuf::from(folder).join(name)
}

/// The recording, as it is read, with the place of each record.
fn found() -> Vec<Located> {
    let source = Source::File(data("mainnet-2021.gossip_store"));
    let reading = format::open(&source).expect("a recording");
    assert_eq!(reading.format, Format::Store { version: 15 });
    let Content::Records(records) = reading.content else { panic!("a map") };
    records.collect::<Result<_, _>>().expect("it is read to its end")
}

/// The gossip messages among it.
fn recording() -> Vec<Recorded> {
    let message = |item: Located| match item.found {
        Found::Record(Record { body: Body::Message(message), timestamp, .. }) => {
            Some(Recorded { message: message.into(), timestamp })
        }
        _ => None,
    };
    found().into_iter().filter_map(message).collect()
}

fn checker() -> Checker {
    Checker::new(Rules {
        chain: ChainHash::BITCOIN,
        proofs: false,
        retention: Duration::from_secs(30 * 24 * 3600),
        limits: Limits::default(),
        signatures: Signatures::Checked,
    })
}

fn heard(message: Gossip) -> Vec<Heard> {
    vec![Heard { peer: NodeId::from_slice(&[2; 33]).expect("33 bytes"), message }]
}

/// The time at which a message was true: its own, where the record has none.
fn time_of(recorded: &Recorded) -> UnixMs {
    let wire = ChannelUpdate::from_wire(recorded.message.clone());
    let own = wire.map_or(recorded.timestamp, |update| update.timestamp());
    UnixMs(u64::from(recorded.timestamp.max(own)) * 1000)
}

#[test]
fn the_recording_has_what_it_is_said_to_have() {
    let (mut counts, mut deleted, mut pushed, mut damaged) = (HashMap::new(), 0, 0, Vec::new());
    for Located { offset, found } in found() {
        match found {
            Found::Record(Record { flags, body, .. }) => {
                let kind = match body {
                    Body::Message(message) => u16::from_be_bytes([message[0], message[1]]),
                    Body::Amount { .. } => 4101,
                    other => panic!("{other:?} at {offset}"),
                };
                *counts.entry(kind).or_insert(0) += 1;
                deleted += usize::from(flags.deleted);
                pushed += usize::from(flags.push);
            }
            Found::Damage(damage) => damaged.push((offset, damage)),
        }
    }
    assert_eq!(counts, HashMap::from([(256, 89), (258, 8), (4101, 88)]));
    assert_eq!((deleted, pushed), (6, 7));
    // The one `delete_chan` is the last record, and its checksum really does not fit.
    assert_eq!(damaged, [(42_653, Damage::Checksum)]);
}

#[test]
fn every_recorded_message_passes_at_its_recorded_time() {
    let (mut checker, mut accepted) = (checker(), HashMap::new());
    let recording = recording();
    for recorded in &recording {
        let kind = u16::from_be_bytes([recorded.message[0], recorded.message[1]]);
        let message = Gossip::from_wire(&recorded.message).expect("LDK reads it");
        let outcome = checker.check(time_of(recorded), heard(message));
        *accepted.entry(kind).or_insert(0) += outcome.facts.len();
    }
    let tally = checker.tally();
    assert_eq!(tally.refused_for(Refusal::BadSignature), 0, "every signature verifies: {tally:?}");
    assert_eq!(tally.refused_for(Refusal::Malformed), 0, "{tally:?}");
    assert_eq!(tally.received, recording.len() as u64);
    assert_eq!(tally.accepted + tally.refused.values().sum::<u64>(), tally.received);
    assert_eq!(accepted[&ChannelAnnouncement::TYPE], 89, "{tally:?}");
    assert_eq!(accepted[&ChannelUpdate::TYPE], 8, "{tally:?}");
}

#[test]
fn no_message_passes_with_any_bit_flipped() {
    let recording = recording();
    let announcements: HashMap<_, _> = recording
        .iter()
        .filter_map(|r| ChannelAnnouncement::from_wire(r.message.clone()).ok().map(|a| (a.scid(), r)))
        .collect();
    let tried: usize = recording.par_iter().map(|recorded| flip_every_bit(recorded, &announcements)).sum();
    assert!(tried > 100_000, "{tried} mutations tried");
}

/// Returns how many of the flipped messages could still be read, and so came to the signature checks.
fn flip_every_bit(recorded: &Recorded, announcements: &HashMap<ShortChannelId, &Recorded>) -> usize {
    let mut checker = checker();
    if let Ok(update) = ChannelUpdate::from_wire(recorded.message.clone())
        && let Some(announcement) = announcements.get(&update.scid())
    {
        let announced = Gossip::from_wire(&announcement.message).expect("LDK reads it");
        assert_eq!(checker.check(time_of(announcement), heard(announced)).facts.len(), 1);
    }
    let mut tried = 0;
    for bit in 0..(recorded.message.len() - 2) * 8 {
        let mut flipped = recorded.message.clone();
        flipped[2 + bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = Gossip::from_wire(&flipped) else { continue };
        let outcome = checker.check(time_of(recorded), heard(message));
        assert_eq!(outcome.facts, [], "bit {bit} of {} bytes does not matter?", recorded.message.len());
        tried += 1;
    }
    tried
}

#[test]
fn the_map_of_mainnet_is_read_whole() {
    let topology = Topology::open(&data("mainnet-2026-02-03.gossmap.gz")).expect("a good map");
    let disabled = |channel: &&TopologyChannel| channel.policies.iter().filter(|policy| !policy.enabled).count();
    let count = |n| topology.channels.iter().filter(|channel| disabled(channel) == n).count();
    assert_eq!((topology.channels.len(), topology.nodes), (50_808, 17_324));
    assert_eq!((count(2), count(1)), (16_915, 1_976));
}

#[test]
fn the_recording_replays_with_every_signature_valid() {
    let out = tempfile::tempdir().expect("a directory");
    let replay = std::process::Command::new(env!("CARGO_BIN_EXE_rgsd"))
        .args(["replay", "--json", "--graph", "complete", "--out"])
        .arg(out.path().join("replayed"))
        .arg(data("mainnet-2021.gossip_store"))
        .output()
        .expect("the binary runs");
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let said: serde_json::Value = serde_json::from_slice(&replay.stdout).expect("JSON");
    let records = &said["recordings"][0]["records"];
    let count = |kind: &str| records[kind].as_u64().unwrap_or(0);
    assert_eq!((count("channel_announcement"), count("channel_update"), count("channel_amount")), (89, 8, 88));
    // The one record that is left, a delete_chan, has a checksum that does not fit.
    assert_eq!(said["recordings"][0]["damage"]["checksum"]["first_offset"], 42_653);
    assert_eq!(said["signatures"], "checked");
    assert_eq!((&said["messages"]["received"], &said["messages"]["accepted"]), (&97.into(), &97.into()));
}
