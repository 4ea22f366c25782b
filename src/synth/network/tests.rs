//! Determinism, the truth in the messages, and the realism of shape and traffic. LDK judges every signature in the
//! tests of the peer.

use std::collections::HashMap;

use lightning::ln::msgs::{ChannelAnnouncement as LdkAnnouncement, NodeAnnouncement as LdkNode};
use lightning::routing::gossip::{verify_channel_announcement, verify_node_announcement};
use lightning::util::ser::LengthReadable;

use super::*;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, addresses_in};

const NOW: UnixMs = UnixMs(1_790_000_000_000);

fn network(channels: usize) -> Network {
    Network::new(&Topology::generate(channels, 7), NetworkSpec::default(), NOW).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (mut one, mut two) = (network(60), network(60));
    assert_eq!(one.dump(), two.dump());
    let updates = |network: &mut Network| (0..50).map(|i| network.next_update(UnixMs(NOW.0 + i * 400))).collect();
    let (updates_one, updates_two): (Vec<Bytes>, Vec<Bytes>) = (updates(&mut one), updates(&mut two));
    assert_eq!(updates_one, updates_two);
    assert_eq!(one.add_channel(500, NOW).unwrap(), two.add_channel(500, NOW).unwrap());
    assert_eq!(one.next_node_announcement(NOW), two.next_node_announcement(NOW));

    let spec = NetworkSpec { seed: 2, ..NetworkSpec::default() };
    let other = Network::new(&Topology::generate(60, 7), spec, NOW).unwrap();
    assert_ne!(one.channels()[0].node_ids, other.channels()[0].node_ids);
}

#[test]
fn messages_say_what_the_network_knows() {
    let network = network(60);
    for channel in network.channels() {
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).unwrap();
        assert_eq!(announcement.scid(), channel.scid);
        assert_eq!(announcement.nodes(), channel.node_ids);
        assert!(channel.node_ids[0] < channel.node_ids[1]);
        assert_eq!(announcement.bitcoin_keys(), channel.funding_keys.map(|key| NodeId::from_pubkey(&key)));
        assert_eq!(announcement.chain_hash(), network.chain_hash().to_bytes());
        for direction in Direction::BOTH {
            let update = ChannelUpdate::from_wire(&channel.updates[direction as usize][..]).unwrap();
            assert_eq!((update.scid(), update.direction()), (channel.scid, direction));
            assert_eq!(update.policy(), channel.policies[direction as usize]);
            assert_eq!(update.timestamp(), channel.timestamps[direction as usize]);
            assert!(update.timestamp() < (NOW.0 / 1000) as u32);
        }
    }
    let kinds: HashMap<u8, usize> = network.nodes().iter().fold(HashMap::new(), |mut kinds, node| {
        let announcement = NodeAnnouncement::from_wire(&node.announcement[..]).unwrap();
        assert_eq!((announcement.node_id(), announcement.timestamp()), (node.id, node.timestamp));
        for address in addresses_in(announcement.address_bytes()) {
            *kinds.entry(address[0]).or_default() += 1;
        }
        kinds
    });
    assert!([1, 2, 4].iter().all(|kind| kinds.contains_key(kind)), "{kinds:?}");
}

#[test]
fn the_topology_decides_who_charges_what() {
    let topology = Topology::generate(60, 7);
    let network = network(60);
    for (shape, channel) in topology.channels.iter().zip(network.channels()) {
        let charged = |node: u32| shape.policies[shape.nodes.iter().position(|&n| n == node).unwrap()];
        assert_eq!(channel.policies, channel.nodes.map(charged));
        assert_eq!(channel.capacity_sat, shape.capacity_sat);
    }
    let scids: Vec<_> = network.channels().iter().map(|channel| channel.scid).collect();
    assert!(scids.is_sorted() && scids.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(network.index_of(scids[17]), Some(17));
}

#[test]
fn the_dump_tells_of_channels_before_their_nodes() {
    let network = network(60);
    let mut announced = Vec::new();
    for message in network.dump() {
        match u16::from_be_bytes([message[0], message[1]]) {
            ChannelAnnouncement::TYPE => {
                announced.extend(ChannelAnnouncement::from_wire(&message[..]).unwrap().nodes());
            }
            NodeAnnouncement::TYPE => {
                assert!(announced.contains(&NodeAnnouncement::from_wire(&message[..]).unwrap().node_id()));
            }
            _ => {}
        }
    }
    let told = announced.iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(network.dump().len(), 3 * 60 + told);
    assert!(network.dump_where(|channel| channel.scid == network.channels()[3].scid).len() == 5);
}

#[test]
fn every_change_is_newer_than_the_last_and_busy_channels_change_more() {
    let mut network = network(2000);
    let before: Vec<[u32; 2]> = network.channels().iter().map(|channel| channel.timestamps).collect();
    let mut newest: HashMap<_, u32> = HashMap::new();
    for (channel, timestamps) in network.channels().iter().zip(before) {
        newest.extend(Direction::BOTH.map(|direction| ((channel.scid, direction), timestamps[direction as usize])));
    }
    let mut counts: HashMap<ShortChannelId, u32> = HashMap::new();
    let mut repeated = 0;
    for i in 0..3000 {
        let old: Vec<_> = if i < 200 { network.channels().to_vec() } else { Vec::new() };
        let update = ChannelUpdate::from_wire(&network.next_update(UnixMs(NOW.0 + i * 500))[..]).unwrap();
        let last = newest.insert((update.scid(), update.direction()), update.timestamp()).unwrap();
        assert!(update.timestamp() > last);
        *counts.entry(update.scid()).or_default() += 1;
        let channel = old.iter().find(|channel| channel.scid == update.scid());
        repeated += u32::from(channel.is_some_and(|c| c.policies[update.direction() as usize] == update.policy()));
    }
    assert!((70..130).contains(&repeated), "{repeated} of 200 are keep-alives");
    let mut counts: Vec<u32> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let speakers = network.channels().iter().filter(|channel| channel.policies.iter().any(|p| p.enabled)).count();
    let share = counts.iter().take(speakers / 10).sum::<u32>() as f64 / 3000.0;
    assert!((0.58..0.72).contains(&share), "the busiest tenth sends {share}");
}

#[test]
fn policies_and_channels_can_be_set() {
    let mut network = network(20);
    let policy = Policy { fee_base_msat: 77, enabled: false, ..network.channels()[4].policies[1] };
    let lie = network.sign_policy(4, Direction::TwoToOne, &policy, 9);
    assert_ne!(network.channels()[4].updates[1], lie);
    let update = network.set_policy(4, Direction::TwoToOne, policy, 9);
    assert_eq!((&update, &lie), (&network.channels()[4].updates[1], &update));
    assert_eq!(network.channels()[4].policies[1], policy);

    let height = network.last_height();
    assert!(network.add_channel(height - 1, NOW).is_err());
    let first = network.add_channel(height + 3, NOW).unwrap().scid;
    let second = network.add_channel(height + 3, NOW).unwrap().scid;
    assert!(first < second && second.height() == height + 3);
    let shape = TopologyChannel { nodes: [0, 99], ..Topology::generate(1, 1).channels.remove(0) };
    assert!(format!("{:#}", network.add_channel_like(&shape, 900, NOW).unwrap_err()).contains("99"));
}

#[test]
fn an_impostor_signs_well_for_a_channel_that_is_not_its_own() {
    let network = network(20);
    let secp = bitcoin::secp256k1::Secp256k1::verification_only();
    let [announcement, update, _] = network.rival(3, 1);
    let rival = LdkAnnouncement::read_from_fixed_length_buffer(&mut &announcement[2..]).unwrap();
    verify_channel_announcement(&rival, &secp).unwrap();
    assert_eq!(rival.contents.short_channel_id, network.channels()[3].scid.0);
    assert_ne!(rival.contents.node_id_1, network.channels()[3].node_ids[0]);
    assert_eq!(ChannelUpdate::from_wire(&update[..]).unwrap().scid(), network.channels()[3].scid);
    let node = LdkNode::read_from_fixed_length_buffer(&mut &network.nodes()[0].announcement[2..]).unwrap();
    verify_node_announcement(&node, &secp).unwrap();
}

#[test]
fn a_generated_shape_looks_like_mainnet() {
    let topology = Topology::generate(50_808, 3);
    assert_eq!(topology, Topology::generate(50_808, 3));
    let mut ends = vec![0u32; topology.nodes as usize];
    for channel in &topology.channels {
        assert_ne!(channel.nodes[0], channel.nodes[1]);
        channel.nodes.iter().for_each(|&node| ends[node as usize] += 1);
        assert!(channel.policies.iter().all(|policy| policy.htlc_maximum_msat <= channel.capacity_sat * 1000));
    }
    assert!((17_000..17_700).contains(&ends.len()) && ends.iter().all(|&ends| ends > 0));
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let share = f64::from(ends[..253].iter().sum::<u32>()) / (2.0 * 50_808.0);

    assert!((0.35..0.50).contains(&share), "the 253 busiest nodes have {share} of the ends");
    assert!((500..5000).contains(&ends[0]), "the busiest has {}", ends[0]);
    let off =
        topology.channels.iter().filter(|channel| channel.policies.iter().all(|policy| !policy.enabled)).count();
    assert!((16_000..18_000).contains(&off), "{off} are disabled");
}

#[test]
fn impossible_networks_are_refused() {
    let refusal = |topology: &Topology, spec| format!("{:#}", Network::new(topology, spec, NOW).err().unwrap());
    assert!(refusal(&Topology::default(), NetworkSpec::default()).contains("at least one channel"));
    let mut topology = Topology::generate(3, 1);
    topology.channels[2].nodes = [1, 1];
    assert!(
        refusal(&topology, NetworkSpec::default()).contains("channel 2 of the topology: has node 1 at both ends")
    );
    let high = NetworkSpec { first_height: 0xff_ffff, ..NetworkSpec::default() };
    assert!(refusal(&Topology::generate(30, 1), high).contains("too short"));
}
