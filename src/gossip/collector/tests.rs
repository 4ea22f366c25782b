//! Two collectors and one journal, told on a small synthetic network: one leads, the other stands by and takes over.

mod property;

use std::time::Duration;

use bitcoin::constants::ChainHash;
use bytes::Bytes;

use super::*;
use crate::gossip::check::{Gossip, Heard, Limits, Refusal, Signatures};
use crate::gossip::funding::{Claim, Settled, Verdict};
use crate::gossip::{Clock, Direction, NodeId};
use crate::synth::{Network, NetworkSpec, Topology};

const NOW: UnixMs = UnixMs(1_760_000_000_000);

fn at(second: u64) -> UnixMs {
    NOW.plus(Duration::from_secs(second))
}

fn network(channels: usize) -> Network {
    Network::new(&Topology::generate(channels, 7), NetworkSpec::default(), NOW).expect("a valid network")
}

fn rules(proofs: bool) -> Rules {
    let retention = Duration::from_secs(30 * 24 * 3600);
    Rules { chain: ChainHash::REGTEST, proofs, retention, limits: Limits::default(), signatures: Signatures::Checked }
}

fn heard(messages: impl IntoIterator<Item = Bytes>) -> Vec<Heard> {
    let peer = NodeId::from_slice(&[2; 33]).expect("33 bytes");
    let read = |bytes: Bytes| Heard { peer, message: Gossip::from_wire(&bytes).expect("LDK reads it") };
    messages.into_iter().map(read).collect()
}

/// The chain knows every channel of the network.
fn proven(network: &Network, claim: &Claim) -> Settled {
    let index = network.index_of(claim.scid).expect("a real place");
    Settled { id: claim.id, verdict: Verdict::Proven { capacity_sat: network.channels()[index].capacity_sat } }
}

fn sorted(messages: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Vec<u8>> {
    let mut messages: Vec<_> = messages.into_iter().map(|message| message.as_ref().to_vec()).collect();
    messages.sort();
    messages
}

/// A journal that both a test and a sink hold.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<(UnixMs, Fact)>>>);

impl Journal {
    fn sink(&self) -> Sink {
        let journal = self.clone();
        Box::new(move |seen, facts| {
            journal.extend(facts.into_iter().map(|fact| (seen, fact)));
            Ok(())
        })
    }

    fn extend(&self, entries: impl IntoIterator<Item = (UnixMs, Fact)>) {
        self.0.lock().expect("no test panics with it").extend(entries);
    }

    fn entries(&self) -> Vec<(UnixMs, Fact)> {
        self.0.lock().expect("no test panics with it").clone()
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        sorted(self.entries().iter().filter_map(|(_, fact)| fact.message()))
    }
}

struct AlwaysNow;

impl Clock for AlwaysNow {
    fn now(&self) -> UnixMs {
        NOW
    }
}

/// A collector that stands by without peers and, unless it is asked to lead, without a word to the journal.
fn standing_by(journal: &Journal, tasks: &Tasks) -> Collector {
    let setup = Setup {
        rules: rules(false),
        peers: Vec::new(),
        secrets: Secrets { node_key: [1; 32], ephemeral: [2; 32] },
        bitcoind: None,
        storage_full: Arc::default(),
        mode: Mode::StandingBy,
        clock: Arc::new(AlwaysNow),
    };
    let syncs = Syncs::new(None, None, [], NOW);
    Collector::start(setup, Checker::new(rules(false)), syncs, journal.sink(), tasks).expect("it starts")
}

fn whole(messages: &[Bytes]) -> Vec<Vec<u8>> {
    messages.iter().map(|message| message.to_vec()).collect()
}

/// What a leader makes of these messages.
fn journaled(messages: &[Bytes]) -> Vec<(UnixMs, Fact)> {
    let outcome = Checker::new(rules(false)).check(NOW, heard(messages.to_vec()));
    outcome.facts.into_iter().map(|fact| (NOW, fact)).collect()
}

#[tokio::test]
async fn whoever_takes_over_journals_what_the_leader_lacked_and_nothing_twice() {
    let (mut network, journal, tasks) = (network(20), Journal::default(), Tasks::new(CancellationToken::new()));
    let collector = standing_by(&journal, &tasks);
    let dump = network.dump();
    let half = network.dump_where(|channel| channel.scid.0 % 2 == 0);
    let mut leaders = journaled(&half);
    leaders.push((NOW, Fact::SyncCompleted { peer: network.nodes()[0].id }));

    collector.offer(whole(&dump)).await.expect("it takes them");
    assert_eq!(journal.entries(), [], "a collector that stands by journals nothing");
    for batch in leaders.chunks(7) {
        collector.told(batch.to_vec()).await.expect("it listens");
    }
    journal.extend(leaders.clone());
    collector.lead().await.expect("it leads");
    assert_eq!(journal.messages(), sorted(&dump));
    assert_eq!((collector.status().pending, collector.status().trusted), (0, true));

    let next = network.next_update(at(60));
    collector.offer(vec![next.to_vec()]).await.expect("it takes it");
    assert_eq!(journal.entries().last().and_then(|(_, fact)| fact.message()), Some(&next[..]), "at once, now");
    collector.lead().await.expect("it leads already");
    assert_eq!(journal.entries().len(), dump.len() + 1 + 1);
    tasks.stop().cancel();
    tasks.finish(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn what_cannot_be_read_or_believed_is_counted_and_harms_nobody() {
    let (network, journal, tasks) = (network(3), Journal::default(), Tasks::new(CancellationToken::new()));
    let collector = standing_by(&journal, &tasks);
    let mut forged = network.channels()[0].announcement.to_vec();
    forged[20] ^= 1; // within the first signature
    let cut = network.channels()[1].announcement[..100].to_vec();
    collector.offer(vec![Vec::new(), vec![1], cut, forged]).await.expect("it takes them");
    collector.offer(whole(&network.dump())).await.expect("it takes them");
    collector.lead().await.expect("it leads");
    let tally = collector.status().tally;
    assert_eq!((tally.refused_for(Refusal::Malformed), tally.refused_for(Refusal::BadSignature)), (3, 1));
    assert_eq!(tally.received, tally.accepted + 4);
    assert_eq!(journal.messages(), sorted(network.dump()));
    tasks.stop().cancel();
    tasks.finish(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_collector_that_has_stopped_says_so() {
    let (journal, tasks) = (Journal::default(), Tasks::new(CancellationToken::new()));
    let collector = standing_by(&journal, &tasks);
    tasks.stop().cancel();
    tasks.finish(Duration::from_secs(10)).await;
    assert_eq!(collector.told(Vec::new()).await, Err(Stopped));
    assert_eq!(collector.offer(Vec::new()).await, Err(Stopped));
    assert_eq!(collector.lead().await, Err(Stopped));
}

/// A stand-by, without its thread.
struct StandBy {
    checker: Checker,
    outlet: Outlet,
    sent: Journal,
}

impl StandBy {
    fn new(proofs: bool) -> Self {
        let sent = Journal::default();
        let outlet = Outlet::new(Mode::StandingBy, sent.sink());
        Self { checker: Checker::new(rules(proofs)), outlet, sent }
    }
}

#[test]
fn what_waits_for_a_proof_is_released_when_the_leader_has_it() {
    let mut network = network(6);
    let mut by = StandBy::new(true);
    let waiting = by.checker.check(NOW, heard(network.dump()));
    assert_eq!((waiting.claims.len(), waiting.facts.len()), (6, 0));
    let policy = network.channels()[0].policies[0];
    let newer = network.set_policy(0, Direction::OneToTwo, policy, at(5).secs());
    assert_eq!(by.checker.check(at(5), heard([newer])).facts, []);

    let mut leaders = Checker::new(rules(true));
    let claims = leaders.check(NOW, heard(network.dump())).claims;
    let told = leaders.settle(NOW, claims.iter().map(|claim| proven(&network, claim))).facts;
    let first = told.iter().take(1).map(|fact| (NOW, fact.clone())).collect();
    let outcome = by.outlet.told(&mut by.checker, at(6), first).expect("nothing is sent");
    assert_eq!(outcome.withdrawn.len(), 1);
    assert_eq!(by.checker.waiting_channels(), 5);
    assert!(by.outlet.pending() >= 2, "the channel's updates, and what its nodes said");
    let rest = told.into_iter().skip(1).map(|fact| (NOW, fact)).collect();
    let outcome = by.outlet.told(&mut by.checker, at(7), rest).expect("nothing is sent");
    assert_eq!((outcome.withdrawn.len(), by.checker.waiting_messages(), by.outlet.pending()), (5, 0, 0));
}
