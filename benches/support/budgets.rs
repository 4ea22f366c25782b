//! Everything that is measured, and its budget: first what the design promises, in its order, then the rest. README's
//! table has one row for each.

use std::time::Duration;

use super::table::{Allowed, Budget};
use Allowed::{AtLeast, AtMost, Count, Rate, Size, Time, Wish, WishedSize};

/// In the order of the table. What is not in it comes at the end, and nobody notices when it is lacking.
pub const ORDER: [&Budget; 35] = [
    // The design's.
    &CUT,
    &NEW_DELTA,
    &CACHED_DELTA,
    &FULL_V2_COMPLETE,
    &FULL_V2_ROUTABLE,
    &FULL_V1_COMPLETE,
    &FULL_V1_ROUTABLE,
    &RESTART,
    &RESTART_PUBLISHED,
    &SYNC,
    &PROOFS,
    &MEMORY,
    &MEMORY_PEAK,
    &WEEK,
    &FULL[0],
    &FULL[1],
    &FULL_ZSTD[0],
    &FULL_ZSTD[1],
    &SMALL_DELTA[0],
    &SMALL_DELTA[1],
    &FEE_CHANGE,
    // The rest.
    &TUNE,
    &VERIFY,
    &ENCODE_DELTA,
    &RUSH,
    &HOUR_DELTA[0],
    &HOUR_DELTA[1],
    &CROWD,
    &RESTART_ARCHIVE,
    &SYNC_ARCHIVE,
    &SHIP,
    &RESTORE,
    &MEMORY_SHIPPING,
    &REPLAY_TRUSTED,
    &REPLAY_CHECKED,
];

pub const CUT: Budget = mainnet("cut an epoch and encode the full snapshot, v1 and v2", Time(ms(100)));
pub const VERIFY: Budget =
    mainnet("verification by the official client: full v1 and v2, and returning v2", Time(ms(500)));
pub const FULL_V2_COMPLETE: Budget = mainnet("full v2, `complete`", Size(4.92));
pub const FULL_V2_ROUTABLE: Budget = mainnet("full v2, `routable`", Size(3.4));
pub const FULL_V1_COMPLETE: Budget = mainnet("full v1, `complete`", Size(3.6));
pub const FULL_V1_ROUTABLE: Budget = mainnet("full v1, `routable`", Size(2.55));

pub const ENCODE_DELTA: Budget =
    of("deltas", "compute and encode a delta: the slowest of those over 1 h to 5 d", Time(ms(30)));

pub const NEW_DELTA: Budget =
    restart("a delta nobody asked for yet, to its first byte over HTTP: the slowest", Time(ms(30)));
pub const CACHED_DELTA: Budget =
    restart("a delta already asked for, to its first byte over HTTP: the slowest", Time(ms(1)));
pub const RUSH: Budget =
    restart("a thousand wallets at 144 different epochs, right after a cut: the last answer", Time(s(5)));
pub const RESTART: Budget = restart("restart: journal to first answer, nothing published", Time(s(3)));
pub const RESTART_PUBLISHED: Budget = restart("restart: to first answer, a snapshot published before", Time(s(3)));
pub const RESTART_ARCHIVE: Budget =
    restart("restart: to first answer, with an archive that lacks everything", Time(s(3)));
pub const MEMORY: Budget =
    restart("memory, serving all this, resident after a thousand wallets came at once", Size(400.0));
pub const MEMORY_PEAK: Budget = restart("the peak of that memory", WishedSize(400.0));
pub const MEMORY_SHIPPING: Budget =
    restart("the peak of memory while six days are shipped to an archive", Size(400.0));

pub const SYNC: Budget = of("sync", "check and journal an initial sync, without funding proofs", AtMost(1.5, CHECKS));
pub const SYNC_ARCHIVE: Budget =
    of("sync", "an initial sync with an archive, whose PostgreSQL shares the cores", AtMost(1.5, CHECKS));
pub const PROOFS: Budget =
    of("sync", "bitcoind requests for its funding proofs", Count(2.2, "a block touched, no whole blocks"));

pub const SHIP: Budget =
    of("archive", "ship an initial sync to a local PostgreSQL over TLS", Rate(20_000.0, "entries"));
pub const WEEK: Budget = of("archive", "a week in the database (1.2 million messages)", Size(400.0));
pub const RESTORE: Budget =
    of("archive", "restore six days (2.4 million entries) from the archive into an empty directory", Time(s(15)));

/// With connections that are kept, and ones that are closed.
pub const FULL: [Budget; 2] = [
    serving("requests a second for a cached full snapshot", AtLeast(1.0, NGINX)),
    serving("requests a second for a cached full snapshot, connections closed", AtLeast(1.0, NGINX)),
];
pub const FULL_ZSTD: [Budget; 2] = [
    serving("requests a second for a cached full snapshot in zstd", AtLeast(1.0, NGINX)),
    serving("requests a second for a cached full snapshot in zstd, connections closed", AtLeast(1.0, NGINX)),
];
pub const SMALL_DELTA: [Budget; 2] = [
    serving("requests a second for a small delta", AtLeast(0.8, NGINX)),
    serving("requests a second for a small delta, connections closed", AtLeast(0.8, NGINX)),
];
pub const HOUR_DELTA: [Budget; 2] = [
    serving("requests a second for a delta over an hour", Wish(0.8, NGINX)),
    serving("requests a second for a delta over an hour, connections closed", Wish(0.8, NGINX)),
];
pub const CROWD: Budget = serving(
    "a full snapshot while 10,000 connections idle and 200 do worse: 99 of a hundred wallets have it after",
    Time(ms(100)),
);

/// With snapshots every ten seconds.
pub const FEE_CHANGE: Budget =
    of("freshness", "a fee change on the wire to a wallet that fetches it, every 10 s: the slowest", Time(s(10 + 2)));

pub const TUNE: Budget = of("tune", "tune: a mainnet-size week, nine intervals, 2,000 payments each", Time(s(600)));

pub const REPLAY_TRUSTED: Budget =
    of("replay", "replay a recording of six days (1.5 million messages), `--trust`", Time(s(20)));
pub const REPLAY_CHECKED: Budget =
    of("replay", "replay an initial sync and 30,000 updates, signatures checked", AtMost(1.3, CHECKS));

const CHECKS: &str = "its signature checks";
const NGINX: &str = "nginx's on the same bytes";

const fn of(bench: &'static str, work: &'static str, allowed: Allowed) -> Budget {
    Budget { bench, work, allowed }
}

const fn mainnet(work: &'static str, allowed: Allowed) -> Budget {
    of("mainnet", work, allowed)
}

const fn restart(work: &'static str, allowed: Allowed) -> Budget {
    of("restart", work, allowed)
}

const fn serving(work: &'static str, allowed: Allowed) -> Budget {
    of("serving", work, allowed)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}
