//! What is left out, and when that is too much.

use super::super::testing::*;
use super::*;
use crate::gossip::ShortChannelId;

const NETWORK: Network = Network::Regtest;

fn cut(view: View) -> Result<Cut, CutError> {
    super::cut(alone(view), &LeftOut::default(), NETWORK, now_s())
}

fn bad(mut view: View, channels: &[usize]) -> (View, Vec<ShortChannelId>) {
    for n in channels {
        view.channels[*n].policies[0].htlc_maximum_msat = u64::MAX;
    }
    let scids = channels.iter().map(|n| view.channels[*n].scid).collect();
    (view, scids)
}

#[test]
fn a_good_view_is_told_whole_at_its_own_time() {
    let Cut { snapshot, left_out, .. } = cut(chain_of(10)).expect("a snapshot");
    assert!(left_out.is_empty());
    assert_eq!(snapshot.counts, Counts { channels: 9, nodes: 10, directions: 18 });
    for bytes in [&snapshot.full.v1, &snapshot.full.v2, &snapshot.returning.v1, &snapshot.returning.v2] {
        assert_eq!(bytes[36..40], snapshot.epoch.timestamp.to_be_bytes());
    }
}

#[test]
fn an_empty_view_is_a_snapshot() {
    assert!(cut(view(Vec::new(), Vec::new())).is_ok());
}

#[test]
fn bad_channels_are_left_out_and_their_lone_nodes_with_them() {
    let (bad, scids) = bad(chain_of(150), &[0, 148]);
    let Cut { snapshot, left_out, .. } = cut(bad.clone()).expect("a snapshot");
    assert_eq!(left_out.channels.into_iter().collect::<Vec<_>>(), scids);
    assert_eq!(snapshot.counts, Counts { channels: 147, nodes: 148, directions: 294 });
    let mut good = bad;
    good.channels = good.channels[1..148].to_vec();
    good.channels.iter_mut().for_each(|channel| channel.nodes = channel.nodes.map(|node| node - 1));
    good.nodes = good.nodes[1..149].to_vec();
    let alone = cut(good).expect("a snapshot").snapshot;
    assert!(alone.full == snapshot.full, "what is left is told as if the rest had never been");
    for scid in scids {
        assert_eq!(snapshot.left_out.channel(scid), Some(snapshot.epoch.timestamp));
    }
    assert_ne!(alone.returning, snapshot.returning, "wallets that come back hear that the rest is gone");
}

#[test]
fn a_channel_for_which_the_client_refuses_all_is_left_out() {
    let mut view = chain_of(250);
    view.channels[7].nodes = [3, 3];
    view.channels[90].nodes = [4, 4];
    let scids = [7, 90].map(|n: usize| view.channels[n].scid);
    let Cut { snapshot, left_out, .. } = cut(view).expect("a snapshot");
    assert_eq!((snapshot.counts.channels, left_out.channels), (247, scids.into()));
}

#[test]
fn more_than_one_in_a_hundred_is_too_much() {
    assert!(cut(bad(chain_of(202), &[0, 100, 200]).0).is_ok(), "3 of 201, rounded up");
    let error = cut(bad(chain_of(201), &[0, 100, 199]).0).expect_err("3 of 200");
    assert!(error.to_string().contains("3 of 200 channels"), "{error}");
    assert!(cut(bad(chain_of(2), &[0]).0).is_err(), "nothing would be left");
}

#[test]
fn a_client_that_refuses_again_and_again_has_the_last_word() {
    let mut view = chain_of(1000);
    view.channels[..5].iter_mut().for_each(|channel| channel.nodes = [1, 1]);
    let error = cut(view).expect_err("five bad channels");
    assert!(matches!(error, CutError::Rejected(Rejected::ByClient { .. })), "{error}");
}
