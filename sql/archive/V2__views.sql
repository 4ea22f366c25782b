-- For people: the entries by what they are, with readable ids.

-- A short channel id as it is written everywhere else: 800000x12x1.
CREATE FUNCTION rgsd.scid_text(scid bigint) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT ((scid >> 40) & 16777215) || 'x' || ((scid >> 16) & 16777215) || 'x' || (scid & 65535) $$;

-- The 64 bits of a short channel id; null for what is none.
CREATE FUNCTION rgsd.scid(text text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT CASE
        WHEN text !~ '^[0-9]{1,8}x[0-9]{1,8}x[0-9]{1,5}$' THEN NULL
        WHEN split_part(text, 'x', 1)::bigint > 16777215
            OR split_part(text, 'x', 2)::bigint > 16777215
            OR split_part(text, 'x', 3)::bigint > 65535 THEN NULL
        ELSE (split_part(text, 'x', 1)::bigint << 40)
            | (split_part(text, 'x', 2)::bigint << 16)
            | split_part(text, 'x', 3)::bigint
        END $$;

CREATE VIEW rgsd.channel_update AS
    SELECT seq, seen, rgsd.scid_text(scid) AS channel, scid, direction, message_timestamp, fee_base_msat,
        fee_proportional_millionths, cltv_expiry_delta, htlc_minimum_msat, htlc_maximum_msat, disabled, body AS message
    FROM rgsd.entry WHERE kind = 0;

CREATE VIEW rgsd.node_announcement AS
    SELECT seq, seen, encode(node_id_1, 'hex') AS node, node_id_1 AS node_id, message_timestamp, body AS message
    FROM rgsd.entry WHERE kind = 1;

CREATE VIEW rgsd.channel_announcement AS
    SELECT seq, seen, rgsd.scid_text(scid) AS channel, scid, capacity_sat, encode(node_id_1, 'hex') AS node_1,
        encode(node_id_2, 'hex') AS node_2, node_id_1, node_id_2,
        CASE kind WHEN 3 THEN substring(body FROM 9) ELSE body END AS message
    FROM rgsd.entry WHERE kind IN (2, 3);

CREATE VIEW rgsd.epoch AS
    SELECT seq, seen,
        (get_byte(body, 0)::bigint << 24) + (get_byte(body, 1) << 16) + (get_byte(body, 2) << 8) + get_byte(body, 3)
            AS timestamp,
        (get_byte(body, 4) << 8) + get_byte(body, 5) AS rules_version,
        CASE get_byte(body, 6) WHEN 0 THEN 'routable' WHEN 1 THEN 'complete' END AS graph
    FROM rgsd.entry WHERE kind = 7;
