-- One row: whose journal this is. Drawn when the file is created, and never changed.
CREATE TABLE meta (
    id         BLOB    NOT NULL CHECK (length(id) = 16), -- random; tells this journal from every other
    network    TEXT    NOT NULL,                         -- as in the configuration: bitcoin, testnet, signet, regtest
    offset_s   INTEGER NOT NULL,                         -- epochs are stamped this many seconds past the aligned time
    created_ms INTEGER NOT NULL                          -- unix time
);

-- The entries. `seq` is SQLite's own row id, so the table is its own index and an append goes to its end.
CREATE TABLE entry (
    seq  INTEGER PRIMARY KEY, -- 1, 2, 3, …: gapless when assigned; retention leaves gaps
    seen INTEGER NOT NULL,    -- unix time in ms
    kind INTEGER NOT NULL,    -- src/journal/codec.rs lists them with their bodies; 0 and 1, the frequent ones, take no byte
    body BLOB    NOT NULL     -- signed gossip as on the wire, or a few fixed fields
);

-- Holds the epochs alone: finds the last one at start without reading back over everything heard since.
CREATE INDEX entry_epoch ON entry (seq) WHERE kind = 7;
