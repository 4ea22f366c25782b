//! What the page says of a status, whatever that holds.

use super::*;
use crate::gossip::UnixMs;
use crate::history::{HourOfFees, Size};
use crate::http::{
    ArchiveStatus, BodySizes, EncodedSizes, EpochStatus, FeeStatus, JournalStatus, MessageCounts, PeerStatus,
    ProofStatus, RecentSnapshot, SnapshotSizes, StaleFeeStatus, StaleFeesByAge,
};
use crate::journal::Seq;
use crate::journal::link::Role;
use crate::snapshot::{Breakdown, DeskStatus, Made};

/// 2026-11-21T20:31:05Z.
const NOW: UnixMs = UnixMs(1_795_293_065_000);
const EPOCH: u32 = 1_795_293_065 - 23 * 60;

fn peer(number: usize, state: &str) -> PeerStatus {
    let node_id = format!("02{number:064x}");
    PeerStatus { node_id, address: format!("node{number}.example.com:9735"), state: state.to_owned() }
}

/// A server on mainnet on a good day.
fn a_good_day() -> Status {
    let sizes = |full| BodySizes {
        full: EncodedSizes { identity: full, zstd: Some(full / 3), gzip: Some(full / 2), br: None },
        returning: EncodedSizes { identity: full + full / 90, ..EncodedSizes::default() },
    };
    let recent = |place: u32| RecentSnapshot {
        timestamp: EPOCH - (47 - place) * 3_600,
        channels: 37_000 + place,
        v1_bytes: 2_110_000,
        v2_bytes: 2_820_000 + (place as usize % 7) * 9_000 + place as usize * 2_500,
    };
    let hour = |place: u32| HourOfFees {
        from: 1_795_293_065 / 3_600 * 3_600 - (24 - place) * 3_600,
        changes: if place == 24 { 2_210 } else { 4_100 + (place * 7_919) % 3_300 },
    };
    let contents =
        Breakdown { announcements: 12, node_details: 544, whole: 24, changed: 4_911, reminders: 703, gone: 18 };
    let made = Made { since: EPOCH - 3_600, until: EPOCH, version: 2, bytes: 81_204, contents };
    Status {
        version: "0.1.0".to_owned(),
        network: "bitcoin".to_owned(),
        ready: true,
        epoch: Some(EpochStatus {
            timestamp: EPOCH,
            seq: Seq(2_401_377),
            age_seconds: 23 * 60,
            channels: 37_412,
            nodes: 11_903,
            directions: 74_824,
        }),
        interval_seconds: 3_600,
        next_cut: Some(EPOCH + 3_600),
        snapshots: Some(SnapshotSizes { v1: sizes(2_110_000), v2: sizes(2_940_204) }),
        recent: (0..48).map(recent).collect(),
        deltas: DeskStatus {
            known_epochs: 143,
            oldest_epoch: Some(EPOCH - 6 * 86_400),
            cached: 41,
            cached_bytes: 9_120_400,
            computed: 3_881,
            last: Some(made),
            ..DeskStatus::default()
        },
        journal: JournalStatus { last_seq: Seq(2_403_771) },
        history: Size { channels: 50_808, nodes: 17_324, versions: 61_000, epochs: 192 },
        fee_changes: FeeStatus { total: 900_000, hours: (0..25).map(hour).collect() },
        stale_fees: stale_fees(),
        peers: (1..=4).map(|number| peer(number, "connected")).collect(),
        proofs: ProofStatus { required: true, pending: 3, chain_height: Some(923_114), closing: 17 },
        messages: MessageCounts {
            received: 1_204_551,
            accepted: 402_119,
            refused: [("already_known", 790_114), ("stale", 11_020), ("no_channel", 1_298)]
                .map(|(reason, count)| (reason.to_owned(), count))
                .into(),
            dropped: 0,
            waiting: 3,
        },
        ..Status::default()
    }
}

fn stale_fees() -> StaleFeeStatus {
    let hours = [("1h", 1, 0.0061), ("6h", 6, 0.034), ("24h", 24, 0.112), ("3d", 72, 0.187)];
    let of = |(age, hours, share): (_, u32, _)| StaleFeesByAge { age, epoch: EPOCH - hours * 3_600, share };
    let ages = hours.into_iter().map(of).collect();
    StaleFeeStatus { epoch: Some(EPOCH), share: Some(0.0002), ages, reference_sat: 100_000 }
}

fn before_the_first() -> Status {
    Status {
        problem: Some("waiting for a peer to tell everything it knows".to_owned()),
        peers: vec![peer(1, "syncing"), peer(2, "connecting"), peer(3, "waiting: cannot connect: refused")],
        epoch: None,
        snapshots: None,
        next_cut: None,
        recent: Vec::new(),
        deltas: DeskStatus::default(),
        stale_fees: StaleFeeStatus::default(),
        history: Size { channels: 21_877, nodes: 9_113, ..Size::default() },
        ..a_good_day()
    }
}

fn page(status: &Status) -> String {
    render(status, NOW).expect("a page")
}

/// The page's text as people read it.
fn text(status: &Status) -> String {
    let page = page(status);
    let main = page.split_once("<main").and_then(|(_, rest)| rest.split_once("</main>")).expect("a main part").0;
    let words: String = main.split('<').filter_map(|part| Some(part.split_once('>')?.1)).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn a_good_day_is_told_at_a_glance() {
    let status = a_good_day();
    let (page, text) = (page(&status), text(&status));
    says(
        &page,
        &["<title>All is well · rgsd on bitcoin</title>", "data-tone=\"well\"", "stroke-dasharray=\"38 200\""],
    );
    says(
        &page,
        &["datetime=\"2026-11-21T20:08:05Z\" title=\"2026-11-21 20:08:05 UTC\" data-tick=\"figure\"", "<b>23</b>"],
    );
    says(&page, &["<data value=\"2940204\" title=\"2,940,204 bytes\">2.9 MB</data>"]);
    says(
        &text,
        &["23 minutes old", "Snapshot of 20:08:05 UTC. The next one is due in 37 min; one comes every hour."],
    );
    says(&text, &["Channels37,412", "Nodes11,903", "Directions74,824", "Fee changes, last day144,554"]);
    says(&text, &["at most 7,395 in an hour", "20:00, so far2,210", "The last 48 for new wallets, v2"]);
    says(&text, &["81.2 kB the last one, v2: 2.8 % of everything", "Over 60 min, from 19:08:05 to 20:08:05 UTC."]);
    says(
        &text,
        &["4,911 changed directions", "544 nodes’ details", "Epochs known143 in 6 days", "Kept ready41, 9.1 MB"],
    );
    says(
        &text,
        &["4 of 4 connected", "Archivenone configured", "Chain looked through to923,114", "Perhaps splicing17"],
    );
    says(&text, &["accepted402,11933 %", "refused802,43267 %", "already known790,11466 %", "dropped00 %"]);
    says(&text, &["A wallet from this server: 0.02 %; one that synced yesterday: 11 %", "of 100,000 sat"]);
    says(&text, &["of this server, now0.02 %", "synced 1 h ago0.61 %", "synced 3 days ago19 %"]);
    says(&text, &["http://this-server/snapshot/v2"]);
}

#[test]
fn a_problem_is_one_prominent_sentence() {
    let trouble = "the archive lacks what was journaled since it failed, and gets it later: connection refused";
    let status = Status {
        problem: Some(trouble.to_owned()),
        archive: Some(ArchiveStatus {
            role: Role::Writer,
            term: None,
            connected: false,
            last_seq: Some(Seq(2_400_000)),
            lag_entries: Some(3_771),
            lag_seconds: Some(840),
        }),
        next_cut: Some(EPOCH + 60),
        left_out: 3,
        ..a_good_day()
    };
    let (page, text) = (page(&status), text(&status));
    says(
        &page,
        &[
            "data-tone=\"problem\"",
            "id=\"verdict\" role=\"status\"",
            "<title>Something needs a look · rgsd on bitcoin",
        ],
    );
    assert_eq!(page.matches("role=\"status\"").count() + page.matches("aria-live").count(), 1, "one voice");
    says(
        &page,
        &[
            "id=\"reason\">The archive lacks what was journaled since it failed, and gets it later: connection refused<",
        ],
    );
    says(&text, &["The next one is overdue by 22 min", "would read them otherwise than they are: 3."]);
    says(&text, &["Archivenot connected", "Its last entry2,400,000", "Behind3,771 entries, 14 min"]);
    assert!(!text.contains("All is well"));
}

#[test]
fn before_the_first_snapshot_it_tells_how_the_sync_goes() {
    let status = before_the_first();
    let (page, text) = (page(&status), text(&status));
    says(&page, &["data-tone=\"syncing\""]);
    says(&text, &["21,877 channels so far", "No snapshot yet Waiting for a peer to tell everything it knows"]);
    says(
        &text,
        &["Peers telling all they know1 of 3", "Messages accepted402,119", "Nodes so far9,113", "Wallets are told"],
    );
    says(&text, &["waiting Cannot connect: refused", "1 of 3 connected"]);
    assert!(
        !text.contains("Snapshot sizes") && !text.contains("Stale fees") && !text.contains("Fee changes by the hour")
    );
    says(&self::text(&Status { problem: None, ..status }), &["The first one comes when"]);
    says(&self::text(&Status::default()), &["No snapshot yet", "None: what is served comes from the archive."]);
}

#[test]
fn whatever_comes_from_outside_stays_text() {
    let hostile = "</p></main><script>alert('1')</script><img src=x onerror=\"alert(2)\">{{ 7 * 7 }}&amp;";
    let text = || hostile.to_owned();
    let peer = PeerStatus { node_id: text(), address: text(), state: format!("{hostile}: {hostile}") };
    let messages = MessageCounts { refused: [(text(), 3)].into(), ..MessageCounts::default() };
    for epoch in [None, a_good_day().epoch] {
        let status = Status {
            version: text(),
            network: text(),
            problem: Some(text()),
            peers: vec![peer.clone(); 20],
            messages: messages.clone(),
            epoch,
            ..a_good_day()
        };
        let page = page(&status);
        for tag in ["<script", "</script", "<style", "</main"] {
            assert_eq!(page.matches(tag).count(), 1, "{tag}");
        }
        assert!(!page.contains("<img") && !page.contains("onerror=\""));
        says(&page, &["&#60;img src=x onerror=&#34;alert(2)&#34;&#62;{{ 7 * 7 }}&#38;amp;"]);
    }
}

#[test]
fn of_many_peers_some_unfold() {
    let peers = (0..300).map(|number| peer(number, if number == 299 { "connecting" } else { "connected" })).collect();
    let status = Status { peers, ..a_good_day() };
    let (page, text) = (page(&status), text(&status));
    says(&text, &["299 of 300 connected", "292 more"]);
    says(&page, &["node299.example.com<wbr>:9735", "0200000000…00012b"]);
    let unfolded = page.split_once("id=\"more-peers\"").expect("the others").0;
    assert!(unfolded.contains("node7.example") && !unfolded.contains("node8.example"));
}

#[test]
fn servers_differ() {
    let archive = ArchiveStatus {
        role: Role::Replica,
        term: None,
        connected: true,
        last_seq: Some(Seq(7)),
        lag_entries: Some(0),
        lag_seconds: Some(0),
    };
    let replica = Status { archive: Some(archive), peers: Vec::new(), ..a_good_day() };
    says(&text(&replica), &["Rolereplica", "Behindup to date", "Proven bythe archive’s writer", "0 of 0 connected"]);
    let unproven = Status { proofs: ProofStatus::default(), ..a_good_day() };
    says(&text(&unproven), &["Proven bynobody: without a bitcoind, channels are accepted unproven"]);
    let deltas = DeskStatus { snapshots: crate::snapshot::Mode::Full, ..DeskStatus::default() };
    says(&text(&Status { deltas, ..a_good_day() }), &["Turned off: wallets that come back get everything, too."]);
    let fresh = Status { deltas: DeskStatus::default(), recent: Vec::new(), next_cut: None, ..a_good_day() };
    says(&text(&fresh), &["None was asked for yet.", "One comes every hour."]);
    let unread = Status { stale_fees: StaleFeeStatus::default(), ..a_good_day() };
    says(&text(&unread), &["Stale fees Not known yet: the journal is being read"]);
    let young = StaleFeeStatus { ages: Vec::new(), ..stale_fees() };
    let young = text(&Status { stale_fees: young, ..a_good_day() });
    says(&young, &["A wallet from this server: 0.02 %", "synced 24 h agonot known"]);
    assert!(!young.contains("yesterday"));
}

#[test]
fn the_policy_lets_in_what_is_on_the_page_and_nothing_else() {
    let page = page(&a_good_day());
    let inside = |tag: &str| {
        let (_, rest) = page.split_once(&format!("<{tag}>")).expect("it begins");
        let hash = sha256::Hash::hash(rest.split_once(&format!("</{tag}>")).expect("it ends").0.as_bytes());
        base64::encode_block(hash.as_byte_array())
    };
    says(
        &POLICY,
        &["default-src 'none'; ", "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"],
    );
    says(&POLICY, &[&format!("script-src 'sha256-{}'; style-src 'sha256-{}'; ", inside("script"), inside("style"))]);
    assert!(!page.contains(" style=") && !page.contains("javascript:"));
    assert!(!page.replace("http://www.w3.org/2000/svg", "").replace("http://this-server", "").contains("://"));
}
