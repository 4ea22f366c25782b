//! Peers come and go; the service goes on with whom there is.

use rgsd::gossip::Direction;
use rgsd::http::Status;
use rgsd::synth::Behaviour;

use crate::support::{Running, World, story};

/// The state of the peer that was configured as this one.
fn state(status: &Status, place: usize) -> &str {
    &status.peers[place].state
}

#[test]
fn a_peer_dies_and_returns_and_the_other_one_does_for_both_meanwhile() {
    story(async {
        let mut world = World::new(60).await;
        let (mortal, steady) = (world.store(), world.store());
        let messages = mortal.len() as u64;
        let one = world.peer(0, &mortal).await;
        let two = world.peer(1, &steady).await;
        let service = Running::start(&world, world.config([&one, &two])).await;
        service.ready_after(messages).await;

        let port = one.addr.port();
        one.stop().await;
        service.eventually("the loss is noticed", |status| state(status, 0).starts_with("waiting")).await;
        let channel = world.a_routable_channel();
        steady.append(world.change_fee(channel, Direction::OneToTwo));
        service.accepted(messages + 1).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        assert_eq!(state(&service.status(), 1), "connected");

        let one = world.peer_at(port, 0, &mortal, Behaviour::default()).await;
        service.eventually("it is back", |status| state(status, 0) == "connected").await;
        mortal.append(world.change_fee(channel, Direction::TwoToOne));
        service.accepted(messages + 2).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        assert_eq!(one.dumps(), 0, "it asks for what is new only");
        service.stop().await;
    });
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    story(async {
        let mut world = World::new(30).await;
        let store = world.store();
        let messages = store.len() as u64;
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(messages).await;

        peer.disconnect_all();
        service.eventually("it is lost", |status| state(status, 0) != "connected").await;
        // What is said meanwhile is asked for afterwards.
        let channel = world.a_routable_channel();
        store.append(world.change_fee(channel, Direction::OneToTwo));
        service.eventually("it is back", |status| state(status, 0) == "connected").await;
        service.accepted(messages + 1).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}
