//! Channels that end on the chain: closed by a spend, spliced, and brought back by a reorganisation.

use rgsd::gossip::{Clock, Direction, ShortChannelId};
use rgsd::http::Status;
use rgsd::synth::{BadBlock, Channel, Mode, PeerHandle, Spending, Store, TopologyChannel};

use crate::postgres::Cluster;
use crate::support::{Process, Running, Truth, Wallet, World, eventually_told, status, story};

const CHANNELS: usize = 40;

/// A service that has told its first snapshot, and where the chain was then.
async fn settled(world: &World, store: &Store, peers: &[PeerHandle]) -> (Running, u32) {
    let service = Running::start(world, world.config(peers)).await;
    service.ready_after(store.len() as u64).await;
    service.tells(&world.truth()).await;
    (service, world.chain.tip_height())
}

impl Running {
    /// Waits until the chain is looked through to its end.
    async fn has_read_the_chain(&self, world: &World) {
        let read = |status: &Status| status.proofs.chain_height == Some(world.chain.tip_height());
        self.eventually("the chain is looked through", read).await;
    }
}

/// The places of channels that wallets are told of.
fn routable(world: &World, count: usize) -> Vec<ShortChannelId> {
    let channels = world.network.channels().iter();
    let enabled = |channel: &&Channel| channel.policies.iter().all(|policy| policy.enabled);
    let places: Vec<_> = channels.filter(enabled).map(|channel| channel.scid).take(count).collect();
    assert_eq!(places.len(), count);
    places
}

/// A channel like this one, between the same nodes, that the next block funds.
fn successor(world: &mut World, of: ShortChannelId) -> Channel {
    let old = world.network.channels().iter().find(|channel| channel.scid == of).expect("a channel").clone();
    let shape = TopologyChannel { nodes: old.nodes, capacity_sat: old.capacity_sat, policies: old.policies };
    let (height, now) = (world.chain.tip_height() + 1, world.clock.now());
    let channel = world.network.add_channel_like(&shape, height, now).expect("room in the block").clone();
    world.chain.add_funding(&channel).expect("not mined yet");
    channel
}

#[test]
fn a_channel_that_is_closed_leaves_the_next_snapshot() {
    story(async {
        let world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let (service, begun) = settled(&world, &store, std::slice::from_ref(&peer)).await;
        let gone = routable(&world, 2);
        world.chain.spend(gone[0], Spending::MutualClose).expect("spent");
        world.chain.spend(gone[1], Spending::ForceClose).expect("spent");
        world.chain.mine(3);
        service.has_read_the_chain(&world).await;
        service.next_epoch().await;
        let left = world.truth().only(|scid| !gone.contains(&scid));
        service.tells(&left).await;

        // Peers say it again, and nobody asks for a block again.
        store.append(world.network.channels()[0].announcement.clone());
        for channel in world.network.channels().iter().filter(|channel| gone.contains(&channel.scid)) {
            channel.messages().into_iter().for_each(|message| store.append(message));
        }
        let received = service.status().messages.received;
        service.eventually("it is heard", |status| status.messages.received >= received + 4).await;
        service.next_epoch().await;
        service.tells(&left).await;
        let (status, requests) = (service.status(), world.chain.requests());
        assert_eq!((status.problem, status.proofs.closing), (None, 0));
        assert_eq!(requests.whole_block, u64::from(world.chain.tip_height() - begun));
        service.stop().await;
    });
}

#[test]
fn a_spliced_channel_stays_until_wallets_can_be_told_of_its_successor() {
    story(async {
        let mut world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let (service, _) = settled(&world, &store, std::slice::from_ref(&peer)).await;
        let spliced = routable(&world, 1)[0];
        let before = world.truth();
        world.chain.spend(spliced, Spending::Splice).expect("spent");
        let channel = successor(&mut world, spliced);
        world.chain.mine(6);
        service.has_read_the_chain(&world).await;
        assert_eq!(service.status().proofs.closing, 1);
        service.next_epoch().await;
        service.tells(&before).await;

        let [announcement, one, two] = channel.messages();
        service.hears(&store, announcement).await;
        service.hears(&store, one).await;
        service.next_epoch().await;
        service.tells(&before).await;
        service.hears(&store, two).await;
        service.eventually("it is decided", |status| status.proofs.closing == 0).await;
        service.next_epoch().await;
        service.tells(&world.truth().without(spliced)).await;
        service.stop().await;
    });
}

#[test]
fn what_looks_like_a_splice_and_has_no_successor_is_closed_after_72_blocks() {
    story(async {
        let world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let (service, begun) = settled(&world, &store, std::slice::from_ref(&peer)).await;
        let spliced = routable(&world, 1)[0];
        world.chain.spend(spliced, Spending::Splice).expect("spent");
        world.chain.mine(72);
        service.has_read_the_chain(&world).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        world.chain.mine(1);
        service.has_read_the_chain(&world).await;
        service.next_epoch().await;
        service.tells(&world.truth().without(spliced)).await;
        assert_eq!(world.chain.requests().whole_block, u64::from(world.chain.tip_height() - begun));
        service.stop().await;
    });
}

#[test]
fn a_reorganisation_brings_a_channel_back_with_what_was_missed() {
    story(async {
        let mut world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let (service, begun) = settled(&world, &store, std::slice::from_ref(&peer)).await;
        let channel = world.a_routable_channel();
        let (scid, gone) = (world.network.channels()[channel].scid, routable(&world, 3));
        world.chain.spend(gone[1], Spending::MutualClose).expect("spent");
        world.chain.spend(gone[2], Spending::Splice).expect("spent");
        world.chain.mine(1);
        world.chain.spend(scid, Spending::ForceClose).expect("spent");
        world.chain.mine(2);
        service.has_read_the_chain(&world).await;
        let received = service.status().messages.received;
        store.append(world.change_fee(channel, Direction::OneToTwo));
        service.eventually("it is refused", |status| status.messages.received > received).await;
        service.next_epoch().await;
        service.tells(&world.truth().only(|other| ![scid, gone[1]].contains(&other))).await;

        // The other spends are in the new blocks, too.
        let accepted = service.status().messages.accepted;
        world.chain.reorganise(3, &[scid]).expect("blocks to replace");
        service.has_read_the_chain(&world).await;
        service.eventually("all is asked for again", |_| peer.dumps() == 2).await;
        service.eventually("the fee is known", |status| status.messages.accepted > accepted).await;
        assert_eq!(service.status().proofs.closing, 1);
        service.next_epoch().await;
        service.tells(&world.truth().without(gone[1])).await;
        assert_eq!(world.chain.requests().whole_block, u64::from(world.chain.tip_height() - begun) + 3);
        service.stop().await;
    });
}

#[test]
fn whatever_bitcoind_does_the_chain_is_read_on_when_it_is_well() {
    story(async {
        let world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let (service, _) = settled(&world, &store, std::slice::from_ref(&peer)).await;
        let gone = routable(&world, 3);
        let problem = |status: &Status| status.problem.is_some();

        world.chain.set_mode(Mode::Down);
        world.chain.spend(gone[0], Spending::MutualClose).expect("spent");
        world.chain.mine(1);
        service.eventually("it says so", problem).await;
        for bad in [BadBlock::Garbage, BadBlock::Another, BadBlock::OtherTransactions, BadBlock::Huge] {
            let asked = world.chain.requests().whole_block;
            world.chain.set_mode(Mode::BadBlocks(bad));
            service.eventually("it is asked", |_| world.chain.requests().whole_block > asked).await;
        }
        let before = world.chain.tip_height() - 1;
        assert_eq!(service.status().proofs.chain_height, Some(before));
        world.chain.set_mode(Mode::Normal);
        service.has_read_the_chain(&world).await;

        // What cannot be had any more is passed over.
        world.chain.set_mode(Mode::Pruned(world.chain.tip_height() + 3));
        world.chain.spend(gone[1], Spending::MutualClose).expect("spent");
        world.chain.mine(2);
        world.chain.spend(gone[2], Spending::MutualClose).expect("spent");
        world.chain.mine(1);
        service.has_read_the_chain(&world).await;
        world.chain.set_mode(Mode::BadBlocks(BadBlock::Missing));
        world.chain.mine(1);
        service.has_read_the_chain(&world).await;
        world.chain.set_mode(Mode::Normal);
        service.eventually("all is well", |status| !problem(status)).await;
        service.next_epoch().await;
        service.tells(&world.truth().only(|scid| ![gone[0], gone[2]].contains(&scid))).await;
        service.stop().await;
    });
}

/// What the process tells wallets, once it is this; its epochs come every ten seconds.
async fn eventually_tells(process: &Process, url: &str, truth: &Truth) {
    let tells = async || {
        let Ok(answer) = reqwest::get(format!("{url}/v2/snapshot/0")).await else { return false };
        let ready = answer.status() == 200;
        let body = answer.bytes().await.expect("a whole body");
        ready && Wallet::read(&body, rgsd::snapshot::Version::V2).difference(truth).is_none()
    };
    eventually_told("a snapshot with that", || process.said(), tells).await;
}

async fn has_read(process: &Process, url: &str, height: u32) {
    let read = async || status(url).await["proofs"]["chain_height"].as_u64() == Some(height.into());
    eventually_told("the chain is looked through", || process.said(), read).await;
}

#[test]
fn a_stand_by_reads_on_where_the_writer_ended() {
    story(async {
        let world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let database = Cluster::shared().database();
        let lines =
            format!("database.url = {:?}\ndatabase.lease = \"2s\"\ndatabase.timeout = \"1s\"\n", database.url);
        let gone = routable(&world, 3);
        let start = async |name: &str| {
            let config = world.config_file_in(&world.data_dir().join(name), "10s", [&peer], &lines);
            let process = Process::serve(&config);
            let url = process.url().await;
            (process, url)
        };
        let (writer, url) = start("one").await;
        eventually_tells(&writer, &url, &world.truth()).await;
        let begun = world.chain.tip_height();
        let (stand_by, url_of_stand_by) = start("two").await;
        world.chain.spend(gone[0], Spending::MutualClose).expect("spent");
        world.chain.spend(gone[1], Spending::Splice).expect("spent");
        world.chain.mine(2);
        has_read(&writer, &url, world.chain.tip_height()).await;
        has_read(&stand_by, &url_of_stand_by, world.chain.tip_height()).await;
        assert_eq!(status(&url_of_stand_by).await["proofs"]["closing"], 1);
        writer.kill();

        world.chain.spend(gone[2], Spending::ForceClose).expect("spent");
        world.chain.mine(1);
        world.chain.reorganise(3, &[gone[0]]).expect("blocks to replace");
        has_read(&stand_by, &url_of_stand_by, world.chain.tip_height()).await;
        eventually_tells(&stand_by, &url_of_stand_by, &world.truth().without(gone[2])).await;
        // Two blocks were read by the writer, and put away by the reorganisation.
        assert_eq!(world.chain.requests().whole_block, u64::from(world.chain.tip_height() - begun) + 2);
        stand_by.kill();
    });
}

#[test]
fn what_only_the_stand_by_had_heard_of_is_looked_up_again_when_it_takes_over() {
    story(async {
        let world = World::new(CHANNELS).await;
        let gone = routable(&world, 1)[0];
        let (all, most) = (world.store(), Store::new(world.network.dump_where(|channel| channel.scid != gone)));
        let (tells_all, tells_most) = (world.peer(0, &all).await, world.peer(1, &most).await);
        let database = Cluster::shared().database();
        let lines =
            format!("database.url = {:?}\ndatabase.lease = \"2s\"\ndatabase.timeout = \"1s\"\n", database.url);
        let start = async |name: &str, peer: &PeerHandle| {
            let config = world.config_file_in(&world.data_dir().join(name), "10s", [peer], &lines);
            let process = Process::serve(&config);
            let url = process.url().await;
            (process, url)
        };
        let (writer, url) = start("one", &tells_most).await;
        let left = world.truth().without(gone);
        eventually_tells(&writer, &url, &left).await;
        let (stand_by, url_of_stand_by) = start("two", &tells_all).await;
        let proven = async || status(&url_of_stand_by).await["messages"]["accepted"].as_u64() >= Some(3);
        eventually_told("the stand-by has it", || stand_by.said(), proven).await;

        // The writer knows of no such channel.
        world.chain.spend(gone, Spending::MutualClose).expect("spent");
        world.chain.mine(1);
        has_read(&stand_by, &url_of_stand_by, world.chain.tip_height()).await;
        writer.kill();
        eventually_told("it leads", || stand_by.said(), async || stand_by.said().contains("leading: ")).await;
        let epoch = async || status(&url_of_stand_by).await["epoch"]["timestamp"].as_u64();
        let before = epoch().await.expect("an epoch");
        eventually_told("epochs of its own", || stand_by.said(), async || epoch().await > Some(before + 10)).await;
        eventually_tells(&stand_by, &url_of_stand_by, &left).await;
        stand_by.kill();
    });
}

#[test]
fn a_kill_changes_nothing_of_it() {
    story(async {
        let world = World::new(CHANNELS).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let config = world.config_file("10s", [&peer]);
        let gone = routable(&world, 4);
        let process = Process::serve(&config);
        let url = process.url().await;
        eventually_tells(&process, &url, &world.truth()).await;
        let begun = world.chain.tip_height();
        world.chain.spend(gone[0], Spending::MutualClose).expect("spent");
        world.chain.spend(gone[1], Spending::Splice).expect("spent");
        world.chain.mine(2);
        has_read(&process, &url, world.chain.tip_height()).await;
        process.kill();

        // While nobody looks, a channel is closed, and the last blocks are replaced: only the first spend is gone.
        world.chain.spend(gone[2], Spending::ForceClose).expect("spent");
        world.chain.mine(1);
        world.chain.reorganise(3, &[gone[0]]).expect("blocks to replace");
        let process = Process::serve(&config);
        let url = process.url().await;
        has_read(&process, &url, world.chain.tip_height()).await;
        eventually_tells(&process, &url, &world.truth().without(gone[2])).await;
        assert_eq!(status(&url).await["proofs"]["closing"], 1);
        assert_eq!(world.chain.requests().whole_block, u64::from(world.chain.tip_height() - begun) + 2);
        process.kill();

        world.chain.mine(72);
        let process = Process::serve(&config);
        let url = process.url().await;
        has_read(&process, &url, world.chain.tip_height()).await;
        eventually_tells(&process, &url, &world.truth().only(|scid| ![gone[1], gone[2]].contains(&scid))).await;
        assert_eq!(world.chain.requests().whole_block, u64::from(world.chain.tip_height() - begun) + 2);
        process.kill();
    });
}
