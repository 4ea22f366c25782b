-- For people: what became of the channels on the chain.

COMMENT ON COLUMN rgsd.entry.kind IS '0 channel_update, 1 node_announcement, 2 and 3 channel_announcement (unproven, '
    'proven), 4 proof, 5 closing, 6 sync completed, 7 epoch, 8 reopening, 9 possible splice, 10 block';

-- Why channels were closed, and which of them came back. "height" is that of the block that spent the funding output.
CREATE VIEW rgsd.closing AS
    SELECT seq, seen, rgsd.scid_text(scid) AS channel, scid,
        CASE kind
            WHEN 8 THEN 'reopened'
            WHEN 9 THEN 'possible splice'
            ELSE CASE get_byte(body, 8)
                WHEN 0 THEN 'silent' WHEN 1 THEN 'unfunded' WHEN 2 THEN 'recorded' WHEN 3 THEN 'spent' END
        END AS reason,
        -- The last four bytes; 12 of kind 9, 13 of a closing with a height.
        CASE WHEN kind <> 8 AND octet_length(body) >= 12 THEN
            (get_byte(body, octet_length(body) - 4)::bigint << 24) + (get_byte(body, octet_length(body) - 3) << 16)
            + (get_byte(body, octet_length(body) - 2) << 8) + get_byte(body, octet_length(body) - 1)
        END AS height
    FROM rgsd.entry WHERE kind IN (5, 8, 9);

-- How far the chain was looked through. The hash is written as block explorers write it.
CREATE VIEW rgsd.block AS
    SELECT seq, seen,
        (get_byte(body, 0)::bigint << 24) + (get_byte(body, 1) << 16) + (get_byte(body, 2) << 8) + get_byte(body, 3)
            AS height,
        (SELECT string_agg(lpad(to_hex(get_byte(body, n)), 2, '0'), '' ORDER BY n DESC)
            FROM generate_series(4, 35) AS n) AS hash
    FROM rgsd.entry WHERE kind = 10;
