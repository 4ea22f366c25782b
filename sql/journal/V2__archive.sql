-- Which collector writes this journal, and how it stands to an archive.
ALTER TABLE meta ADD COLUMN collector BLOB CHECK (length(collector) = 16); -- random; tells this data directory from every other
ALTER TABLE meta ADD COLUMN attachment TEXT NOT NULL DEFAULT 'alone' CHECK (attachment IN ('alone', 'writing', 'following'));
ALTER TABLE meta ADD COLUMN term INTEGER NOT NULL DEFAULT 0;               -- the archive's term in which this collector writes

UPDATE meta SET collector = randomblob(16);

-- Messages that were cut off the journal, because another collector had taken over: to be offered to that one.
CREATE TABLE unoffered (
    id      INTEGER PRIMARY KEY,
    message BLOB    NOT NULL
);
