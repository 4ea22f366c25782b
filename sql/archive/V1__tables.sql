-- The archive: a copy of one collector's journal. The schema rgsd is there already: made by rgsd or by an administrator.

-- One row: which journal this is, how far the copy goes, and who may write it.
CREATE TABLE rgsd.archive (
    only_row       boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    journal_id     bytea       NOT NULL CHECK (octet_length(journal_id) = 16), -- random; tells this journal from every other
    network        text        NOT NULL,                                      -- bitcoin, testnet, signet, regtest
    last_seq       bigint      NOT NULL CHECK (last_seq >= 0),                 -- of the last entry; 0 before the first
    last_epoch     bigint,                                                    -- unix time of the last epoch's stamp
    term           bigint      NOT NULL CHECK (term > 0),                      -- grows by one with each change of writer
    holder         bytea       NOT NULL CHECK (octet_length(holder) = 16),     -- which collector writes in this term
    renewals       bigint      NOT NULL CHECK (renewals >= 0),                 -- grows with each sign of the writer's life
    epoch_offset_s integer     NOT NULL CHECK (epoch_offset_s BETWEEN 1 AND 59), -- this term's epochs: seconds past the aligned time
    renewed        timestamptz NOT NULL DEFAULT clock_timestamp(),             -- for people: rgsd goes by "renewals"
    created        timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);

-- When each term began, and after which entry: an overtaken writer learns here where its own ended.
CREATE TABLE rgsd.term (
    term           bigint      PRIMARY KEY,
    holder         bytea       NOT NULL CHECK (octet_length(holder) = 16),
    after_seq      bigint      NOT NULL CHECK (after_seq >= 0),
    epoch_offset_s integer     NOT NULL,
    began          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The entries. "body" alone is what rgsd reads back; the columns before it are for people and queries.
-- Wide columns come first, so that no row holds padding. A number beyond its column's type is stored as the largest there is.
CREATE TABLE rgsd.entry (
    seq                         bigint      NOT NULL, -- gapless when assigned; retention leaves gaps
    seen                        timestamptz NOT NULL, -- when the collector accepted it, to the millisecond
    scid                        bigint,   -- the short channel id's 64 bits; see rgsd.scid() and rgsd.scid_text()
    message_timestamp           timestamptz, -- by the sender's clock
    capacity_sat                bigint,   -- the funding output's value
    htlc_minimum_msat           bigint,
    htlc_maximum_msat           bigint,
    fee_base_msat               bigint,
    fee_proportional_millionths bigint,
    cltv_expiry_delta           integer,
    kind                        smallint    NOT NULL, -- 0 channel_update, 1 node_announcement, 2 and 3 channel_announcement
                                                      -- (unproven, proven), 4 proof, 5 closing, 6 sync completed, 7 epoch
    direction                   smallint, -- 0: node_id_1 charges, 1: node_id_2 does
    disabled                    boolean,
    node_id_1                   bytea,    -- of a node_announcement: the node
    node_id_2                   bytea,
    body                        bytea       NOT NULL, -- the signed message as on the wire; before that of kind 3, capacity_sat in 8 bytes
    PRIMARY KEY (seq) WITH (fillfactor = 100)
) PARTITION BY RANGE (seq);

-- Signatures do not compress.
ALTER TABLE rgsd.entry ALTER COLUMN body SET STORAGE EXTERNAL;

-- A channel's history. The number alone: equal ones share their place in the index, which halves it.
CREATE INDEX entry_scid ON rgsd.entry (scid) WHERE scid IS NOT NULL;
-- What was heard in a stretch of time.
CREATE INDEX entry_seen ON rgsd.entry USING brin (seen) WITH (pages_per_range = 16);
-- What is rare: announcements of channels, closings, epochs.
CREATE INDEX entry_kind ON rgsd.entry (kind, seen) WHERE kind > 1;
-- A node's channels.
CREATE INDEX entry_node_1 ON rgsd.entry (node_id_1) WHERE kind IN (2, 3);
CREATE INDEX entry_node_2 ON rgsd.entry (node_id_2) WHERE kind IN (2, 3);

-- What outlived its day. Each day's own partition is made when its first entry comes.
CREATE TABLE rgsd.kept PARTITION OF rgsd.entry FOR VALUES FROM (MINVALUE) TO (1);

-- The days' partitions: rgsd.entry_<day>_<first_seq>, the last of them open at its end.
CREATE TABLE rgsd.day (
    first_seq bigint PRIMARY KEY,
    day       date   NOT NULL -- UTC, of its first entry
);

-- Messages that an overtaken writer had not yet copied here, for the present one to check.
CREATE TABLE rgsd.offered (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    offered timestamptz NOT NULL DEFAULT clock_timestamp(),
    message bytea       NOT NULL
);
ALTER TABLE rgsd.offered ALTER COLUMN message SET STORAGE EXTERNAL;
