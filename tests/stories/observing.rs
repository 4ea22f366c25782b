//! What whoever runs the service sees of it: numbers, its log, and what it tells systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rgsd::gossip::Direction;
use rgsd::http::metrics::ALL;
use rgsd::http::{StaleFeesByAge, Status};
use rgsd::snapshot::Version;
use rgsd::synth::Channel;
use serde_json::json;

use crate::exposition::Exposition;
use crate::postgres::{Cluster, PASSWORD};
use crate::support::receivers::{Receiver, S3Server};
use crate::support::{DEADLINE, Process, Running, World, eventually, eventually_told, story};

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

/// How much of all enabled directions, by capacity, those of one channel are.
fn share_of(world: &World, channel: usize) -> f64 {
    let sat = |channel: &Channel| {
        let enabled = channel.policies.iter().filter(|policy| policy.enabled).count() as u64;
        channel.capacity_sat * enabled
    };
    let channels = world.network.channels();
    sat(&channels[channel]) as f64 / channels.iter().map(sat).sum::<u64>() as f64
}

#[test]
fn what_wallets_get_wrong_is_told_and_ends_with_the_next_epoch() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        assert_eq!(service.status().stale_fees.share, None);
        service.ready_after(store.len() as u64).await;
        service.just_cut().await;
        let first = service.status().epoch.expect("an epoch").timestamp;
        let figures = |epoch, share| {
            move |status: &Status| (status.stale_fees.epoch, status.stale_fees.share) == (Some(epoch), Some(share))
        };
        service.eventually("nothing is stale", figures(first, 0.0)).await;

        // A fee rises on both ends of a channel, and another only says that it is still there.
        let channel = world.a_routable_channel();
        for direction in Direction::BOTH {
            service.hears(&store, world.change_fee(channel, direction)).await;
        }
        let keep_alive = async |service: &Running, world: &mut World| {
            let policy = world.network.channels()[1].policies[0];
            let now_s = world.now_s() + 1;
            service.hears(&store, world.network.set_policy(1, Direction::OneToTwo, policy, now_s)).await;
        };
        keep_alive(&service, &mut world).await;
        let stale = share_of(&world, channel);
        world.clock.advance(Duration::from_secs(10));
        service.eventually("they are stale", figures(first, stale)).await;
        let text = service.get("/status.json").await.text().await.expect("text");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected = json!({ "epoch": first, "share": stale, "ages": [], "reference_sat": 100_000 });
        assert_eq!(json["stale_fees"], expected);
        let told = metrics(&service).await;
        assert_eq!(told.get("rgsd_stale_fee_share", &[]), Some(stale));
        assert!(told.get("rgsd_stale_fee_share", &[("age", "1h")]).is_some_and(f64::is_nan));

        service.next_epoch().await;
        let second = service.status().epoch.expect("an epoch").timestamp;
        service.eventually("wallets are right again", figures(second, 0.0)).await;
        assert_eq!(metrics(&service).await.get("rgsd_stale_fee_share", &[]), Some(0.0));

        // One that does not come back stays wrong.
        for _ in 0..5 {
            keep_alive(&service, &mut world).await;
            service.next_epoch().await;
        }
        let last = service.status().epoch.expect("an epoch").timestamp;
        assert_eq!(last, first + 3_600);
        service.eventually("wallets are right", figures(last, 0.0)).await;
        let old = StaleFeesByAge { age: "1h", epoch: first, share: stale };
        assert_eq!(service.status().stale_fees.ages, [old]);
        assert_eq!(metrics(&service).await.get("rgsd_stale_fee_share", &[("age", "1h")]), Some(stale));
        service.stop().await;
    });
}

/// What the service manager is told, one after the other, each in lines.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: &Path) -> Self {
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
            command
                .arg("serve")
                .arg("--config")
                .arg(&config)
                .env("NOTIFY_SOCKET", &socket)
                .env("WATCHDOG_USEC", "200000")
        });

        let mut before = manager.hears("READY=1");
        assert!(!before.iter().any(|line| line.starts_with("STOPPING")), "{before:?}");
        let alive = reqwest::get(format!("{}/healthz", process.url().await)).await.expect("it listens by then");
        assert_eq!(alive.status(), 200);
        // How it fares is told once, maybe along with a sign of life.
        for _ in 0..3 {
            before.extend(manager.hears("WATCHDOG=1"));
        }
        if !before.iter().any(|line| line.starts_with("STATUS=serving epoch ")) {
            manager.hears("STATUS=serving epoch ");
        }

        process.signal("TERM");
        manager.hears("STOPPING=1");
        let (_, status) = process.ended().await;
        assert!(status.success(), "{}", process.said());
    });
}

async fn is_ready(process: &Process) -> String {
    let url = process.url().await;
    let ready = async || reqwest::get(format!("{url}/readyz")).await.is_ok_and(|answer| answer.status() == 200);
    eventually_told("a snapshot", || process.said(), ready).await;
    url
}

#[test]
fn a_quiet_log_has_a_line_for_each_epoch_and_none_for_wallets() {
    story(async {
        let world = World::new(60).await;
        let peer = world.peer(0, &world.store()).await;
        let process = Process::serve(&world.config_file("1h", [&peer]));
        let url = is_ready(&process).await;
        let epochs = || process.said().lines().filter(|line| line.contains("published epoch=")).count();
        eventually("the epoch is told", || process.said(), || epochs() == 1).await;
        let said = process.said();
        let line = said.lines().find(|line| line.contains("published epoch=")).expect("told");
        for what in ["seq=", "channels=", "v2_bytes=", "view_ms=", "encode_ms=", "verify_ms=", "write_ms="] {
            assert!(line.contains(what), "{what}: {line}");
        }
        for path in ["/snapshot/0", "/v2/snapshot/17", "/snapshot/x", "/nowhere", "/metrics"].repeat(5) {
            reqwest::get(format!("{url}{path}")).await.expect("an answer");
        }
        assert_eq!(process.said(), said);
        assert!(said.lines().count() < 20, "{said}");
    });
}

/// In its spelling of a URL, too, and in that of HTTP's basic authentication.
const REST_SECRETS: [&str; 3] = ["rest secret", "rest%20secret", "dXNlcjpyZXN0IHNlY3JldA"];

/// Of the receiver of uploads.
const API_KEY: &str = "api-key-hunter2";

fn assert_tells_no_secret(process: &Process, data_dir: &Path) {
    let said = process.said();
    let key = std::fs::read(data_dir.join("node_key")).unwrap_or_default();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{key:?}");
    let database = [PASSWORD.to_owned(), PASSWORD.replace(' ', "%20"), "password file's".to_owned()];
    let uploads = [API_KEY, S3Server::SECRET].map(str::to_owned);
    let secrets = database.into_iter().chain(REST_SECRETS.map(str::to_owned)).chain(uploads);
    for secret in secrets.chain([hex, list.trim_matches(['[', ']']).to_owned()]).filter(|secret| !secret.is_empty()) {
        let line = said.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
        assert_eq!(line, None, "tells {secret}");
    }
    for line in said.lines() {
        let told: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(told["level"].is_string() && told["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn the_log_tells_no_secret_however_much_it_tells() {
    story(async {
        let world = World::new(60).await;
        let peer = world.peer(0, &world.store()).await;
        let database = Cluster::shared().database();
        let data_dir = world.data_dir().join("service");
        let password_file = world.data_dir().join("password");
        std::fs::write(&password_file, "password file's\n").expect("written");
        let (bucket, receiver) = (S3Server::started(), Receiver::start([]).await);
        let api_key_file = world.data_dir().join("api_key");
        std::fs::write(&api_key_file, API_KEY).expect("written");
        let uploads = format!(
            "upload.url = {:?}\nupload.api_key_file = {api_key_file:?}\ns3.bucket = {:?}\ns3.endpoint = {:?}\n\
             s3.access_key_id = {:?}\ns3.secret_access_key_file = {:?}\n",
            receiver.url,
            S3Server::BUCKET,
            format!("http://127.0.0.1:{}", bucket.port),
            S3Server::KEY_ID,
            S3Server::secret_file(world.data_dir(), S3Server::SECRET)
        );
        let with_user = |url: &str| url.replace("http://", "http://user:rest%20secret@");
        let config = |bitcoind: &str, database: &str, more: &str| {
            let more = format!(
                "log = \"trace\"\nlog_format = \"json\"\ndatabase.url = {database:?}\ndatabase.timeout = \"2s\"\n{more}"
            );
            let file = world.config_file_in(&data_dir, "1h", [&peer], &more);
            let text = std::fs::read_to_string(&file).expect("written");
            std::fs::write(&file, text.replace(&world.bitcoind_url(), &with_user(bitcoind))).expect("written");
            file
        };

        // All goes well.
        let process = Process::serve(&config(&world.bitcoind_url(), &database.url, &uploads));
        let url = is_ready(&process).await;
        let uploaded = || process.said().matches("\"uploaded to ").count() == 2;
        eventually("both places have the epoch", || process.said(), uploaded).await;
        for path in ["/v2/snapshot/17", "/status.json", "/metrics"] {
            reqwest::get(format!("{url}{path}")).await.expect("an answer");
        }
        assert!(process.said().contains("\"TRACE\""), "it tells everything");
        assert!(process.said().contains("\"target\":\"ldk\""), "of LDK, too");
        process.signal("TERM");
        eventually("it stops", || process.said(), || process.said().contains("SIGTERM: stopping")).await;
        assert_tells_no_secret(&process, &data_dir);
        drop(process);

        // Nobody answers, or the archive has another password.
        let password = format!(":{}@", PASSWORD.replace(' ', "%20"));
        let refused = format!("postgres://rgsd{password}127.0.0.1:9/archive?sslmode=disable");
        let other = database.url.replace(&password, "@");
        let of_a_file = format!("database.password_file = {password_file:?}\n");
        for (url, more) in [(refused, ""), (other, &of_a_file)] {
            let process = Process::serve(&config("http://127.0.0.1:9", &url, more));
            process.url().await;
            let failed = || {
                ["the archive cannot be used", "funding proofs wait"].iter().all(|said| process.said().contains(said))
            };
            eventually("both failures are told", || process.said(), failed).await;
            assert_tells_no_secret(&process, &data_dir);
        }
    });
}
