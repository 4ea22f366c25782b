//! A peer's garbage is refused and counted by its reason, and none of it reaches a wallet.

use std::net::Ipv4Addr;

use bytes::Bytes;
use rgsd::gossip::{Clock, Direction, PeerAddress, Policy};
use rgsd::synth::{Behaviour, Network, NetworkSpec, Topology};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::{Running, World, story};

const CHANNEL_ANNOUNCEMENT: u16 = 256;
const DAY_S: u32 = 24 * 3600;
/// Where the first node id and the first funding key are in a `channel_announcement` without features.
const NODE_ID_1: usize = 300;
const FUNDING_KEY_1: usize = NODE_ID_1 + 2 * 33;

/// A network that nobody knows, on another chain or on the same, where nothing funds it.
fn stranger(world: &World, chain: bitcoin::Network) -> Network {
    let spec = NetworkSpec { seed: 99, chain, first_height: 50, ..Default::default() };
    Network::new(&Topology::generate(10, 99), spec, world.clock.now()).expect("a network")
}

fn changed(message: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = message.to_vec();
    change(&mut bytes);
    bytes.into()
}

/// Every kind of lie that can be told before anything is known.
fn lies_at_first(world: &World) -> Vec<Bytes> {
    let unfunded = stranger(world, world.network.spec().chain);
    let elsewhere = stranger(world, bitcoin::Network::Signet);
    let [first, second, third, fourth] = unfunded.channels().first_chunk().expect("channels");
    let mut lies: Vec<Bytes> = (0..20).flat_map(|index| world.network.rival(index, 1000 + index as u64)).collect();
    lies.extend(first.messages());
    lies.extend(second.updates.clone());
    lies.extend(elsewhere.channels()[0].messages());
    lies.push(unfunded.nodes()[third.nodes[0] as usize].announcement.clone());
    lies.push(changed(&second.announcement, |bytes| bytes[10] ^= 1));
    lies.push(changed(&third.announcement, |bytes| {
        let (one, two) = bytes[NODE_ID_1..FUNDING_KEY_1].split_at_mut(33);
        one.swap_with_slice(two);
    }));
    lies.push(changed(&fourth.announcement, |bytes| {
        bytes.copy_within(FUNDING_KEY_1..FUNDING_KEY_1 + 33, FUNDING_KEY_1 + 33);
    }));
    lies.push(changed(&world.network.channels()[5].announcement, |bytes| bytes.extend([7; 1100])));
    lies.push(changed(&world.network.channels()[6].updates[0], |bytes| bytes.extend([7; 1100])));
    lies
}

/// Lies about a channel that is known, by its own node or in its name.
fn lies_about(world: &World, channel: usize) -> Vec<Bytes> {
    let now_s = world.now_s();
    let known = &world.network.channels()[channel];
    let policy = Policy { fee_base_msat: 666, ..known.policies[0] };
    let sign =
        |policy: &Policy, timestamp| world.network.sign_policy(channel, Direction::OneToTwo, policy, timestamp);
    let too_much = Policy { htlc_maximum_msat: known.capacity_sat * 1000 + 1, ..policy };
    let forged = sign(&policy, now_s + 5);
    vec![
        sign(&policy, now_s - 15 * DAY_S),
        sign(&policy, now_s + 2 * DAY_S),
        sign(&too_much, now_s + 5),
        changed(&forged, |bytes| *bytes.last_mut().expect("bytes") ^= 1),
        changed(&forged, |bytes| bytes[30] ^= 1),
    ]
}

const REASONS: [&str; 12] = [
    "already_known",
    "bad_signature",
    "channel_refused",
    "excess_data",
    "from_the_future",
    "funding_refused",
    "htlc_maximum",
    "no_channel",
    "nodes_out_of_order",
    "same_funding_keys",
    "stale",
    "wrong_chain",
];

#[test]
fn a_liar_among_good_peers_is_refused_by_reason_and_not_believed() {
    story(async {
        let mut world = World::new(80).await;
        let store = world.store();
        let messages = store.len() as u64;
        let good = [world.peer(0, &store).await, world.peer(1, &store).await];
        let nothing = rgsd::synth::Store::new([]);
        let prelude = lies_at_first(&world);
        let liar = world.peer_like(2, &nothing, Behaviour { prelude, ..Behaviour::default() }).await;

        let service = Running::start(&world, world.config(good.iter().chain([&liar]))).await;
        service.ready_after(messages).await;
        service.tells(&world.truth()).await;

        let channel = world.a_routable_channel();
        lies_about(&world, channel).into_iter().for_each(|lie| liar.broadcast(lie));
        service
            .eventually("every reason is counted", |status| {
                REASONS.iter().all(|reason| status.messages.refused.contains_key(*reason))
            })
            .await;
        let unfunded = |status: &rgsd::http::Status| status.messages.refused.get("funding_refused").copied();
        service
            .eventually("no lie about a funding is left", |s| unfunded(s) >= Some(21) && s.proofs.pending == 0)
            .await;
        assert_eq!(service.status().messages.accepted, messages, "of the lies, none was");
        let told = service.get("/status.json").await.text().await.expect("a body");
        assert!(REASONS.iter().all(|reason| told.contains(reason)), "{told}");

        store.append(world.change_fee(channel, Direction::OneToTwo));
        service.accepted(messages + 1).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}

#[test]
fn a_peer_that_talks_gibberish_harms_nobody() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let messages = store.len() as u64;
        let good = world.peer(0, &store).await;
        let short = Bytes::from([&CHANNEL_ANNOUNCEMENT.to_be_bytes()[..], &[0xee; 90]].concat());
        let of_no_type = Bytes::from_static(&[0x7f, 0x01, 1, 2, 3]);
        let prelude = vec![of_no_type, Bytes::from_static(&[9]), short];
        let garbled = world.peer_like(1, &store, Behaviour { prelude, ..Behaviour::default() }).await;
        // Somebody who does not even speak the transport of BOLT 8.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // The service may have hung up by then.
                let _ = stream.write_all(&[0x55; 4096]).await;
            }
        });
        let mut config = world.config([&good, &garbled]);
        let node_id = world.network.nodes()[2].id.as_pubkey().expect("a key");
        config.peers.push(PeerAddress { node_id, host: "127.0.0.1".into(), port });

        let service = Running::start(&world, config).await;
        service.ready_after(messages).await;
        service.tells(&world.truth()).await;
        assert_eq!(service.status().messages.accepted, messages);
        service
            .eventually("both are tried again and again", |status| {
                status.peers[1..].iter().all(|peer| peer.state.starts_with("waiting"))
            })
            .await;
        assert_eq!(service.status().peers[0].state, "connected");
        service.stop().await;
    });
}
