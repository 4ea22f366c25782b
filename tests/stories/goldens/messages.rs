//! Stories of messages: fees, chatter, nodes, and what is refused.

use rgsd::gossip::{Direction, Policy};

use super::play::{DAY, HOUR, PROVEN, Play, START_S, Story, fee};

pub fn fees() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.open(1, [20, 21]);
    play.cut(HOUR, "two channels", &[(0, [fee(10), fee(11)], PROVEN), (1, [fee(20), fee(21)], PROVEN)]);
    for (second, millionths) in [(1, 12), (2, 13), (3, 14)] {
        play.at(HOUR + second);
        play.fee(0, 0, millionths);
    }
    play.at(HOUR + 4);
    play.fee(1, 0, 99);
    play.at(HOUR + 5);
    play.fee(1, 0, 20);
    let words = "one fee changed three times, another went there and back";
    play.cut(2 * HOUR, words, &[(0, [fee(14), fee(11)], PROVEN), (1, [fee(20), fee(21)], PROVEN)]);
    tell_in_disorder(&mut play);
    let told = [(0, [fee(16), fee(11)], PROVEN), (1, [fee(20), fee(22)], PROVEN)];
    play.cut(3 * HOUR, "newer ones came first, twice, and up to a day ahead: the newest stamp holds", &told);
    play.at(3 * HOUR + 60);
    play.fee(1, 1, 23);
    let ancient = Policy { fee_base_msat: 7, ..fee(18) };
    let too_old = START_S + 3 * HOUR + 60 - (14 * DAY + 1);
    let ancient = play.network.sign_policy(0, Direction::TwoToOne, &ancient, too_old);
    play.tell(&ancient);
    play.cut(4 * HOUR, "one that is older than that stamp, and one that is too old, change nothing", &told);
    play.at(27 * HOUR);
    play.fee(1, 1, 24);
    let other = Policy {
        htlc_minimum_msat: 1000,
        htlc_maximum_msat: 500_000_000,
        fee_base_msat: 5,
        cltv_expiry_delta: 144,
        ..fee(11)
    };
    play.update(0, 1, other);
    let words = "the stamp is past; all but a fee changes";
    play.cut(28 * HOUR, words, &[(0, [fee(16), other], PROVEN), (1, [fee(20), fee(24)], PROVEN)]);
    play.story("fees").refusing(&[("already_known", 4), ("from_the_future", 1), ("stale", 1)])
}

fn tell_in_disorder(play: &mut Play) {
    let now = 2 * HOUR + 60;
    play.at(now);
    let older = play.sign(0, 0, fee(15), now - 30);
    let newer = play.sign(0, 0, fee(16), now);
    for wire in [&newer, &older, &newer] {
        play.tell(wire);
    }
    let ahead = play.sign(1, 1, fee(22), now + 23 * HOUR);
    play.tell(&ahead);
    let too_far_ahead = play.sign(1, 0, fee(29), now + 24 * HOUR + 1);
    play.tell(&too_far_ahead);
    let same_second = play.sign(0, 1, fee(17), 0);
    play.tell(&same_second);
}

pub fn chatty() -> Story {
    let mut play = Play::new(&[[0, 1]]).without_times();
    play.at(0);
    play.open(0, [10, 11]);
    for turn in 1..=25 {
        play.at(HOUR + turn);
        play.fee(0, 0, 100 + turn);
    }
    let told = |millionths| [(0, [fee(millionths), fee(11)], PROVEN)];
    play.cut(HOUR + 30, "of 25 updates in 25 seconds, the first twenty", &told(120));
    play.cut(HOUR + 60, "the newest waits until a minute after the first", &told(120));
    play.cut(HOUR + 75, "it is told, and those between were never", &told(125));
    play.story("chatty").refusing(&[("superseded", 4)])
}

/// More sets of features than may be said once for all, each of two nodes.
const FEATURE_SETS: usize = 8;
const ALL_TYPES: usize = 2 * FEATURE_SETS;
const LONG_NAME: usize = ALL_TYPES + 1;
const CHANGING: usize = ALL_TYPES + 2;
const SILENT: usize = ALL_TYPES + 3;

pub fn nodes() -> Story {
    let pairs: Vec<[u32; 2]> = (0..=SILENT as u32 / 2).map(|pair| [2 * pair, 2 * pair + 1]).collect();
    let mut play = Play::new(&pairs);
    play.at(0);
    (0..pairs.len()).for_each(|channel| play.open(channel, [10, 11]));
    let set = |number: usize| [vec![2], vec![0; number]].concat();
    for node in 0..ALL_TYPES {
        play.node(node, &set(node / 2), &ipv4(node as u8));
    }
    play.node(ALL_TYPES, &[0, 0, 2], &[&ipv4(1)[..], &ipv6(), &tor_v2(), &tor_v3(), &host("node.example")].concat());
    // One byte more than can be encoded, type, lengths and port included; and what follows it.
    play.node(LONG_NAME, &[], &[host(&"x".repeat(252)), ipv4(9).to_vec()].concat());
    play.node(CHANGING, &[2], &ipv4(7));
    let channels: Vec<_> = (0..pairs.len()).map(|channel| (channel, [fee(10), fee(11)], PROVEN)).collect();
    play.cut(HOUR, "eight sets of features, every type of address, one address that is too long", &channels);
    let sets = (0..ALL_TYPES).map(|node| (node, Some((set(node / 2), 1))));
    let others = [(ALL_TYPES, Some((vec![2], 5))), (LONG_NAME, Some((vec![], 1)))];
    let ends = [(CHANGING, Some((vec![2], 1))), (SILENT, None)];
    play.nodes(sets.chain(others).chain(ends).collect());

    play.at(HOUR + 60);
    play.node(CHANGING, &[8], &[ipv4(7), ipv4(8)].concat());
    play.node(LONG_NAME, &[], &host(&"x".repeat(251)));
    play.node(0, &set(0), &ipv4(1).repeat(27)); // more addresses than are kept
    play.cut(2 * HOUR, "details change; an address fits exactly; a node with 27 addresses is not heard", &channels);
    let first = (0, Some((set(0), 1)));
    play.nodes(vec![first.clone(), (LONG_NAME, Some((vec![], 1))), (CHANGING, Some((vec![8], 2)))]);

    play.at(2 * HOUR + 60);
    play.node(CHANGING, &[8], &[]);
    let older = play.network.set_node(SILENT, &[2], &[], START_S + HOUR);
    play.tell(&older);
    let stale = play.network.set_node(CHANGING, &[2], &[], START_S + HOUR);
    play.tell(&stale);
    play.cut(3 * HOUR, "addresses go; a node speaks for the first time; an older word changes nothing", &channels);
    play.nodes(vec![first, (CHANGING, Some((vec![8], 0))), (SILENT, Some((vec![2], 0)))]);
    play.story("nodes").refusing(&[("already_known", 1), ("excess_data", 1)])
}

fn ipv4(last: u8) -> [u8; 7] {
    [1, 10, 0, 0, last, 0x26, 0x07]
}

fn ipv6() -> Vec<u8> {
    [&[2][..], &[0xfd; 16], &[0x26, 0x07]].concat()
}

fn tor_v2() -> Vec<u8> {
    [&[3][..], &[0x33; 10], &[0x26, 0x07]].concat()
}

fn tor_v3() -> Vec<u8> {
    [&[4][..], &[0x44; 35], &[0x26, 0x07]].concat()
}

fn host(name: &str) -> Vec<u8> {
    [&[5, name.len() as u8], name.as_bytes(), &[0x26, 0x07]].concat()
}

pub fn refused() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2]]);
    let elsewhere = Play::on(bitcoin::Network::Signet, &[[0, 1], [1, 2]]).network;
    play.at(0);
    play.open(0, [10, 11]);
    let announcement = play.network.channels()[0].announcement.clone();
    play.tell(&announcement); // already_known
    let forged = spoiled(&play.network.channels()[1].announcement);
    play.tell(&forged); // bad_signature
    play.fees(1, [20, 21]); // no_channel, twice
    play.at(60);
    let update = play.sign(0, 0, fee(12), 60);
    play.tell(&spoiled(&update)); // bad_signature
    let node = play.network.set_node(0, &[2], &[], START_S);
    play.tell(&spoiled(&node)); // bad_signature
    let stranger = play.network.set_node(2, &[2], &[], START_S);
    play.tell(&stranger); // no_channel
    let [announced, one, _] = elsewhere.channels()[1].messages();
    play.tell(&announced); // wrong_chain
    play.tell(&one); // wrong_chain
    let padded = [&update[..], &[0; 1025]].concat();
    play.tell(&padded); // excess_data
    play.tell(&update[..100]); // damaged
    play.cut(HOUR, "nothing of it is told but the one good channel", &[(0, [fee(10), fee(11)], PROVEN)]);
    play.at(HOUR + 60);
    play.tell(&update);
    play.open(1, [22, 23]);
    let told = [(0, [fee(12), fee(11)], PROVEN), (1, [fee(22), fee(23)], PROVEN)];
    play.cut(2 * HOUR, "what was forged before is believed when it is well signed", &told);
    let story = Story { damage: &["malformed"], ..play.story("refused") };
    story.refusing(&[
        ("already_known", 1),
        ("bad_signature", 3),
        ("excess_data", 1),
        ("no_channel", 3),
        ("wrong_chain", 2),
    ])
}

/// The same message with a signature that does not fit.
fn spoiled(wire: &[u8]) -> Vec<u8> {
    let mut wire = wire.to_vec();
    wire[2 + 63] ^= 1;
    wire
}

pub fn trusted() -> Story {
    /// Where a `channel_announcement` without features has `node_id_1`; 33 bytes each, the others follow.
    const NODES: usize = 2 + 4 * 64 + 2 + 32 + 8;
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2]]);
    play.at(0);
    let [announcement, ..] = play.network.channels()[0].messages();
    play.tell(&spoiled(&announcement));
    for direction in [0, 1] {
        let update = play.sign(0, direction, fee(10), 0);
        play.tell(&spoiled(&update));
    }
    let mut swapped = play.network.channels()[1].announcement.to_vec();
    let (one, two) = swapped[NODES..NODES + 66].split_at_mut(33);
    one.swap_with_slice(two);
    play.tell(&swapped);
    let mut same = play.network.channels()[2].announcement.to_vec();
    same.copy_within(NODES + 66..NODES + 99, NODES + 99);
    play.tell(&same);
    let words = "signatures are not looked at; that node ids are in order is";
    play.cut(HOUR, words, &[(0, [fee(10), fee(10)], None)]);
    let story = Story { flags: &["--trust"], ..play.story("trusted") };
    story.refusing(&[("nodes_out_of_order", 1), ("same_funding_keys", 1)])
}
