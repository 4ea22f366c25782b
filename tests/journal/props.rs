//! The tests' own PostgreSQL can be trusted: it does what the stories ask of it, and nothing of it stays behind.

use crate::postgres::{Cluster, Options, Pgbouncer};

#[test]
fn every_database_is_its_own() {
    let cluster = Cluster::shared();
    let (one, other) = (cluster.database(), cluster.database());
    one.sql("CREATE TABLE t (a text, b int); INSERT INTO t VALUES ('x\ny', NULL), ('', 2)");
    assert_eq!(one.rows("SELECT * FROM t"), [["x\ny", ""], ["", "2"]]);
    assert_eq!(other.value("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
    assert_eq!(one.rows("SELECT 1 WHERE false"), Vec::<Vec<String>>::new());
}

#[test]
fn a_cluster_can_be_broken_and_comes_back() {
    let cluster = Cluster::start(Options::default());
    let database = cluster.database();
    database.sql("CREATE TABLE t AS SELECT 1 AS a");
    cluster.freeze();
    cluster.thaw();
    assert_eq!(database.value("SELECT a FROM t"), "1");
    assert_eq!(cluster.kill_backends("nobody"), 0);
    cluster.stop_immediate();
    cluster.start_again();
    assert_eq!(database.value("SELECT a FROM t"), "1");
    cluster.freeze();
}

#[test]
fn pgbouncer_hands_on() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    for tls in [false, true] {
        let bouncer = Pgbouncer::start(cluster, tls);
        let mut psql = std::process::Command::new("psql");
        let output = psql.args(["-XAtc", "SELECT current_user", &bouncer.url(&database)]).output().expect("psql");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "rgsd\n", "{output:?}");
    }
}
