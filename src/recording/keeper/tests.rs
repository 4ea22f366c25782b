//! Any sequence of facts, against the history: what is current, told again, gives the same network.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;
use crate::gossip::{BlockId, Closing, REORG_DEPTH};
use crate::history::{History, View};
use crate::journal::{Entry, Event, Graph, Rules, Seq};
use crate::synth::{Network, NetworkSpec, Topology};

pub(in crate::recording) const NOW: UnixMs = UnixMs(1_760_000_000_000);
const PLACES: usize = 3;
const TIMES: usize = 4;

/// Messages to choose from: two channels for each place, some updates for each direction, some words of each node.
struct Menu {
    announcements: [[ChannelAnnouncement; 2]; PLACES],
    updates: [[[ChannelUpdate; TIMES]; 2]; PLACES],
    nodes: Vec<NodeAnnouncement>,
}

static MENU: LazyLock<Menu> = LazyLock::new(|| {
    let mut network = Network::new(&Topology::generate(PLACES, 7), NetworkSpec::default(), NOW).expect("valid");
    let announcement = |bytes: &[u8]| ChannelAnnouncement::from_wire(bytes).expect("well-formed");
    let announcements = std::array::from_fn(|place| {
        [announcement(&network.channels()[place].announcement), announcement(&network.rival(place, 1)[0])]
    });
    let update = |place: usize, direction: Direction, time: usize| {
        let policy = network.channels()[place].policies[0];
        let bytes = network.sign_policy(place, direction, &policy, NOW.secs() + time as u32);
        ChannelUpdate::from_wire(&bytes[..]).expect("well-formed")
    };
    let updates = std::array::from_fn(|place| {
        Direction::BOTH.map(|direction| std::array::from_fn(|time| update(place, direction, time)))
    });
    let nodes = (0..24).map(|_| network.next_node_announcement(NOW));
    let nodes = nodes.map(|bytes| NodeAnnouncement::from_wire(&bytes[..]).expect("well-formed")).collect();
    Menu { announcements, updates, nodes }
});

pub(in crate::recording) fn facts() -> impl Strategy<Value = Fact> {
    let scid = |place: usize| MENU.announcements[place][0].scid();
    let capacity = || prop_oneof![Just(None), (1..5u64).prop_map(|btc| Some(btc * 100_000_000))];
    prop_oneof![
        3 => (0..PLACES, 0..2usize, capacity()).prop_map(|(place, rival, capacity_sat)| Fact::Channel {
            announcement: MENU.announcements[place][rival].clone(),
            capacity_sat,
        }),
        6 => (0..PLACES, 0..2usize, 0..TIMES).prop_map(|(place, direction, time)| {
            Fact::Update(MENU.updates[place][direction][time].clone())
        }),
        3 => (0..MENU.nodes.len()).prop_map(|node| Fact::Node(MENU.nodes[node].clone())),
        1 => (0..PLACES, 1..5u64).prop_map(move |(place, btc)| Fact::Proof {
            scid: scid(place),
            capacity_sat: btc * 100_000_000,
        }),
        1 => (0..PLACES).prop_map(move |place| Fact::Closed { scid: scid(place), reason: Closing::Silent }),
        2 => (0..PLACES, 0..2u32).prop_map(move |(place, height)| Fact::Closed {
            scid: scid(place),
            reason: Closing::Spent { height },
        }),
        2 => (0..PLACES).prop_map(move |place| Fact::Reopened { scid: scid(place) }),
        1 => (0..PLACES).prop_map(move |place| Fact::PossibleSplice { scid: scid(place), height: 1 }),
        1 => (REORG_DEPTH - 1..REORG_DEPTH + 2).prop_map(|height| {
            Fact::Block(BlockId { height, hash: BlockHash::all_zeros() })
        }),
        1 => Just(Fact::SyncCompleted { peer: MENU.announcements[0][0].nodes()[0] }),
    ]
}

/// What records say, read as a replay reads them.
pub(in crate::recording) fn told(records: impl IntoIterator<Item = Record>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for record in records {
        match record.body {
            Body::Message(wire) => facts.push(match wire[..2] {
                [1, 0] => {
                    Fact::Channel { announcement: ChannelAnnouncement::from_wire(wire).unwrap(), capacity_sat: None }
                }
                [1, 1] => Fact::Node(NodeAnnouncement::from_wire(wire).unwrap()),
                _ => Fact::Update(ChannelUpdate::from_wire(wire).unwrap()),
            }),
            Body::Amount { capacity_sat: sat } => match facts.last_mut() {
                Some(Fact::Channel { capacity_sat, .. }) => *capacity_sat = Some(sat).filter(|sat| *sat > 0),
                other => panic!("an amount after {other:?}"),
            },
            Body::Closed(scid) => facts.push(Fact::Closed { scid, reason: Closing::Recorded }),
            Body::Proof { scid, capacity_sat } => facts.push(Fact::Proof { scid, capacity_sat }),
            _ => {}
        }
    }
    facts
}

/// The network after these facts.
pub(in crate::recording) fn view(facts: &[Fact]) -> View {
    let mut history = History::new();
    let epoch = Event::Epoch { timestamp: NOW.secs() + 10, rules: Rules { version: 1, graph: Graph::Complete } };
    let events = facts.iter().cloned().map(Event::Fact).chain([epoch]);
    events.zip(1..).for_each(|(event, seq)| history.apply(&Entry { seq: Seq(seq), seen: NOW, event }));
    let epoch = *history.last_epoch().expect("one was cut");
    let mut view = history.view(&epoch).expect("it is known");
    view.epoch.seq = Seq(0); // of the facts alone
    view
}

/// The newest word of each node since it last had no channel, by the book.
fn words(facts: &[Fact]) -> Vec<NodeAnnouncement> {
    let mut channels: BTreeMap<ShortChannelId, [NodeId; 2]> = BTreeMap::new();
    let mut words: BTreeMap<NodeId, NodeAnnouncement> = BTreeMap::new();
    // Closed by a spend: at which height, and what was known of the nodes then, and heard since.
    let mut spent: BTreeMap<ShortChannelId, (u32, [NodeId; 2], Vec<NodeAnnouncement>)> = BTreeMap::new();
    let hear = |words: &mut BTreeMap<NodeId, NodeAnnouncement>, word: &NodeAnnouncement| {
        let newest = words.get(&word.node_id()).is_none_or(|known| known.timestamp() < word.timestamp());
        newest.then(|| words.insert(word.node_id(), word.clone()));
    };
    for fact in facts {
        match fact {
            Fact::Channel { announcement, .. } => {
                spent.remove(&announcement.scid());
                channels.insert(announcement.scid(), announcement.nodes());
            }
            Fact::Closed { scid, reason } => {
                if let (Closing::Spent { height }, Some(nodes)) = (reason, channels.remove(scid)) {
                    let known = nodes.iter().filter_map(|id| words.get(id)).cloned().collect();
                    spent.insert(*scid, (*height, nodes, known));
                }
            }
            Fact::Reopened { scid } => {
                if let Some((_, nodes, known)) = spent.remove(scid) {
                    channels.insert(*scid, nodes);
                    known.iter().for_each(|word| hear(&mut words, word));
                }
            }
            Fact::Block(block) => spent.retain(|_, (height, ..)| *height + REORG_DEPTH > block.height),
            Fact::Node(word) => {
                let waits = |(_, nodes, _): &&mut (u32, [NodeId; 2], _)| nodes.contains(&word.node_id());
                spent.values_mut().filter(waits).for_each(|(.., known)| known.push(word.clone()));
                hear(&mut words, word);
            }
            _ => {}
        }
        words.retain(|id, _| channels.values().any(|nodes| nodes.contains(id)));
    }
    words.into_values().collect()
}

proptest! {
    #[test]
    fn what_is_current_told_again_is_the_same_network_in_the_same_order(
        facts in proptest::collection::vec(facts(), 0..60),
    ) {
        let mut keeper = Keeper::default();
        facts.iter().for_each(|fact| keeper.take(NOW, fact.clone()));
        let records: Vec<Record> = keeper.records().collect();

        let mut again = Keeper::default();
        let retold = told(records.clone());
        retold.iter().for_each(|fact| again.take(NOW, fact.clone()));
        prop_assert_eq!(again.records().collect::<Vec<_>>(), records);
        prop_assert_eq!(again.counts(), keeper.counts());

        prop_assert_eq!(view(&retold).channels, view(&facts).channels);
        let nodes = retold.into_iter().filter_map(|fact| if let Fact::Node(word) = fact { Some(word) } else { None });
        prop_assert_eq!(nodes.collect::<Vec<_>>(), words(&facts));
    }
}

#[test]
fn nodes_are_forgotten_with_their_last_channel() {
    let announcement = MENU.announcements[0][0].clone();
    let (scid, nodes) = (announcement.scid(), announcement.nodes());
    let mut keeper = Keeper::default();
    keeper.take(NOW, Fact::Channel { announcement, capacity_sat: None });
    for node in MENU.nodes.iter().filter(|node| nodes.contains(&node.node_id())) {
        keeper.take(NOW, Fact::Node(node.clone()));
    }
    assert_eq!(keeper.counts(), Counts { channels: 1, nodes: 2 });
    keeper.take(NOW, Fact::Closed { scid, reason: Closing::Silent });
    assert_eq!(keeper.counts(), Counts::default());
    assert_eq!(keeper.records().count(), 0);
}
