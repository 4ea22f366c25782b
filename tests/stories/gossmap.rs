//! What we record, others read: Core Lightning's own Python reader, from PyPI, tells the same network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rgsd::gossip::{Direction, NodeId, Policy, ShortChannelId, UnixMs};
use rgsd::recording::{Body, Flags, Record, store};
use rgsd::synth::{Channel, Network, NetworkSpec, Topology};

const NOW: UnixMs = UnixMs(1_780_000_000_000);

/// What the reader knows, a line each, sorted. Its own checks end the script, and so does a record in the middle that
/// it takes for one that is still being written.
const TELL: &str = r#"
import os, sys
from pyln.client import Gossmap

path = sys.argv[1]
gossmap = Gossmap(path)
assert gossmap.bytes_read == os.path.getsize(path), f"read {gossmap.bytes_read} bytes"
assert not gossmap.orphan_channel_updates
lines = []
for scid, channel in gossmap.channels.items():
    lines.append(f"channel {scid} {channel.node1} {channel.node2} {channel.satoshis} sat")
    for half in filter(None, channel.half_channels):
        lines.append(f"update {half} {half.timestamp} {half.fee_base_msat} {half.fee_proportional_millionths} "
            f"{half.cltv_expiry_delta} {half.htlc_minimum_msat} {half.htlc_maximum_msat} {not half.disabled}")
for node in gossmap.nodes.values():
    lines.append(f"node {node} {node.timestamp if node.announced else None}")
print("\n".join(sorted(lines)))
"#;

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pyln/bin/python");
    assert!(python.exists(), "{} is missing: `make tools` makes it", python.display());
    python
}

/// What is current at the end of a recording, a line each; fails where it takes offence at anything.
pub fn told_by_their_reader(path: &Path) -> Vec<String> {
    let output = Command::new(python()).arg("-c").arg(TELL).arg(path).output().expect("python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it cannot read it: {said}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn told_of_policy(scid: ShortChannelId, direction: Direction, timestamp: u32, policy: &Policy) -> String {
    let Policy { fee_base_msat, fee_proportional_millionths, cltv_expiry_delta, .. } = policy;
    let (minimum, maximum) = (policy.htlc_minimum_msat, policy.htlc_maximum_msat);
    let enabled = if policy.enabled { "True" } else { "False" };
    format!(
        "update {scid}/{} {timestamp} {fee_base_msat} {fee_proportional_millionths} {cltv_expiry_delta} {minimum} \
         {maximum} {enabled}",
        direction as u8
    )
}

fn told_by_us(network: &Network, channels: &[(Channel, u64)]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut nodes = BTreeSet::new();
    for (channel, amount_sat) in channels {
        let [one, two] = channel.node_ids;
        lines.push(format!("channel {} {one} {two} {amount_sat} sat", channel.scid));
        for direction in Direction::BOTH {
            let at = direction as usize;
            lines.push(told_of_policy(channel.scid, direction, channel.timestamps[at], &channel.policies[at]));
        }
        nodes.extend(channel.nodes);
    }
    let node = |node: u32| &network.nodes()[node as usize];
    lines.extend(nodes.into_iter().map(node).map(|node| format!("node {} {}", node.id, node.timestamp)));
    lines.sort();
    lines
}

fn record(timestamp: u32, body: Body) -> Record {
    Record { flags: Flags::default(), timestamp, body }
}

fn message(timestamp: u32, message: &[u8]) -> Record {
    record(timestamp, Body::Message(message.into()))
}

/// A channel's announcement, with its amount, and what else is current of it.
fn told_at_first(network: &Network, channel: &Channel, amount_sat: u64, known: &mut BTreeSet<NodeId>) -> Vec<Record> {
    let [one, two] = channel.timestamps;
    let mut records = vec![
        message(one.min(two), &channel.announcement),
        record(0, Body::Amount { capacity_sat: amount_sat }),
        message(one, &channel.updates[0]),
        message(two, &channel.updates[1]),
    ];
    let nodes = channel.nodes.map(|node| &network.nodes()[node as usize]);
    let new = nodes.into_iter().filter(|node| known.insert(node.id));
    records.extend(new.map(|node| message(node.timestamp, &node.announcement)));
    records
}

#[test]
fn what_we_record_core_lightnings_own_reader_reads() {
    let topology = Topology::generate(60, 5);
    let mut network = Network::new(&topology, NetworkSpec::default(), NOW).expect("a network");
    let (unproven, closed, superseded) = (7, 11, 13);
    let amount_sat = |index: usize, channel: &Channel| if index == unproven { 0 } else { channel.capacity_sat };

    let mut known = BTreeSet::new();
    let mut records = vec![record(0, Body::Uuid([7; 32])), record(0, Body::Time(NOW))];
    for (index, channel) in network.channels().iter().enumerate() {
        records.extend(told_at_first(&network, channel, amount_sat(index, channel), &mut known));
    }
    let (scid, capacity_sat) = (network.channels()[unproven].scid, network.channels()[unproven].capacity_sat);
    records.push(record(0, Body::Proof { scid, capacity_sat }));
    // Something newer, and something that nobody shall believe any more.
    let policy = network.channels()[superseded].policies[0];
    let newer = Policy { fee_base_msat: policy.fee_base_msat + 1, ..policy };
    let update = network.set_policy(superseded, Direction::OneToTwo, newer, NOW.secs());
    records.extend([record(0, Body::Time(NOW)), message(NOW.secs(), &update)]);
    let deleted = Flags { deleted: true, ..Flags::default() };
    let old = network.sign_policy(superseded, Direction::OneToTwo, &policy, 1);
    records.push(Record { flags: deleted, ..message(1, &old) });
    let scid = network.channels()[closed].scid;
    records.push(record(0, Body::Dying { scid, deadline_height: 200 }));
    records.push(record(0, Body::Closed(scid)));

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("gossip_store");
    let mut writer = store::Writer::new(std::fs::File::create(&path).expect("a file")).expect("written");
    records.iter().for_each(|record| writer.write(record).expect("written"));

    let left = network.channels().iter().enumerate().filter(|(index, _)| *index != closed);
    let left: Vec<_> = left.map(|(index, channel)| (channel.clone(), amount_sat(index, channel))).collect();
    assert_eq!(told_by_their_reader(&path), told_by_us(&network, &left));
}
