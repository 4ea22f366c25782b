//! Peers over real sockets: LDK as client and judge of every signature, and a bare client that counts.

use std::time::Duration;

use bitcoin::Network as BitcoinNetwork;
use lightning::ln::peer_handler::{ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::KeysManager;
use lightning::util::logger::{Logger, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Direction, UnixMs};
use crate::synth::keys::Purpose;
use crate::synth::noise::tests::initiate;
use crate::synth::noise::{LENGTH, Opener, Sealer, TAG};
use crate::synth::{Network, NetworkSpec, Topology};

const PATIENCE: Duration = Duration::from_secs(20);

/// A time that LDK, which reads the system clock, takes for now.
fn now() -> UnixMs {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    UnixMs(since.as_millis() as u64)
}

fn network(channels: usize) -> Network {
    Network::new(&Topology::generate(channels, 5), NetworkSpec::default(), now()).unwrap()
}

async fn start(network: &Network, behaviour: Behaviour) -> PeerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Store::new(network.dump());
    Peer::start(listener, keys::secret(9, Purpose::Node, 1), network.chain_hash(), behaviour, store).unwrap()
}

/// A client that speaks the wire and nothing else.
struct Client {
    stream: TcpStream,
    sealer: Sealer,
    opener: Opener,
}

impl Client {
    async fn connect(peer: &PeerHandle) -> Self {
        Self::connect_to(peer.addr, peer.node_id).await
    }

    /// Connects and takes the peer's `init`.
    async fn connect_to(addr: SocketAddr, node_id: PublicKey) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let [secret, ephemeral] = [2, 3].map(|i| keys::secret(9, Purpose::Node, i));
        let (sealer, opener) = initiate(&mut stream, secret, ephemeral, node_id).await.unwrap();
        let mut client = Self { stream, sealer, opener };
        assert_eq!(client.next().await.unwrap()[..2], 16u16.to_be_bytes());
        client.say(&protocol::init(ChainHash::REGTEST)).await;
        client
    }

    async fn say(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        self.sealer.seal(message, &mut frame);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn two_numbers(&mut self, kind: u16, one: u32, two: u32) {
        let chain = ChainHash::REGTEST;
        let message = [&kind.to_be_bytes()[..], chain.as_bytes(), &one.to_be_bytes(), &two.to_be_bytes()].concat();
        self.say(&message).await;
    }

    async fn filter(&mut self, first_timestamp: u32) {
        self.two_numbers(265, first_timestamp, u32::MAX).await;
    }

    /// The next message; `None` when the peer hung up.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let mut length = [0; LENGTH];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = vec![0; self.opener.length(length).unwrap() + TAG];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(self.opener.message(&mut frame).unwrap().to_vec())
        };
        timeout(PATIENCE, read).await.expect("the peer says nothing")
    }

    async fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.next().await.expect("the peer hung up"));
        }
        messages
    }

    /// Asks for a pong and takes it: it comes after all that the peer would have said by now.
    async fn says_nothing_but_pong(&mut self) {
        self.say(&[0, 18, 0, 3, 0, 0]).await;
        assert_eq!(self.next().await.unwrap(), [0, 19, 0, 3, 0, 0, 0]);
    }
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

type Graph = Arc<NetworkGraph<Arc<Silent>>>;

/// Connects LDK's own stack to the peer; the graph fills up as it listens.
async fn ldk_client(peer: &PeerHandle) -> Graph {
    let graph = Arc::new(NetworkGraph::new(BitcoinNetwork::Regtest, Arc::new(Silent)));
    let nobody: Option<Arc<dyn UtxoLookup + Send + Sync>> = None;
    let sync = Arc::new(P2PGossipSync::new(graph.clone(), nobody, Arc::new(Silent)));
    let handler = MessageHandler {
        chan_handler: Arc::new(ErroringMessageHandler::new()),
        route_handler: sync,
        onion_message_handler: Arc::new(IgnoringMessageHandler {}),
        custom_message_handler: Arc::new(IgnoringMessageHandler {}),
        send_only_message_handler: Arc::new(IgnoringMessageHandler {}),
    };
    let signer = Arc::new(KeysManager::new(&[8; 32], 1, 1, true));
    let manager = Arc::new(PeerManager::new(handler, 1, &[4; 32], Arc::new(Silent), signer));
    let connected = lightning_net_tokio::connect_outbound(manager, peer.node_id, peer.addr).await;
    tokio::spawn(connected.expect("the peer listens"));
    graph
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let poll = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Whether the graph knows exactly the network's channels, policies and nodes.
fn agrees(graph: &Graph, network: &Network) -> bool {
    let graph = graph.read_only();
    let channels = network.channels();
    graph.channels().len() == channels.len()
        && channels.iter().all(|channel| {
            let Some(known) = graph.channel(channel.scid.0) else { return false };
            let directions = [&known.one_to_two, &known.two_to_one];
            [known.node_one, known.node_two] == channel.node_ids
                && directions.iter().zip(&channel.policies).all(|(known, policy)| {
                    known.as_ref().is_some_and(|known| {
                        known.fees.base_msat == policy.fee_base_msat
                            && known.fees.proportional_millionths == policy.fee_proportional_millionths
                            && known.cltv_expiry_delta == policy.cltv_expiry_delta
                            && known.htlc_minimum_msat == policy.htlc_minimum_msat
                            && known.htlc_maximum_msat == policy.htlc_maximum_msat
                            && known.enabled == policy.enabled
                    })
                })
        })
        && network
            .nodes()
            .iter()
            .all(|node| graph.node(&node.id).is_some_and(|known| known.announcement_info.is_some()))
}

#[tokio::test]
async fn ldk_believes_every_message_of_the_dump_and_what_follows() {
    let mut network = network(50);
    let peer = start(&network, Behaviour::default()).await;
    let graph = ldk_client(&peer).await;
    until("LDK knows the network", || agrees(&graph, &network)).await;
    assert_eq!(peer.connection_count(), 1);

    for _ in 0..40 {
        peer.store().append(network.next_update(now()));
    }
    let height = network.last_height() + 1;
    for message in network.add_channel(height, now()).unwrap().messages() {
        peer.store().append(message);
    }
    peer.store().append(network.next_node_announcement(now()));
    until("LDK knows of the changes", || agrees(&graph, &network)).await;
}

#[tokio::test]
async fn a_dump_is_complete_in_order_and_live_changes_follow_it() {
    let mut network = network(30);
    let peer = start(&network, Behaviour::default()).await;
    let mut client = Client::connect(&peer).await;
    client.says_nothing_but_pong().await;
    client.filter(0).await;
    let dump = network.dump();
    assert_eq!(client.take(dump.len()).await, dump);
    client.says_nothing_but_pong().await;

    let update = network.next_update(now());
    peer.store().append(update.clone());
    assert_eq!(client.next().await.unwrap(), update);
    peer.broadcast(Bytes::from_static(b"not gossip"));
    assert_eq!(client.next().await.unwrap(), b"not gossip");
    assert_eq!((peer.dumps(), peer.sent()), (1, dump.len() as u64 + 1));

    // What was replaced is not told again.
    let mut late = Client::connect(&peer).await;
    late.filter(0).await;
    let dump = late.take(dump.len()).await;
    assert_eq!(dump.last().unwrap(), &update);
    assert_eq!(peer.connection_count(), 2);
    drop((client, late));
    until("both have left", || peer.connection_count() == 0).await;
}

#[tokio::test]
async fn a_filter_lets_only_the_newer_messages_through() {
    let mut network = network(30);
    let newest = network.channels().iter().flat_map(|channel| channel.timestamps).max().unwrap();
    let peer = start(&network, Behaviour::default()).await;
    let mut client = Client::connect(&peer).await;
    client.filter(newest).await;
    let told = client.next().await.unwrap();
    let announced = ChannelAnnouncement::from_wire(told).unwrap().scid();
    let update = ChannelUpdate::from_wire(client.next().await.unwrap()).unwrap();
    assert_eq!((update.scid(), update.timestamp()), (announced, newest));

    let policy = network.channels()[0].policies[0];
    let old = network.sign_policy(0, Direction::OneToTwo, &policy, newest - 1);
    let new = network.set_policy(0, Direction::OneToTwo, policy, newest + 5);
    peer.store().append(old);
    peer.store().append(new.clone());
    let mut heard = client.next().await.unwrap();
    while u16::from_be_bytes([heard[0], heard[1]]) == 257 {
        heard = client.next().await.unwrap(); // a node that spoke after the newest channel
    }
    assert_eq!(heard, new);
    assert_eq!(peer.dumps(), 0);
}

#[tokio::test]
async fn queries_are_answered_with_the_channels_in_range() {
    let network = network(40);
    let peer = start(&network, Behaviour::default()).await;
    let mut client = Client::connect(&peer).await;
    client.two_numbers(263, 105, 10).await;
    let expected: Vec<u64> = network.channels().iter().map(|channel| channel.scid.0).collect();
    let reply = client.next().await.unwrap();
    let in_range = |scid: &u64| (105..115).contains(&(scid >> 40));
    let scids: Vec<u64> = expected.iter().copied().filter(in_range).collect();
    assert_eq!(reply, reply_with(105, 10, true, &scids));
    client.two_numbers(263, 5000, 1).await;
    assert_eq!(client.next().await.unwrap(), reply_with(5000, 1, true, &[]));
    client.two_numbers(263, 0, u32::MAX).await;
    assert_eq!(client.next().await.unwrap(), reply_with(0, u32::MAX, true, &expected));

    peer.set_behaviour(Behaviour { refuses_queries: true, ..Behaviour::default() });
    client.two_numbers(263, 0, u32::MAX).await;
    client.says_nothing_but_pong().await;
}

/// A reply as BOLT 7 lays it out, read by LDK's own reader.
fn reply_with(first: u32, blocks: u32, complete: bool, scids: &[u64]) -> Vec<u8> {
    use lightning::util::ser::Writeable;
    let reply = lightning::ln::msgs::ReplyChannelRange {
        chain_hash: ChainHash::REGTEST,
        first_blocknum: first,
        number_of_blocks: blocks,
        sync_complete: complete,
        short_channel_ids: scids.to_vec(),
    };
    [&264u16.to_be_bytes()[..], &reply.encode()].concat()
}

#[test]
fn long_answers_are_split_without_gaps() {
    // Three channels a block: the first reply ends within a block, which both then cover.
    let scids: Vec<ShortChannelId> = (0..17_000).map(|i| ShortChannelId::new(100 + i / 3, i % 3, 0)).collect();
    let replies = protocol::replies(ChainHash::REGTEST, 50, 10_000, &scids);
    let ids = |range: std::ops::Range<usize>| scids[range].iter().map(|scid| scid.0).collect::<Vec<_>>();
    let at = |i: u32| 100 + i / 3;
    let expected = [
        reply_with(50, at(8000) + 1 - 50, false, &ids(0..8000)),
        reply_with(at(8000), at(16_000) + 1 - at(8000), false, &ids(8000..16_000)),
        reply_with(at(16_000), 10_050 - at(16_000), true, &ids(16_000..17_000)),
    ];
    assert_eq!(replies, expected);
}

#[tokio::test]
async fn a_peer_stalls_and_goes_on_as_told() {
    let network = network(30);
    let peer = start(&network, Behaviour { stall_after: Some(10), ..Behaviour::default() }).await;
    let mut client = Client::connect(&peer).await;
    client.filter(0).await;
    assert_eq!(client.take(10).await, network.dump()[..10]);
    client.says_nothing_but_pong().await;
    peer.set_behaviour(Behaviour::default());
    assert_eq!(client.take(network.dump().len() - 10).await, network.dump()[10..]);
}

#[tokio::test]
async fn a_peer_hangs_up_and_comes_back_on_its_port() {
    let network = network(30);
    let peer = start(&network, Behaviour { drop_after: Some(7), ..Behaviour::default() }).await;
    let mut client = Client::connect(&peer).await;
    client.filter(0).await;
    assert_eq!(client.take(7).await, network.dump()[..7]);
    assert_eq!(client.next().await, None);

    let mut client = Client::connect(&peer).await;
    peer.disconnect_all();
    assert_eq!(client.next().await, None);
    let mut client = Client::connect(&peer).await;

    let (addr, node_id, store) = (peer.addr, peer.node_id, peer.store().clone());
    timeout(PATIENCE, peer.stop()).await.unwrap();
    assert_eq!(client.next().await, None);
    assert!(TcpStream::connect(addr).await.is_err());
    let listener = TcpListener::bind(addr).await.unwrap();
    let secret = keys::secret(9, Purpose::Node, 1);
    let again = Peer::start(listener, secret, ChainHash::REGTEST, Behaviour::default(), store).unwrap();
    assert_eq!(again.node_id, node_id);
    let mut client = Client::connect_to(addr, node_id).await;
    client.filter(0).await;
    assert_eq!(client.take(network.dump().len()).await, network.dump());
}

#[tokio::test]
async fn a_peer_keeps_its_pace_and_its_subset_and_throws_garbage_first() {
    let network = network(30);
    let served: Vec<ShortChannelId> = network.channels()[..10].iter().map(|channel| channel.scid).collect();
    let garbage = Bytes::from_static(&[1, 0, 9, 9]);
    let behaviour = Behaviour {
        pace: Some(400),
        serves: Some(Arc::new(move |scid| served.contains(&scid))),
        prelude: vec![garbage.clone()],
        ..Behaviour::default()
    };
    let peer = start(&network, behaviour).await;
    let mut client = Client::connect(&peer).await;
    let begun = std::time::Instant::now();
    client.filter(0).await;
    assert_eq!(client.next().await.unwrap(), garbage);
    let messages = client.take(30 + network.nodes().len()).await;
    // 40 messages at 400 a second.
    assert!(begun.elapsed() >= Duration::from_millis(90), "{:?}", begun.elapsed());
    let announcements = messages.iter().filter_map(|message| ChannelAnnouncement::from_wire(&message[..]).ok());
    let scids: Vec<_> = announcements.map(|announcement| announcement.scid()).collect();
    assert_eq!(scids, network.channels()[..10].iter().map(|channel| channel.scid).collect::<Vec<_>>());
    client.says_nothing_but_pong().await;
}

#[tokio::test]
async fn strangers_to_the_protocol_do_not_disturb() {
    let network = network(5);
    let peer = start(&network, Behaviour::default()).await;
    let mut stranger = TcpStream::connect(peer.addr).await.unwrap();
    stranger.write_all(&[b'G'; 200]).await.unwrap();
    // An error will do: closing with unread bytes resets.
    let left = timeout(PATIENCE, stranger.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(left.map_or(true, |read| read == 0));
    let mut client = Client::connect(&peer).await;
    for message in [&[][..], &[0], &[1, 9], &[0, 18], &[0xff; 300]] {
        client.say(message).await;
    }
    client.says_nothing_but_pong().await;
}

#[test]
fn a_store_keeps_competing_announcements_but_no_repetition() {
    let network = network(3);
    let store = Store::new(network.dump());
    let length = store.len();
    store.append(network.channels()[0].announcement.clone());
    assert_eq!(store.len(), length);
    let [rival, update, _] = network.rival(0, 1);
    store.append(rival);
    assert_eq!(store.len(), length + 1);
    store.append(update);
    assert_eq!((store.len(), store.channels_in(0, u32::MAX).len()), (length + 1, 3));
    assert_eq!(store.channels_in(7, 7), []);
    assert_eq!(store.channels_in(u32::MAX, u32::MAX), []);
}
