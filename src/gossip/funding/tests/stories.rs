//! What happens to claims while bitcoind behaves, misbehaves, and is away.

use std::time::Duration;

use super::bitcoind::{Bitcoind, Fault};
use super::*;
use crate::gossip::funding::Refusal;

const KINDS: [&str; 5] = ["chaininfo", "blockhashbyheight", "headers", "block", "getutxos"];

#[test]
fn a_funding_script_is_that_of_bolt_3() {
    let key = |hex: &str| NodeId::from_slice(&hex_bytes(hex)).unwrap();
    let local = key("023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb");
    let remote = key("030e9f7b623d2ccc7c9bd44d66d5ce21ce504c0acf6385a132cec6d3c39fa711c1");
    // Appendix B, "Funding Transaction Test Vectors"
    let expected = hex_bytes("0020c015c4a6be010e21657068fc2e6a9d02b27ebe4d490a25846f7237f104d1a3cd");
    assert_eq!(funding_script(&[local, remote]).as_slice(), expected);
    assert_eq!(funding_script(&[remote, local]).as_slice(), expected);
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn each_claim_gets_the_verdict_it_deserves() {
    let mut rig = Rig::new(50, fast()).await;
    {
        let mut chain = rig.bitcoind.chain();
        chain.fund(10, 1, 0, &script(1), 700_000);
        chain.fund(10, 1, 1, &script(2), 800_000);
        chain.fund(10, 2, 0, b"\x00\x14 pay to a witness key", 1);
        chain.fund(10, 3, 0, &script(4), 1);
        chain.spend(10, 3, 0);
        chain.fund(45, 7, 3, &script(8), 21_000_000 * 100_000_000);
    }
    let claims = [
        (1, scid(10, 1, 0), script(1)),
        (2, scid(10, 1, 1), script(1)),
        (3, scid(10, 2, 0), script(3)),
        (4, scid(10, 3, 0), script(4)),
        (5, scid(10, 4, 0), script(5)),
        (6, scid(10, 8, 0), script(6)),
        (7, scid(10, 0xff_ffff, 0xffff), script(7)),
        (8, scid(45, 7, 3), script(8)),
    ];
    claims.into_iter().for_each(|(id, scid, script)| rig.prover.prove(claim(id, scid, script)));
    let refused = Verdict::Refused;
    let expected = [
        (1, Verdict::Proven { capacity_sat: 700_000 }),
        (2, refused(Refusal::WrongScript)),
        (3, refused(Refusal::WrongScript)),
        (4, refused(Refusal::SpentOrMissing)),
        (5, refused(Refusal::SpentOrMissing)),
        (6, refused(Refusal::NoSuchTransaction)),
        (7, refused(Refusal::NoSuchTransaction)),
        (8, Verdict::Proven { capacity_sat: 21_000_000 * 100_000_000 }),
    ];
    assert_eq!(rig.verdicts(8).await, BTreeMap::from(expected));
    let status = rig.wait_for(|status| status.answered == 8).await;
    assert_eq!((status.pending, rig.prover.unsettled()), (0, 0));
    assert!(status.reachable);
    assert_eq!((status.tip_height, status.problem), (Some(50), None));
}

#[tokio::test]
async fn a_claim_waits_for_its_sixth_confirmation_and_for_its_block() {
    let mut rig = Rig::new(50, fast()).await;
    rig.fund_and_claim(46, 46, 1, 0);
    rig.prover.prove(claim(52, scid(52, 1, 0), script(52)));
    rig.prover.prove(claim(99, scid(0xff_ffff, 1, 0), script(1)));
    rig.wait_for(|status| status.waiting_for_blocks == 3).await;
    assert_eq!(rig.prover.unsettled(), 0);
    rig.no_answer_yet();
    assert_eq!(rig.bitcoind.chain().asked("blockhashbyheight"), 0);
    rig.bitcoind.chain().mine(1, 0);
    rig.all_proven(1).await;
    {
        let mut chain = rig.bitcoind.chain();
        chain.mine(6, 0);
        chain.fund(52, 1, 0, &script(52), 52);
    }
    rig.all_proven(1).await;
    rig.wait_for(|status| status.waiting_for_blocks == 1 && status.pending == 1).await;
}

#[tokio::test]
async fn a_lone_claim_takes_three_requests() {
    let mut rig = Rig::new(500, Timing::default()).await;
    rig.wait_for(|status| status.reachable).await;
    rig.fund_and_claim(1, 20, 1, 0);
    rig.all_proven(1).await;
    // one hash, one block, one output, and where the chain stands
    assert_eq!(rig.bitcoind.chain().requests.values().sum::<u64>(), 4);
}

#[tokio::test]
async fn nothing_is_lost_while_bitcoind_is_down() {
    let mut rig = Rig::new(400, fast()).await;
    rig.fund_and_claim(1, 5, 1, 0);
    rig.all_proven(1).await;
    rig.bitcoind.go_down().await;
    for id in 2..2_002 {
        rig.fund_and_claim(id, id as u32 % 390, (id % 8) as u32, (id / 8 % 1_000) as u16);
    }
    let status = rig.wait_for(|status| status.problem.is_some() && status.pending == 2_000).await;
    assert!(!status.reachable);
    let problem = status.problem.unwrap();
    assert!(problem.starts_with("bitcoind cannot be reached: ") && problem.contains("127.0.0.1:"), "{problem}");
    assert_eq!(rig.prover.unsettled(), 2_000);
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.no_answer_yet();
    rig.bitcoind.come_up().await;
    rig.all_proven(2_000).await;
    rig.wait_for(|status| status.reachable && status.pending == 0).await;
}

#[tokio::test]
async fn a_bitcoind_that_is_down_at_the_start_is_waited_for() {
    let mut bitcoind = Bitcoind::start(100, 8).await;
    bitcoind.go_down().await;
    let mut rig = Rig::with(bitcoind, fast());
    rig.fund_and_claim(1, 50, 1, 0);
    rig.wait_for(|status| status.problem.is_some()).await;
    rig.bitcoind.come_up().await;
    rig.all_proven(1).await;
}

#[tokio::test]
async fn no_failure_of_any_request_refuses_or_loses_a_claim() {
    let faults = [
        Fault::Status(503),
        Fault::Status(500),
        Fault::Torn,
        Fault::Half,
        Fault::Huge,
        Fault::Garbage,
        Fault::Silent,
    ];
    for fault in faults {
        // Only silence has to be given up: a slow machine's answers come in time.
        let request = if fault == Fault::Silent { Duration::from_millis(500) } else { fast().request };
        let timing = Timing { request, ..fast() };
        let mut tests = tokio::task::JoinSet::new();
        for kind in KINDS {
            tests.spawn(fails_for_a_while(kind, fault, timing));
        }
        while let Some(test) = tests.join_next().await {
            test.unwrap();
        }
    }
}

async fn fails_for_a_while(kind: &'static str, fault: Fault, timing: Timing) {
    let mut rig = Rig::new(120, timing).await;
    rig.bitcoind.chain().faults.insert(kind, fault);
    for id in 0..20 {
        rig.fund_and_claim(id, 1 + id as u32, 1, 0);
    }
    // Where a range of headers fails, the hashes are asked for one by one as well: answers may come all the same.
    let without_it = kind == "headers";
    let asked = async {
        while rig.bitcoind.chain().asked(kind) < if without_it { 1 } else { 3 } {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{kind} {fault:?} is not retried"));
    if !without_it {
        rig.no_answer_yet();
        assert_eq!(rig.prover.unsettled(), 20, "{kind} {fault:?}");
    }
    rig.bitcoind.chain().faults.clear();
    rig.all_proven(20).await;
}

#[tokio::test]
async fn a_bitcoind_that_answers_nothing_but_looks_is_left_in_peace() {
    let timing = Timing { retry_at_most: Duration::from_secs(60), ..fast() };
    let mut rig = Rig::new(400, timing).await;
    rig.bitcoind.chain().faults.insert("block", Fault::Garbage);
    for id in 0..380 {
        rig.fund_and_claim(id, id as u32, 1, 0);
    }
    let problem = rig.wait_for(|status| status.problem.is_some()).await.problem.unwrap();
    assert!(problem.starts_with("bitcoind's answer to /rest/block/notxdetails/"), "{problem}");
    tokio::time::sleep(Duration::from_millis(120)).await;
    let asked = rig.bitcoind.chain().asked("block");
    assert!(asked < 100, "asked {asked} times in vain");
    rig.bitcoind.chain().faults.clear();
    rig.all_proven(380).await;
    rig.wait_for(|status| status.problem.is_none()).await;
}

#[tokio::test]
async fn one_bad_block_does_not_keep_others_waiting() {
    let mut rig = Rig::new(400, fast()).await;
    rig.bitcoind.chain().faults.insert("block", Fault::Torn);
    rig.fund_and_claim(1, 5, 1, 0);
    while rig.bitcoind.chain().asked("block") < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.bitcoind.chain().faults.clear();
    for id in 2..52 {
        rig.fund_and_claim(id, 4 + id as u32, 1, 0);
    }
    rig.all_proven(51).await;
}

#[tokio::test]
async fn pruned_blocks_wait_and_are_not_asked_for() {
    let mut rig = Rig::new(300, fast()).await;
    {
        let mut chain = rig.bitcoind.chain();
        (chain.prune_height, chain.missing_below) = (Some(100), 150);
    }
    rig.fund_and_claim(1, 99, 1, 0);
    rig.fund_and_claim(2, 150, 1, 0);
    rig.all_proven_is(2).await;
    let status = rig.wait_for(|status| status.unavailable == 1).await;
    assert_eq!((status.prune_height, status.reachable, rig.prover.unsettled()), (Some(100), true, 0));
    assert_eq!(rig.bitcoind.chain().asked("block"), 1);
    // pruned since bitcoind was last asked how far
    rig.fund_and_claim(3, 120, 1, 0);
    rig.wait_for(|status| status.unavailable == 2).await;
    assert_eq!(rig.bitcoind.chain().asked("block"), 2);
    rig.no_answer_yet();
    {
        let mut chain = rig.bitcoind.chain();
        (chain.prune_height, chain.missing_below) = (None, 0);
    }
    let verdicts = rig.verdicts(2).await;
    assert_eq!(verdicts.keys().copied().collect::<Vec<_>>(), [1, 3]);
}

impl Rig {
    /// The next answer is that `id` is proven.
    async fn all_proven_is(&mut self, id: u64) {
        assert_eq!(self.verdicts(1).await, BTreeMap::from([(id, Verdict::Proven { capacity_sat: id })]));
    }
}

#[tokio::test]
async fn another_chain_and_a_closed_interface_are_named() {
    let mut rig = Rig::new(300, fast()).await;
    rig.bitcoind.chain().name = "signet";
    rig.fund_and_claim(1, 99, 1, 0);
    let problem = rig.wait_for(|status| status.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("is on chain \"signet\" while network = \"regtest\" needs \"regtest\""), "{problem}");
    {
        let mut chain = rig.bitcoind.chain();
        chain.name = "regtest";
        chain.faults.insert("chaininfo", Fault::Status(404));
    }
    rig.wait_for(|status| status.problem.as_ref().is_some_and(|problem| problem.ends_with("-rest=1"))).await;
    rig.no_answer_yet();
    assert_eq!(rig.prover.unsettled(), 1);
    rig.bitcoind.chain().faults.clear();
    rig.all_proven(1).await;
}

#[tokio::test]
async fn a_syncing_bitcoind_proves_what_it_has() {
    let mut rig = Rig::new(100, fast()).await;
    {
        let mut chain = rig.bitcoind.chain();
        (chain.initial_block_download, chain.headers_ahead) = (true, 100);
    }
    rig.fund_and_claim(1, 95, 1, 0);
    rig.prover.prove(claim(150, scid(150, 1, 0), script(150)));
    rig.prover.prove(claim(2, scid(240, 1, 0), script(1)));
    rig.all_proven(1).await;
    let status = rig.wait_for(|status| status.pending == 2).await;
    assert!(status.initial_block_download);
    assert_eq!((status.waiting_for_blocks, rig.prover.unsettled()), (0, 2));
    {
        // past the download, and still behind the headers
        let mut chain = rig.bitcoind.chain();
        (chain.initial_block_download, chain.headers_ahead) = (false, 80);
        chain.mine(20, 0);
    }
    rig.wait_for(|status| status.waiting_for_blocks == 1).await;
    assert_eq!(rig.prover.unsettled(), 1);
    {
        let mut chain = rig.bitcoind.chain();
        chain.headers_ahead = 0;
        chain.mine(80, 0);
        chain.fund(150, 1, 0, &script(150), 150);
    }
    rig.all_proven(1).await;
}

#[tokio::test]
async fn competing_claims_share_what_was_found() {
    let mut rig = Rig::new(300, fast()).await;
    rig.fund_and_claim(1, 99, 1, 0);
    rig.prover.prove(claim(2, scid(99, 1, 0), script(2)));
    let both =
        BTreeMap::from([(1, Verdict::Proven { capacity_sat: 1 }), (2, Verdict::Refused(Refusal::WrongScript))]);
    assert_eq!(rig.verdicts(2).await, both);
    assert_eq!(rig.bitcoind.chain().asked("getutxos"), 1);
    rig.prover.prove(claim(3, scid(99, 1, 0), script(3)));
    rig.prover.prove(claim(4, scid(99, 1, 0), script(1)));
    let later =
        BTreeMap::from([(3, Verdict::Refused(Refusal::WrongScript)), (4, Verdict::Proven { capacity_sat: 1 })]);
    assert_eq!(rig.verdicts(2).await, later);
    // another channel of a block just read
    rig.fund_and_claim(5, 99, 2, 0);
    rig.all_proven(1).await;
    let chain = rig.bitcoind.chain();
    assert_eq!((chain.asked("block"), chain.asked("getutxos"), chain.asked("blockhashbyheight")), (1, 2, 1));
}

#[tokio::test]
async fn a_reorganisation_between_two_questions_is_noticed() {
    for kind in ["block", "getutxos"] {
        let mut rig = Rig::new(300, fast()).await;
        rig.wait_for(|status| status.reachable).await;
        // The block at 280 is replaced, and its new one has the channel at the same place.
        let ambush = |chain: &mut super::bitcoind::Chain| {
            chain.reorganise(40, 7);
            chain.fund(280, 1, 0, &script(1), 1);
        };
        rig.bitcoind.chain().ambush = Some((kind, Box::new(ambush)));
        rig.prover.prove(claim(1, scid(280, 1, 0), script(1)));
        rig.all_proven(1).await;
    }
}

#[tokio::test]
async fn what_a_reorganisation_undid_is_looked_at_again() {
    let mut rig = Rig::new(300, fast()).await;
    rig.fund_and_claim(1, 280, 1, 0);
    rig.all_proven(1).await;
    rig.bitcoind.chain().reorganise(40, 7);
    rig.prover.prove(claim(9, scid(1_000, 1, 0), script(9))); // keeps the prover looking at the chain
    rig.wait_for(|status| status.tip_height == Some(301)).await;
    rig.prover.prove(claim(2, scid(280, 1, 0), script(1)));
    let refused = Verdict::Refused(Refusal::SpentOrMissing);
    assert_eq!(rig.verdicts(1).await, BTreeMap::from([(2, refused)]));
}

#[tokio::test]
async fn a_claim_can_be_taken_back() {
    let mut rig = Rig::new(300, fast()).await;
    rig.bitcoind.chain().faults.insert("block", Fault::Status(503));
    rig.fund_and_claim(1, 5, 1, 0);
    rig.fund_and_claim(2, 5, 1, 1);
    rig.fund_and_claim(3, 299, 1, 1);
    rig.wait_for(|status| status.pending == 3 && status.waiting_for_blocks == 1).await;
    rig.prover.withdraw(1, scid(5, 1, 0));
    rig.prover.withdraw(3, scid(299, 1, 1));
    rig.prover.withdraw(3, scid(299, 1, 1));
    rig.wait_for(|status| status.pending == 1 && status.withdrawn == 2).await;
    assert_eq!(rig.prover.unsettled(), 1);
    rig.bitcoind.chain().faults.clear();
    assert_eq!(rig.verdicts(1).await, BTreeMap::from([(2, Verdict::Proven { capacity_sat: 2 })]));
    rig.wait_for(|status| status.pending == 0).await;
    rig.no_answer_yet();
}

#[tokio::test]
async fn it_stops_when_told() {
    let rig = Rig::new(300, fast()).await;
    rig.bitcoind.chain().faults.insert("block", Fault::Silent);
    rig.fund_and_claim(1, 5, 1, 0);
    rig.stop.cancel();
    tokio::time::timeout(PATIENCE, rig.task).await.unwrap().unwrap();
    rig.prover.prove(claim(2, scid(5, 1, 0), script(2)));

    let Rig { prover, task, findings: _findings, .. } = Rig::new(300, fast()).await;
    drop(prover);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}
