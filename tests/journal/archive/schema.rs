//! How the tables come about: made once whoever comes first, brought up to date with what is in them, refused with
//! a sentence.

use refinery::Migration;
use rgsd::gossip::UnixMs;
use rgsd::journal::Seq;
use rgsd::journal::postgres::{Archive, Shipped};

use super::{NOON_MS, ONE, TIMEOUT, all, assert_says, connect, founded, founding, numbered, open, ship, updates};
use crate::postgres::{Cluster, Database};
use crate::unsigned::one_of_each;

const V1: &str = include_str!("../../../sql/archive/V1__tables.sql");

async fn refusal(database: &Database) -> anyhow::Error {
    match Archive::open(connect(database).await, TIMEOUT).await {
        Ok(_) => panic!("not refused"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_that_start_at_once_make_the_tables_once() {
    let database = Cluster::shared().database();
    let start = |_| {
        let database = database.clone();
        tokio::spawn(async move { all(&mut open(&database).await).await })
    };
    let starting: Vec<_> = (0..8).map(start).collect();
    for started in starting {
        assert_eq!(started.await.expect("opens"), []);
    }
    assert_eq!(database.rows("SELECT version FROM rgsd.migration ORDER BY version"), [["1"], ["2"], ["3"]]);
}

/// The tables as the first version made them, with what it would have put there.
async fn first_version(database: &Database) {
    database.sql(&format!("SET ROLE rgsd; CREATE SCHEMA rgsd; {V1}"));
    let migration = Migration::unapplied("V1__tables", V1).expect("a name that refinery reads");
    database.sql(&format!(
        "SET ROLE rgsd;
         CREATE TABLE rgsd.migration (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255));
         INSERT INTO rgsd.migration VALUES (1, '{}', '2026-01-01T00:00:00Z', '{}')",
        migration.name(),
        migration.checksum()
    ));
}

#[tokio::test]
async fn brings_the_first_version_up_to_date_with_what_is_in_it() {
    let entries = numbered(1, one_of_each());
    let source = Cluster::shared().database();
    let (mut archive, standing) = founded(&source).await;
    ship(&mut archive, &standing, &entries).await;

    // The same rows, column by column, under the first version's tables.
    let database = Cluster::shared().database();
    first_version(&database).await;
    let rows = |table: &str| {
        let statement = format!("INSERT INTO rgsd.{table} SELECT (%L::rgsd.{table}).*;");
        source.value(&format!("SELECT string_agg(format('{statement}', line), ' ') FROM rgsd.{table} AS line"))
    };
    let rows = ["day", "entry", "archive", "term"].map(rows).concat();
    database.sql(&format!(
        "SET ROLE rgsd; CREATE TABLE rgsd.entry_20231114_1 PARTITION OF rgsd.entry FOR VALUES FROM (1) TO (MAXVALUE);
         {rows} INSERT INTO rgsd.offered (message) VALUES ('offered')"
    ));

    let mut migrated = open(&database).await;
    assert_eq!(database.rows("SELECT version FROM rgsd.migration ORDER BY version"), [["1"], ["2"], ["3"]]);
    assert_eq!(all(&mut migrated).await, entries);
    let (was, is) = (archive.look().await.expect("readable"), migrated.look().await.expect("readable"));
    let (was, is) = (was.expect("founded"), is.expect("founded"));
    assert_eq!(
        (is.journal, is.last_seq, is.last_epoch, is.term),
        (was.journal, was.last_seq, was.last_epoch, was.term)
    );
    assert_eq!(migrated.offered(10).await.expect("readable")[0].1, b"offered");
    let next = updates(entries.len() as u64 + 1, 10, UnixMs(NOON_MS + super::DAY_MS));
    assert_eq!(ship(&mut migrated, &is, &next).await, Shipped::Done);
    assert_eq!(database.value("SELECT count(*) FROM rgsd.channel_update"), "12");
}

#[tokio::test]
async fn refuses_tables_of_a_newer_version() {
    let database = Cluster::shared().database();
    open(&database).await;
    database.sql("INSERT INTO rgsd.migration SELECT 99, 'later', applied_on, checksum FROM rgsd.migration LIMIT 1");
    assert_says(&refusal(&database).await, &["newer rgsd", "99", "run that rgsd"]);
}

#[tokio::test]
async fn refuses_a_list_of_migrations_that_makes_no_sense() {
    let database = Cluster::shared().database();
    first_version(&database).await;
    database.sql("UPDATE rgsd.migration SET checksum = 'none', applied_on = 'yesterday'");
    assert_says(&refusal(&database).await, &["rgsd.migration", "version 1", "back-up"]);
}

#[tokio::test]
async fn names_the_rights_that_are_missing() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    database.sql(&format!("ALTER DATABASE {} OWNER TO postgres", database.name));
    let for_a_replica = "start the collector that writes the archive first";
    assert_says(&refusal(&database).await, &["role lacks a right", "GRANT CREATE ON DATABASE", for_a_replica]);
    // An administrator makes the schema, and no more than that.
    database.sql("CREATE SCHEMA rgsd");
    assert_says(&refusal(&database).await, &["role lacks a right", "owner of the schema rgsd", for_a_replica]);
    database.sql("ALTER SCHEMA rgsd OWNER TO rgsd");
    founded(&database).await;
    // Tables of an older version, and a role that may only read them.
    let database = cluster.database();
    first_version(&database).await;
    database.sql(
        "ALTER SCHEMA rgsd OWNER TO postgres; GRANT USAGE ON SCHEMA rgsd TO rgsd;
         ALTER TABLE rgsd.migration OWNER TO postgres; GRANT SELECT ON rgsd.migration TO rgsd",
    );
    assert_says(&refusal(&database).await, &["role lacks a right", "permission denied", for_a_replica]);
}

/// What a replica needs: nothing is written where the tables are up to date.
#[tokio::test]
async fn a_role_that_may_only_read_will_do() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = updates(1, 10, UnixMs(NOON_MS));
    ship(&mut archive, &standing, &entries).await;
    let tables = "'archive', 'term', 'entry', 'offered', 'migration'";
    database.sql(&format!(
        "REVOKE ALL ON ALL TABLES IN SCHEMA rgsd FROM rgsd; ALTER SCHEMA rgsd OWNER TO postgres;
         DO $$ DECLARE name text; BEGIN
             FOREACH name IN ARRAY ARRAY[{tables}] LOOP
                 EXECUTE format('ALTER TABLE rgsd.%I OWNER TO postgres', name);
                 EXECUTE format('GRANT SELECT ON rgsd.%I TO rgsd', name);
             END LOOP; END $$;
         GRANT USAGE ON SCHEMA rgsd TO rgsd"
    ));
    let mut replica = open(&database).await;
    assert_eq!(all(&mut replica).await, entries);
    assert!(replica.look().await.expect("readable").is_some());
    let refused = replica.ship(standing.term, ONE, Seq(10), &updates(11, 1, UnixMs(NOON_MS))).await;
    assert_says(&refused.expect_err("may not write"), &["role lacks a right", "permission denied"]);
    let mut replica = open(&database).await;
    assert_says(&replica.found(&founding(ONE)).await.expect_err("may not write"), &["role lacks a right"]);
}

/// A database that was written over by something else is an error, never a panic.
#[tokio::test]
async fn says_what_makes_no_sense_in_its_row() {
    let database = Cluster::shared().database();
    founded(&database).await;
    let cases = [
        (
            "ALTER TABLE rgsd.archive DROP CONSTRAINT archive_term_check; UPDATE rgsd.archive SET term = -5",
            "term is -5",
        ),
        ("UPDATE rgsd.archive SET term = 1, last_epoch = -7", "last_epoch"),
        ("UPDATE rgsd.archive SET last_epoch = 4294967296", "4294967296"),
        ("UPDATE rgsd.archive SET last_epoch = NULL, epoch_offset_s = 30", "epoch_offset_s is 30"),
        (
            "ALTER TABLE rgsd.archive DROP CONSTRAINT archive_epoch_offset_s_check;
             UPDATE rgsd.archive SET epoch_offset_s = -7",
            "epoch_offset_s is -7",
        ),
    ];
    for (spoil, word) in cases {
        database.sql(spoil);
        let error = open(&database).await.look().await.expect_err("makes no sense");
        assert_says(&error, &["the archive is damaged", word]);
    }
    database.sql("DROP TABLE rgsd.archive");
    assert_says(&open(&database).await.look().await.expect_err("gone"), &["tables are not as they were made"]);
}
