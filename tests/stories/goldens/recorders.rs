//! Stories of recordings: those of other recorders, damaged ones, and several together.

use rgsd::recording::{Body, Flags};
use rgsd::synth::{NetworkSpec, Topology};

use super::play::{CAPACITY_SAT, HOUR, PROVEN, Play, START_S, Story, fee};

const DELETED: Flags = Flags { deleted: true, push: false, dying: false, ratelimit: false, zombie: false };
const KEPT: Flags = Flags { deleted: false, ..DELETED };

/// As Core Lightning keeps it: no time but that of the messages, and what is superseded marked as deleted.
pub fn core_lightning() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2]]);
    play.record(Body::Uuid([7; 32]));
    let node = play.network.set_node(0, &[2], &[], START_S + 30);
    play.record_as(KEPT, START_S + 30, Body::Message(node.to_vec().into()));
    for (channel, flags) in [(0, KEPT), (1, DELETED), (2, DELETED)] {
        announce(&mut play, channel, flags);
        let millionths = 10 * (channel as u32 + 1);
        update(&mut play, channel, 0, millionths, 60, if channel == 0 { DELETED } else { flags });
        update(&mut play, channel, 1, millionths + 1, 60, flags);
    }
    update(&mut play, 0, 0, 12, HOUR + 60, DELETED);
    let damaged_at = play.recording.bytes() as usize;
    update(&mut play, 0, 0, 99, HOUR + 90, KEPT);
    update(&mut play, 0, 0, 13, 2 * HOUR + 60, KEPT);
    let scid = play.scid(1);
    play.record_as(KEPT, 0, Body::Dying { scid, deadline_height: 120 });
    play.close(1);
    update(&mut play, 0, 1, 14, 3 * HOUR, KEPT);
    play.record(Body::Ended { offset: 1, uuid: Some([8; 32]) });
    let told = |first: [u32; 2]| (0, first.map(fee), PROVEN);
    let (second, third) = ((1, [fee(20), fee(21)], PROVEN), (2, [fee(30), fee(31)], PROVEN));
    play.cut(HOUR, "three channels, two of which will be gone", &[told([10, 11]), second, third]);
    play.nodes(vec![(0, Some((vec![2], 0)))]); // it stands before its channels
    play.cut(2 * HOUR, "an update that is marked as deleted holds in its time", &[told([12, 11]), second, third]);
    play.cut(3 * HOUR - 1, "a channel is closed where its closing is recorded", &[told([13, 11]), third]);
    play.cut(3 * HOUR, "one that is marked as deleted, without a closing, at the end", &[told([13, 14])]);
    let mut story = play.story("core-lightning");
    story.recordings[0].0 = "recording.gossip_store.zst";
    story.recordings[0].1[damaged_at + 12 + 100] ^= 1;
    Story { damage: &["checksum"], ..story }
}

fn announce(play: &mut Play, channel: usize, flags: Flags) {
    let wire = play.network.channels()[channel].announcement.clone();
    play.record_as(flags, START_S + 60, Body::Message(wire.to_vec().into()));
    play.record_as(flags, 0, Body::Amount { capacity_sat: CAPACITY_SAT });
}

fn update(play: &mut Play, channel: usize, direction: usize, millionths: u32, after_s: u32, flags: Flags) {
    let wire = play.sign(channel, direction, fee(millionths), after_s);
    play.record_as(flags, START_S + after_s, Body::Message(wire.to_vec().into()));
}

pub fn torn_tail() -> Story {
    let mut play = Play::new(&[[0, 1]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.at(HOUR + 60);
    play.fee(0, 0, 12);
    play.at(2 * HOUR);
    play.fee(0, 0, 13);
    play.cut(HOUR, "a channel", &[(0, [fee(10), fee(11)], PROVEN)]);
    play.cut(2 * HOUR, "the last update is half there, and counts for nothing", &[(0, [fee(12), fee(11)], PROVEN)]);
    let mut story = play.story("torn-tail");
    let whole = story.recordings[0].1.len();
    story.recordings[0].1.truncate(whole - 70);
    Story { torn: true, ..story }
}

/// The lnresearch topology dataset's format: messages, and nothing else.
pub fn gsp() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2]]);
    let mut bytes = b"GSP\x01".to_vec();
    for channel in [0, 1] {
        let announcement = play.network.channels()[channel].announcement.clone();
        let millionths = 10 * (channel as u32 + 1);
        let one = play.sign(channel, 0, fee(millionths), 60);
        let two = play.sign(channel, 1, fee(millionths + 1), HOUR + 60 * channel as u32);
        // In the second channel's case, an update stands before the announcement.
        let in_order = if channel == 0 { [announcement, one, two] } else { [one, announcement, two] };
        put(&mut bytes, &in_order);
    }
    let node = play.network.set_node(0, &[2], &[], START_S);
    let last = play.sign(0, 0, fee(12), HOUR + 120);
    put(&mut bytes, &[node, last]);
    let first = |millionths| (0, [fee(millionths), fee(11)], None);
    play.cut(HOUR, "one channel was heard in both directions", &[first(10)]);
    play.cut(2 * HOUR, "the other one, too; a fee changed", &[first(12), (1, [fee(20), fee(21)], None)]);
    play.nodes(vec![(0, Some((vec![2], 0)))]);
    Story { recordings: vec![("recording.gsp", bytes)], ..play.story("gsp") }
}

fn put(bytes: &mut Vec<u8>, messages: &[bytes::Bytes]) {
    for message in messages {
        match message.len() {
            short @ 0..0xfd => bytes.push(short as u8),
            long => bytes.extend([&[0xfd][..], &(long as u16).to_be_bytes()].concat()),
        }
        bytes.extend_from_slice(message);
    }
}

/// A map of a network, which the replay signs with keys of its own.
pub fn map() -> Story {
    let big = |value: u32| [&[0xfe][..], &value.to_be_bytes()].concat();
    let tables = [
        vec![2, 0, 0, 1, 2],                                              // two channels, 0-1 and 0-2
        vec![3, 4],                                                       // one direction of the second is disabled
        [vec![2], big(200_000), big(3_000_000_000), vec![1, 0]].concat(), // capacities
        [vec![2, 0], big(100_000), vec![1, 1, 1, 0]].concat(),            // htlc_minimum_msat
        [vec![3, 0, 1], big(7_000_000), vec![0, 1, 2, 0]].concat(),       // htlc_maximum_msat
        [vec![2, 0], big(u32::MAX), vec![0, 1, 0, 0]].concat(),           // fee_base_msat
        [vec![2, 1], big(300_000), vec![0, 1, 1, 0]].concat(),            // fee_proportional_millionths
        vec![3, 0, 40, 144, 1, 2, 1, 0],                                  // cltv_expiry_delta
    ];
    let bytes = [&b"GOSSMAP_COMPRESSv1\0"[..], &tables.concat()].concat();
    let topology = Topology::read_unpacked_gossmap(&bytes[..]).expect("a map");
    let mut play = Play::of(&topology, NetworkSpec::default());
    let channels = play.network.channels().iter().enumerate();
    let told: Vec<_> =
        channels.map(|(index, channel)| (index, channel.policies, Some(channel.capacity_sat))).collect();
    play.cut(0, "two channels of 200,000 and 3,000,000,000 sat", &told);
    Story { recordings: vec![("recording.gossmap.gz", bytes)], ..play.story("map") }
}

/// Two recorders with different peers.
pub fn merged() -> Story {
    let channels = [[0, 1], [1, 2]];
    let (mut one, mut two) = (Play::new(&channels), Play::new(&channels));
    one.at(0);
    one.open(0, [10, 11]);
    two.at(30);
    two.open(1, [20, 21]);
    let told = |first, second| [(0, [fee(first), fee(11)], PROVEN), (1, [fee(second), fee(21)], PROVEN)];
    one.cut(HOUR, "each has heard of one channel", &told(10, 20));
    two.at(HOUR + 60);
    let later = two.sign(0, 0, fee(13), HOUR + 60);
    one.at(HOUR + 30);
    one.fee(0, 0, 12);
    two.tell(&later);
    one.at(HOUR + 90);
    one.tell(&later);
    one.cut(HOUR + 45, "the first speaks of its channel", &told(12, 20));
    one.cut(2 * HOUR, "the second heard something newer of it, and told first", &told(13, 20));
    one.at(2 * HOUR + 60);
    one.fee(1, 0, 22);
    one.cut(3 * HOUR, "what only the second announced is updated by the first", &told(13, 22));
    let second = two.recording.into_inner();
    let mut story = one.story("merged");
    story.recordings[0].0 = "first.gossip_store";
    story.recordings.push(("second.gossip_store", second));
    story.refusing(&[("already_known", 1)])
}
