-- A channel's fee history, oldest first.
SELECT seen, direction, fee_base_msat, fee_proportional_millionths, disabled
FROM rgsd.channel_update
WHERE scid = rgsd.scid('800000x12x1')
ORDER BY seq;

-- The busiest fee changers of the last day.
SELECT rgsd.scid_text(scid) AS channel, direction, count(*) AS changes,
    min(fee_proportional_millionths) AS lowest, max(fee_proportional_millionths) AS highest
FROM (
    SELECT scid, direction, fee_proportional_millionths, fee_base_msat,
        (fee_base_msat, fee_proportional_millionths) <> lag((fee_base_msat, fee_proportional_millionths)) OVER spoken AS changed
    FROM rgsd.channel_update
    WHERE seen > now() - interval '1 day'
    WINDOW spoken AS (PARTITION BY scid, direction ORDER BY seq)
) AS said
WHERE changed
GROUP BY scid, direction
ORDER BY changes DESC
LIMIT 20;

-- Channels announced and closed a day, over the last month. (A spent funding output is noticed as silence.)
SELECT date_trunc('day', seen AT TIME ZONE 'UTC')::date AS day,
    count(*) FILTER (WHERE kind IN (2, 3)) AS announced,
    count(*) FILTER (WHERE kind = 5) AS closed
FROM rgsd.entry
WHERE kind > 1 AND seen > now() - interval '30 days'
GROUP BY day
ORDER BY day;

-- A node's channels, and what each end charges now.
SELECT DISTINCT ON (channel.scid, latest.direction) channel.channel, channel.capacity_sat, latest.direction,
    (latest.direction = 0) = (channel.node_id_1 = node.id) AS charged_by_the_node,
    latest.fee_base_msat, latest.fee_proportional_millionths, latest.disabled
FROM (SELECT decode('020000000000000000000000000000000000000000000000000000000000000001', 'hex') AS id) AS node
JOIN rgsd.channel_announcement AS channel ON channel.node_id_1 = node.id OR channel.node_id_2 = node.id
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (direction) direction, fee_base_msat, fee_proportional_millionths, disabled
    FROM rgsd.channel_update
    WHERE scid = channel.scid
    ORDER BY direction, seq DESC
) AS latest
WHERE NOT EXISTS (SELECT FROM rgsd.entry AS closing
    WHERE closing.scid = channel.scid AND closing.kind = 5 AND closing.seq > channel.seq)
ORDER BY channel.scid, latest.direction, channel.seq DESC;

-- How many updates of the last day changed nothing but their time. (They repeat what was said two weeks ago at most.)
SELECT count(*) FILTER (WHERE NOT changed) AS kept_alive, count(*) FILTER (WHERE changed) AS changed,
    count(*) FILTER (WHERE changed IS NULL) AS first_heard
FROM (
    SELECT seen,
        (fee_base_msat, fee_proportional_millionths, cltv_expiry_delta, htlc_minimum_msat, htlc_maximum_msat, disabled)
            <> lag((fee_base_msat, fee_proportional_millionths, cltv_expiry_delta, htlc_minimum_msat, htlc_maximum_msat, disabled))
                OVER (PARTITION BY scid, direction ORDER BY seq) AS changed
    FROM rgsd.channel_update
    WHERE seen > now() - interval '15 days'
) AS said
WHERE seen > now() - interval '1 day';
