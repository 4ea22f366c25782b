//! Real mainnet data, from Core Lightning's tests: gossip with real signatures, all of which verify at its recorded
//! time, and none with one bit flipped; and a map of the whole network. Runs where the data lies beside the checkout
//! (feature `shared-data`); where it lies, `SHARED_DATA` says.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::constants::ChainHash;
use rayon::prelude::*;
use rgsd::gossip::check::{Checker, Gossip, Heard, Limits, Refusal, Rules};
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, NodeId, ShortChannelId, UnixMs};
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

/// The gossip messages of a `gossip_store`, version byte 15: records of u16 flags, u16 length, u32 crc, u32
/// timestamp, big-endian, then the message. Core Lightning's own records (4101, 4103) are passed over.
fn recording() -> Vec<Recorded> {
    let path = data("mainnet-2021.gossip_store");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(bytes[0], 15, "version byte");
    let mut rest = &bytes[1..];
    let mut messages = Vec::new();
    while let [_, _, l1, l2, _, _, _, _, t1, t2, t3, t4, tail @ ..] = rest {
        let (message, after) = tail.split_at(usize::from(u16::from_be_bytes([*l1, *l2])));
        rest = after;
        let timestamp = u32::from_be_bytes([*t1, *t2, *t3, *t4]);
        if (256..=258).contains(&u16::from_be_bytes([message[0], message[1]])) {
            messages.push(Recorded { message: message.to_vec(), timestamp });
        }
    }
    assert!(rest.is_empty(), "a torn record");
    messages
}

fn checker() -> Checker {
    Checker::new(Rules {
        chain: ChainHash::BITCOIN,
        proofs: false,
        retention: Duration::from_secs(30 * 24 * 3600),
        limits: Limits::default(),
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
