//! An entry as a row of `rgsd.entry`, and back. `body` alone is read back; the other columns are for people.

use std::borrow::Cow;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::errors::{damaged, explain};
use super::{bigint, unsigned};
use crate::gossip::{Fact, NodeId, ShortChannelId, UnixMs};
use crate::journal::{Entry, Event, Seq, codec};

/// The columns in the order in which [`Columns::values`] gives them.
pub(super) const NAMES: &str = "seq, seen, scid, message_timestamp, capacity_sat, htlc_minimum_msat, \
    htlc_maximum_msat, fee_base_msat, fee_proportional_millionths, cltv_expiry_delta, kind, direction, disabled, \
    node_id_1, node_id_2, body";

/// Their types.
pub(super) const TYPES: [Type; 16] = [
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::INT2,
    Type::INT2,
    Type::BOOL,
    Type::BYTEA,
    Type::BYTEA,
    Type::BYTEA,
];

/// The columns that [`entry`] reads. A body is never fetched that is longer than any that was written: a capacity in
/// 8 bytes, and a message of 65,535.
pub(super) const READ: &str = "seq, seen, kind, CASE WHEN octet_length(body) <= 65543 THEN body END AS body";
/// The kinds of a closing and a reopening; `codec` has the table.
pub(super) const CLOSING: i16 = 5;
pub(super) const REOPENING: i16 = 8;

/// The last millisecond that a timestamptz holds, in the year 294276.
const LAST_MS: u64 = 9_224_318_015_999_999;

/// One row.
#[derive(Default)]
pub(super) struct Columns<'a> {
    seq: i64,
    seen: Option<SystemTime>,
    scid: Option<i64>,
    message_timestamp: Option<SystemTime>,
    capacity_sat: Option<i64>,
    htlc_minimum_msat: Option<i64>,
    htlc_maximum_msat: Option<i64>,
    fee_base_msat: Option<i64>,
    fee_proportional_millionths: Option<i64>,
    cltv_expiry_delta: Option<i32>,
    kind: i16,
    direction: Option<i16>,
    disabled: Option<bool>,
    node_id_1: Option<NodeBytes>,
    node_id_2: Option<NodeBytes>,
    body: Cow<'a, [u8]>,
}

impl<'a> Columns<'a> {
    /// The entry as a row.
    pub(super) fn of(entry: &'a Entry) -> Self {
        let (kind, body) = codec::encode(&entry.event);
        let seen = moment(entry.seen);
        let mut columns = Self { seq: bigint(entry.seq.0), seen, kind: kind.into(), body, ..Self::default() };
        if let Event::Fact(fact) = &entry.event {
            columns.fill(fact);
        }
        columns
    }

    fn fill(&mut self, fact: &Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => {
                self.scid = Some(bits(announcement.scid()));
                self.capacity_sat = capacity_sat.map(bigint);
                [self.node_id_1, self.node_id_2] = announcement.nodes().map(|node| Some(NodeBytes(node)));
            }
            Fact::Update(update) => {
                let policy = update.policy();
                self.scid = Some(bits(update.scid()));
                self.message_timestamp = moment(UnixMs(u64::from(update.timestamp()) * 1000));
                self.htlc_minimum_msat = Some(bigint(policy.htlc_minimum_msat));
                self.htlc_maximum_msat = Some(bigint(policy.htlc_maximum_msat));
                self.fee_base_msat = Some(policy.fee_base_msat.into());
                self.fee_proportional_millionths = Some(policy.fee_proportional_millionths.into());
                self.cltv_expiry_delta = Some(policy.cltv_expiry_delta.into());
                self.direction = Some(update.direction() as i16);
                self.disabled = Some(!policy.enabled);
            }
            Fact::Node(node) => {
                self.message_timestamp = moment(UnixMs(u64::from(node.timestamp()) * 1000));
                self.node_id_1 = Some(NodeBytes(node.node_id()));
            }
            Fact::Proof { scid, capacity_sat } => {
                self.scid = Some(bits(*scid));
                self.capacity_sat = Some(bigint(*capacity_sat));
            }
            Fact::Closed { scid, .. } | Fact::PossibleSplice { scid, .. } | Fact::Reopened { scid } => {
                self.scid = Some(bits(*scid));
            }
            Fact::Block(_) | Fact::SyncCompleted { .. } => {}
        }
    }

    /// The values, in the order of [`NAMES`].
    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 16] {
        [
            &self.seq,
            &self.seen,
            &self.scid,
            &self.message_timestamp,
            &self.capacity_sat,
            &self.htlc_minimum_msat,
            &self.htlc_maximum_msat,
            &self.fee_base_msat,
            &self.fee_proportional_millionths,
            &self.cltv_expiry_delta,
            &self.kind,
            &self.direction,
            &self.disabled,
            &self.node_id_1,
            &self.node_id_2,
            &self.body,
        ]
    }
}

/// A row with the columns [`READ`], as the entry that it was.
pub(super) fn entry(row: &Row) -> anyhow::Result<Entry> {
    let seq = Seq(unsigned(row, 0)?);
    let seen: SystemTime = row.try_get(1).map_err(explain)?;
    let (kind, body): (i16, Option<&[u8]>) = (row.try_get(2).map_err(explain)?, row.try_get(3).map_err(explain)?);
    let event = sound(seq, seen, kind, body).map_err(|why| damaged(&format!("entry {}: {why}", seq.0)));
    event.map(|(seen, event)| Entry { seq, seen, event })
}

/// When it was seen and what it says, or why no version of this code wrote it.
fn sound(seq: Seq, seen: SystemTime, kind: i16, body: Option<&[u8]>) -> anyhow::Result<(UnixMs, Event)> {
    ensure!(seq > Seq(0), "the first one has number 1");
    let seen = seen.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok());
    let seen = seen.filter(|ms| *ms <= LAST_MS).context("seen before 1970, or at no moment that there is")?;
    let body = body.context("longer than any message")?;
    Ok((UnixMs(seen), codec::decode(kind.into(), body)?))
}

/// A moment as PostgreSQL's driver takes it: the last one that PostgreSQL can tell for those after it, none beyond what
/// this machine can express.
pub(super) fn moment(ms: UnixMs) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms.0.min(LAST_MS)))
}

/// The id's 64 bits, its first as the sign.
fn bits(scid: ShortChannelId) -> i64 {
    scid.0.cast_signed()
}

/// A node id as a bytea, without a copy on the heap.
#[derive(Clone, Copy, Debug)]
struct NodeBytes(NodeId);

impl ToSql for NodeBytes {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.as_slice().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&[u8]>::accepts(ty)
    }

    to_sql_checked!();
}
