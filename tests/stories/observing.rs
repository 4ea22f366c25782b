//! What whoever runs the service sees of it: numbers, its log, and what it tells systemd.

use std::os::unix::net::UnixDatagram;

use rgsd::gossip::Direction;
use rgsd::http::metrics::ALL;
use rgsd::snapshot::Version;

use crate::exposition::Exposition;
use crate::support::{DEADLINE, Process, Running, World, story};

async fn metrics(service: &Running) -> Exposition {
    let answer = service.get("/metrics").await;
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    Exposition::read(&answer.text().await.expect("text"))
}

#[test]
fn the_numbers_move_with_the_service() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let told = metrics(&service).await;
        assert_eq!(told.get("rgsd_ready", &[]), Some(0.0));
        assert_eq!(told.get("rgsd_interval_seconds", &[]), Some(600.0));
        service.ready_after(store.len() as u64).await;

        // Messages were heard, and an epoch was cut.
        let told = metrics(&service).await;
        let channels = world.network.channels().len() as f64;
        let accepted = |told: &Exposition, kind| {
            told.get("rgsd_messages_total", &[("kind", kind), ("result", "accepted")]).expect("told")
        };
        assert_eq!(accepted(&told, "channel_announcement"), channels);
        assert_eq!(accepted(&told, "channel_update"), 2.0 * channels);
        assert_eq!(accepted(&told, "node_announcement"), world.network.nodes().len() as f64);
        assert_eq!(told.get("rgsd_peers", &[("state", "connected")]), Some(1.0));
        let epoch = service.status().epoch.expect("an epoch");
        assert_eq!(told.get("rgsd_epoch_timestamp_seconds", &[]), Some(epoch.timestamp.into()));
        assert_eq!(told.get("rgsd_epoch_channels", &[]), Some(epoch.channels.into()));
        assert_eq!(told.get("rgsd_epochs_total", &[("result", "published")]), Some(1.0));
        for stage in ["view", "encode", "verify", "write"] {
            assert_eq!(told.get("rgsd_epoch_stage_seconds_count", &[("stage", stage)]), Some(1.0));
        }
        let last_seq = service.status().journal.last_seq.0 as f64;
        assert_eq!(told.get("rgsd_journal_entries", &[]), Some(last_seq), "nothing was forgotten yet");

        // A wallet comes, a fee changes, and the wallet comes back.
        let bytes = service.fetch(Version::V2).await.len() as f64;
        service.hears(&store, world.change_fee(world.a_routable_channel(), Direction::OneToTwo)).await;
        let policy = world.network.channels()[1].policies[0];
        let keep_alive = world.network.set_policy(1, Direction::OneToTwo, policy, world.now_s() + 1);
        service.hears(&store, keep_alive).await;
        service.next_epoch().await;
        let delta = service.body(epoch.timestamp).await.len() as f64;
        let later = metrics(&service).await;
        assert_eq!(accepted(&later, "channel_update"), accepted(&told, "channel_update") + 2.0);
        assert_eq!(later.get("rgsd_fee_changes_total", &[]), Some(1.0), "a keep-alive changes none");
        assert_eq!(later.get("rgsd_deltas_computed_total", &[]), Some(1.0));
        let requests = [("shape", "snapshot_v2"), ("status", "200"), ("encoding", "identity")];
        assert_eq!(later.get("rgsd_http_requests_total", &requests), Some(2.0));
        let sent = later.get("rgsd_http_response_bytes_total", &[("shape", "snapshot_v2")]);
        assert_eq!(sent, Some(bytes + delta));
        assert_eq!(later.get("rgsd_http_request_seconds_count", &[("shape", "snapshot_v2")]), Some(2.0));
        assert!(later.sum("rgsd_http_requests_total", &[("shape", "metrics")]) >= 2.0);

        // All that is declared is there, but for what is told of an archive, which there is none of.
        let missing = ALL.iter().map(|metric| metric.name).filter(|name| !later.0.contains_key(*name));
        assert!(missing.clone().all(|name| name.starts_with("rgsd_archive_")), "{:?}", missing.collect::<Vec<_>>());
        service.stop().await;
    });
}

/// What the service manager is told, one after the other, each in lines.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: &std::path::Path) -> Self {
        let socket = UnixDatagram::bind(socket).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("set");
        Self(socket)
    }

    /// Waits until it is told a line that begins so; what else it was told until then.
    fn hears(&self, beginning: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut bytes = [0; 4096];
        while !heard.iter().any(|line: &String| line.starts_with(beginning)) {
            let len = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("no {beginning}: {error}\n{heard:?}"));
            let said = std::str::from_utf8(&bytes[..len]).expect("text");
            heard.extend(said.lines().map(str::to_owned));
        }
        heard
    }
}

#[test]
fn systemd_is_told_of_the_start_the_life_and_the_end() {
    story(async {
        let world = World::new(60).await;
        let peer = world.peer(0, &world.store()).await;
        let config = world.config_file("1h", [&peer]);
        let socket = world.data_dir().join("notify");
        let manager = Manager::new(&socket);
        let mut process = Process::start_with(|command| {
            command.arg("serve").arg("--config").arg(&config).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000")
        });

        let before = manager.hears("READY=1");
        assert!(!before.iter().any(|line| line.starts_with("STOPPING")), "{before:?}");
        let alive = reqwest::get(format!("{}/healthz", process.url().await)).await.expect("it listens by then");
        assert_eq!(alive.status(), 200);
        for _ in 0..3 {
            manager.hears("WATCHDOG=1");
        }
        manager.hears("STATUS=serving epoch ");

        process.signal("TERM");
        manager.hears("STOPPING=1");
        let (_, status) = process.ended().await;
        assert!(status.success(), "{}", process.said());
    });
}
