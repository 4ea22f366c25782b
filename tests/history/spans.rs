//! What a span says of a channel and of a node is what the views in between show, computed the slow way: by looking at
//! every one of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rgsd::gossip::{Fact, Policy, ShortChannelId};
use rgsd::history::{Changed, History, Passage, Span, View, ViewChannel};
use rgsd::journal::{Entry, Epoch, Event};

use crate::model;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_span_is_what_its_views_show(entries in model::journal()) {
        let mut history = History::new();
        entries.iter().for_each(|entry| history.apply(entry));
        let epochs: Vec<Epoch> = history.epochs().copied().collect();
        let views: Vec<View> = epochs.iter().map(|epoch| history.view(epoch).expect("known")).collect();
        for first in 0..epochs.len() {
            for last in first..epochs.len() {
                let span = history.span(&epochs[first], &epochs[last]).expect("known, and in this order");
                prop_assert_eq!((span.from(), span.to()), (&epochs[first], &epochs[last]));
                channels_fit(&span, &views[first..=last], &entries)?;
                nodes_fit(&span, &views[first..=last])?;
            }
            let (view, back_s) = (&views[views.len() - 1], epochs[epochs.len() - 1].timestamp - epochs[first].timestamp);
            let departed = history.departed(&view.epoch, back_s).expect("known");
            let shown = views[first..].iter().flat_map(|view| &view.channels).map(|channel| channel.scid);
            let mut gone: Vec<_> = shown.filter(|scid| channel(view, *scid).is_none()).collect();
            gone.sort_unstable();
            gone.dedup();
            prop_assert_eq!(departed, gone);
        }
    }
}

fn channels_fit(span: &Span<'_>, views: &[View], entries: &[Entry]) -> Result<(), TestCaseError> {
    let mut passages: BTreeMap<ShortChannelId, Passage<'_>> = BTreeMap::new();
    let mut twice = false;
    span.visit(|passage| twice |= passages.insert(passage.scid, passage).is_some());
    prop_assert!(!twice);
    let mut shown: Vec<_> = views.iter().flat_map(|view| &view.channels).map(|channel| channel.scid).collect();
    shown.sort_unstable();
    shown.dedup();
    prop_assert_eq!(passages.keys().copied().collect::<Vec<_>>(), shown);
    for passage in passages.values() {
        let seen: Vec<Option<&ViewChannel>> = views.iter().map(|view| channel(view, passage.scid)).collect();
        let (before, now) = (seen[0], seen[seen.len() - 1]);
        prop_assert_eq!(passage.now, now.map(|channel| channel.policies));
        if let Some(now) = now {
            prop_assert_eq!(passage.features, &*now.features);
            prop_assert_eq!(passage.capacity_sat, now.capacity_sat);
            let ids = now.nodes.map(|node| views[views.len() - 1].nodes[node as usize].id);
            prop_assert_eq!(passage.nodes.map(|node| span.node(node).0), ids);
        }
        let all: Vec<&ViewChannel> = seen.iter().copied().flatten().collect();
        if passage.throughout {
            prop_assert_eq!(all.len(), seen.len());
            for direction in 0..2 {
                let policies: Vec<Policy> = all.iter().map(|channel| channel.policies[direction]).collect();
                prop_assert_eq!(passage.changed[direction], what_changed(&policies));
            }
        } else {
            let renewed = renewed_between(span, passage.scid, entries);
            prop_assert!(all.len() < seen.len() || renewed, "shown throughout, and never announced anew");
        }
        // Another channel in the same place is not the one that was there before.
        prop_assert!(passage.before == before.is_some() || renewed_between(span, passage.scid, entries));
        prop_assert!(!passage.before || before.is_some());
    }
    Ok(())
}

fn nodes_fit(span: &Span<'_>, views: &[View]) -> Result<(), TestCaseError> {
    let passages: BTreeMap<_, _> = (0..span.nodes() as u32)
        .map(|n| (span.node(n), span.node_changed(n)))
        .map(|((id, details), changed)| (id, (details, changed)))
        .collect();
    let last = &views[views.len() - 1];
    for node in &last.nodes {
        let (details, changed) = &passages[&node.id];
        prop_assert_eq!(details, &node.details);
        let seen: Vec<_> = views.iter().flat_map(|view| &view.nodes).filter(|seen| seen.id == node.id).collect();
        for seen in seen.iter().map(|seen| &seen.details) {
            let differs = |part: fn(&rgsd::gossip::NodeDetails) -> &[u8]| {
                seen.as_deref().map(part) != node.details.as_deref().map(part)
            };
            prop_assert!(!differs(|details| &details.features) || changed.features);
            prop_assert!(!differs(|details| &details.addresses) || changed.addresses);
        }
    }
    Ok(())
}

fn channel(view: &View, scid: ShortChannelId) -> Option<&ViewChannel> {
    let place = view.channels.binary_search_by_key(&scid, |channel| channel.scid).ok()?;
    view.channels.get(place)
}

fn what_changed(policies: &[Policy]) -> Changed {
    fn differs<T: PartialEq>(policies: &[Policy], field: impl Fn(&Policy) -> T) -> bool {
        policies.iter().any(|policy| field(policy) != field(&policies[0]))
    }
    Changed {
        enabled: differs(policies, |p| p.enabled),
        cltv_expiry_delta: differs(policies, |p| p.cltv_expiry_delta),
        htlc_minimum_msat: differs(policies, |p| p.htlc_minimum_msat),
        htlc_maximum_msat: differs(policies, |p| p.htlc_maximum_msat),
        fee_base_msat: differs(policies, |p| p.fee_base_msat),
        fee_proportional_millionths: differs(policies, |p| p.fee_proportional_millionths),
    }
}

/// Whether a channel was closed, reopened, or announced again, after the span's first epoch.
fn renewed_between(span: &Span<'_>, scid: ShortChannelId, entries: &[Entry]) -> bool {
    let within = entries.iter().filter(|entry| span.from().seq < entry.seq && entry.seq < span.to().seq);
    within.into_iter().any(|entry| match &entry.event {
        Event::Fact(Fact::Channel { announcement, .. }) => announcement.scid() == scid,
        Event::Fact(Fact::Closed { scid: closed, .. } | Fact::Reopened { scid: closed }) => *closed == scid,
        _ => false,
    })
}
