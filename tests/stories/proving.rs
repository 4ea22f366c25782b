//! Funding proofs, while bitcoind is well and while it is not: channels wait, and none is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use rgsd::http::Status;
use rgsd::synth::{Behaviour, Mode};

use crate::support::{Running, World, story};

/// The blocks that hold a channel's funding.
fn blocks_touched(world: &World) -> usize {
    world.network.channels().iter().map(|channel| channel.scid.height()).collect::<BTreeSet<_>>().len()
}

fn problem(status: &Status) -> &str {
    status.problem.as_deref().unwrap_or_default()
}

/// At most 2.2 a block touched.
fn assert_few(requests: u64, world: &World) {
    let blocks = blocks_touched(world);
    assert!(requests * 10 <= blocks as u64 * 22, "{requests} requests for {blocks} blocks");
}

#[test]
fn proofs_take_few_questions() {
    story(async {
        let world = World::new(200).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        service.tells(&world.truth()).await;
        assert_few(world.chain.requests().total(), &world);
        service.stop().await;
    });
}

#[test]
fn bitcoind_is_away_for_the_first_half_of_the_sync_and_nothing_is_lost() {
    story(async {
        let world = World::new(100).await;
        let store = world.store();
        let messages = store.len() as u64;
        let peer = world.peer_like(0, &store, Behaviour { pace: Some(300), ..Behaviour::default() }).await;
        world.chain.set_mode(Mode::Down);
        let service = Running::start(&world, world.config([&peer])).await;

        service.eventually("half of all waits", |status| status.messages.waiting >= messages / 2).await;
        service.eventually("it says so", |status| problem(status).contains("bitcoind")).await;
        world.chain.set_mode(Mode::Busy);
        service.eventually("all of it waits", |status| status.messages.waiting == messages).await;
        service.stays_without_snapshot_for(Duration::from_secs(900)).await;
        assert_eq!(service.status().messages.accepted, 0);
        assert!(problem(&service.status()).contains("bitcoind"), "{:?}", service.status().problem);

        let before = world.chain.requests().total();
        world.chain.set_mode(Mode::Normal);
        service.ready_after(messages).await;
        service.tells(&world.truth()).await;
        assert_eq!(problem(&service.status()), "");
        assert_few(world.chain.requests().total() - before, &world);
        service.stop().await;
    });
}

#[test]
fn bitcoind_goes_away_in_the_middle_and_nothing_is_lost() {
    story(async {
        let world = World::new(100).await;
        let store = world.store();
        let messages = store.len() as u64;
        let peer = world.peer_like(0, &store, Behaviour { pace: Some(100), ..Behaviour::default() }).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.accepted(messages / 4).await;
        world.chain.set_mode(Mode::Down);
        let known = |status: &Status| status.messages.accepted + status.messages.waiting;
        service.eventually("all is accepted or waits", |status| known(status) == messages).await;
        service.stays_without_snapshot_for(Duration::from_secs(120)).await;

        world.chain.set_mode(Mode::Normal);
        service.ready_after(messages).await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}

#[test]
fn a_bitcoind_that_still_downloads_the_chain_is_waited_for_and_named() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        world.chain.set_mode(Mode::InitialDownload(world.network.channels()[30].scid.height()));
        let service = Running::start(&world, world.config([&peer])).await;

        service.accepted(60).await;
        service.eventually("it says why", |status| problem(status).contains("still downloading the chain")).await;
        service.stays_without_snapshot_for(Duration::from_secs(600)).await;
        assert!(service.status().proofs.pending >= 30);

        world.chain.set_mode(Mode::Normal);
        service.ready_after(store.len() as u64).await;
        service.tells(&world.truth()).await;
        assert_eq!(problem(&service.status()), "");
        service.stop().await;
    });
}

#[test]
fn a_pruned_bitcoind_is_named_and_what_it_can_prove_is_told() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let first = world.network.channels()[20].scid.height();
        world.chain.set_mode(Mode::Pruned(first));
        let service = Running::start(&world, world.config([&peer])).await;
        service.soon_next_epoch().await;
        service.tells(&world.truth().only(|scid| scid.height() >= first)).await;
        service.eventually("it says why", |status| problem(status).contains("bitcoind is pruned")).await;
        service.stop().await;
    });
}
