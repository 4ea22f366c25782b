//! The desk: a delta is made once, kept, and never waited for for long.

use std::io::Read;
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, SystemTime};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bytes::Bytes;
use rgsd::gossip::Direction;
use rgsd::history::History;
use rgsd::journal::Epoch;
use rgsd::snapshot::{
    Coding, Desk, DeskStatus, Interval, LeftOut, Matter, Mode, Served, Told, Version, cut, decode, encode,
};

use crate::deltas::World;

/// Three epochs, with a fee changed before each, and a desk that serves the last.
struct Office {
    history: Arc<RwLock<History>>,
    epochs: [Epoch; 3],
    desk: Arc<Desk>,
}

impl Office {
    fn open() -> Self {
        let mut world = World::new();
        let epochs = [1, 2, 3].map(|fee| {
            world.fee(1, Direction::OneToTwo, fee);
            world.epoch()
        });
        let history = Arc::new(RwLock::new(world.history));
        let office =
            Self { history, epochs, desk: Arc::new(Desk::new(Network::Bitcoin, Mode::Delta, Interval::default())) };
        office.serve(&epochs[2]);
        office
    }

    /// So many that what changes between the first epoch and the last is worth compressing.
    fn of_many_channels() -> Self {
        let mut world = World::new();
        let channels = world.grow(200);
        let before = world.epoch();
        for n in channels {
            world.fee(n, Direction::OneToTwo, 77);
        }
        let after = world.epoch();
        let history = Arc::new(RwLock::new(world.history));
        let desk = Arc::new(Desk::new(Network::Bitcoin, Mode::Delta, Interval::default()));
        let office = Self { history, epochs: [before, before, after], desk };
        office.serve(&after);
        office
    }

    fn serve(&self, epoch: &Epoch) {
        let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let matter = Matter::of(&self.history.read().expect("no panic while locked"), epoch).expect("known");
        let since = matter.since.clone();
        let cut = cut(matter, &LeftOut::default(), Network::Bitcoin, now_s as u32).expect("the client takes it");
        self.desk.serve(Served::new(cut.snapshot, since, Arc::downgrade(&self.history)));
    }

    async fn ask(&self, since: usize) -> Bytes {
        ask(&self.desk, &self.epochs, since).await
    }

    fn returning(&self) -> Bytes {
        self.desk.latest().as_ref().expect("served").snapshot.returning.of(Version::V2)
    }

    /// Waits until so many bytes of deltas are left.
    async fn holds(&self, bytes: usize) {
        self.waits_for("no more is held", |status| status.held_bytes == bytes).await;
    }

    async fn waits_for(&self, what: &str, holds: impl Fn(&DeskStatus) -> bool) {
        let waiting = async {
            while !holds(&self.desk.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(what);
    }

    /// The delta from an epoch to the last one.
    fn delta(&self, since: usize) -> Vec<u8> {
        let history = self.history.read().expect("no panic while locked");
        let span = history.span(&self.epochs[since], &self.epochs[2]).expect("known");
        let chain = ChainHash::using_genesis_block_const(Network::Bitcoin);
        encode(&rgsd::snapshot::delta(&span, &LeftOut::default()), chain, Version::V2).expect("small enough")
    }
}

async fn ask(desk: &Desk, epochs: &[Epoch; 3], since: usize) -> Bytes {
    let now_s = epochs[2].timestamp + 60;
    let answer = desk.answer(epochs[since].timestamp.into(), Version::V2, now_s).await.expect("something is served");
    answer.body.identity().bytes.clone()
}

#[tokio::test]
async fn nobody_is_answered_before_the_first_snapshot() {
    let desk = Desk::new(Network::Bitcoin, Mode::Delta, Interval::default());
    assert!(desk.answer(0, Version::V1, 1_700_000_000).await.is_none());
    assert!(!desk.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_is_made_once_however_many_ask() {
    let office = Office::open();
    let asking: Vec<_> = (0..200)
        .map(|n| {
            let (desk, epochs) = (Arc::clone(&office.desk), office.epochs);
            tokio::spawn(async move { ask(&desk, &epochs, n % 2).await })
        })
        .collect();
    for (n, asked) in asking.into_iter().enumerate() {
        assert_eq!(asked.await.expect("no panic"), office.delta(n % 2));
    }
    let status = office.desk.status();
    assert_eq!((status.computed, status.late, status.known_epochs), (2, 0, 3));
    assert_eq!(status.cached, 2);
    assert!(status.cached_bytes as usize > office.delta(0).len() + office.delta(1).len());
    assert_eq!(status.oldest_epoch.map(|oldest| oldest < office.epochs[0].timestamp), Some(true));
    let made = status.last.expect("made");
    assert_eq!((made.until, made.version, made.contents.changed), (office.epochs[2].timestamp, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_would_wait_for_long_gets_everything_and_the_next_one_the_delta() {
    let office = Office::open();
    let busy = Arc::clone(&office.history);
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let _held = busy.write().expect("no panic while locked");
        locked.send(()).expect("somebody waits");
        ended.recv().expect("told");
    });
    is_locked.recv().expect("told");
    let (one, two) = tokio::join!(office.ask(0), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        office.ask(0).await
    });
    assert!(one == office.returning() && two == one);
    assert_eq!(office.desk.status().late, 2);
    end.send(()).expect("somebody waits");
    holder.join().expect("no panic");
    // It was being made all the time, and is kept.
    office.waits_for("it is made", |status| status.computed == 1).await;
    assert_eq!(office.ask(0).await, office.delta(0));
    assert_eq!(office.desk.status().computed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_gone_leaves_the_whole_snapshot() {
    let mut office = Office::open();
    assert_eq!(office.ask(0).await, office.delta(0));
    office.history = Arc::default();
    assert!(office.ask(1).await == office.returning());
    assert!(office.ask(0).await != office.returning(), "what was made is there");
    assert_eq!(decode(&office.ask(2).await).expect("nothing").updates.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_has_deltas_of_its_own() {
    let office = Office::open();
    office.serve(&office.epochs[1]);
    let now_s = office.epochs[1].timestamp;
    let answer = office.desk.answer(office.epochs[0].timestamp.into(), Version::V2, now_s).await.expect("served");
    assert_eq!(answer.told, Told::Delta);
    let body = answer.body.identity().bytes.clone();
    drop(answer);
    assert_eq!(decode(&body).expect("a delta").timestamp, office.epochs[1].timestamp);
    office.serve(&office.epochs[2]);
    office.holds(body.len()).await; // whoever is being sent one keeps it
    drop(body);
    office.holds(0).await;
    assert_eq!(office.ask(0).await, office.delta(0));
    let published = office.desk.latest().as_ref().expect("served").snapshot.clone();
    // As after a start: what was published is there, and the history comes later.
    office.desk.serve(Served::new(published, Vec::new(), Weak::new()));
    assert!(office.ask(0).await == office.returning());
    office.desk.resume(vec![office.epochs[0].timestamp], Arc::downgrade(&office.history));
    assert_eq!(office.ask(0).await, office.delta(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_compressed_while_it_is_served_as_it_is() {
    let office = Office::of_many_channels();
    let desk = Arc::clone(&office.desk);
    let answer = desk.answer(0, Version::V2, office.epochs[2].timestamp).await.expect("served");
    assert_eq!(answer.told, Told::Full);
    assert!(Coding::ALL.iter().all(|coding| answer.body.coded(*coding).is_none()), "ready as it is");
    let packing = Arc::clone(&office.desk);
    tokio::task::spawn_blocking(move || packing.pack(&mut packing.packer(), || false)).await.expect("no panic");
    for (coding, unpack) in UNPACK {
        let coded = answer.body.coded(coding).expect("compressed");
        assert_eq!(unpack(&coded.bytes), answer.body.identity().bytes, "{coding:?}");
        assert!(coded.bytes.len() < answer.body.identity().bytes.len());
        assert_ne!(coded.tag, answer.body.identity().tag);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_is_compressed_once_somebody_would_like_it_so() {
    let office = Office::of_many_channels();
    let [before, _, after] = office.epochs;
    let ask = async || {
        let answer = office.desk.answer(before.timestamp.into(), Version::V1, after.timestamp).await.expect("served");
        assert_eq!(answer.told, Told::Delta);
        answer
    };
    let first = ask().await;
    assert!(!first.body.has_tried(Coding::Gzip), "nobody asked for it yet");
    let waiting = async {
        while !first.body.has_tried(Coding::Gzip) {
            office.desk.want(&first, Coding::Gzip);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it is compressed");
    let again = ask().await;
    assert!(Arc::ptr_eq(&first.body, &again.body), "it is kept");
    assert!(again.body.coded(Coding::Zstd).is_none(), "nobody wants that");
    let coded = again.body.coded(Coding::Gzip).expect("shorter");
    assert!(UNPACK[1].1(&coded.bytes) == again.body.identity().bytes);
}

type Unpack = fn(&[u8]) -> Vec<u8>;

/// How each coding is undone.
const UNPACK: [(Coding, Unpack); 3] = [
    (Coding::Zstd, |bytes| zstd::decode_all(bytes).expect("zstd")),
    (Coding::Gzip, |bytes| {
        let mut all = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut all).expect("gzip");
        all
    }),
    (Coding::Brotli, |bytes| {
        let mut all = Vec::new();
        brotli::BrotliDecompress(&mut &bytes[..], &mut all).expect("brotli");
        all
    }),
];
