//! Files out: published snapshots in a bucket and at a receiver of uploads, which may be away, refuse, or hang, while
//! wallets are served as ever.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use rgsd::config::{Config, S3, Upload, UploadFormat, parse_endpoint};
use rgsd::gossip::Direction;
use rgsd::http::UploadStatus;
use rgsd::snapshot::Version;
use rgsd::uploads::check_hook;
use serde_json::Value;

use crate::postgres::{self, ServerCertificate};
use crate::support::receivers::{Receiver, S3Server, Seen};
use crate::support::{Process, Running, Wallet, World, eventually_told, rgsd, rgsd_with, status, story};

/// Every file that is published, as it is named below `current` and in the bucket.
const FILES: [&str; 7] = [
    "snapshot/0",
    "snapshot/v2/0",
    "v2/snapshot/0",
    "snapshot/returning",
    "snapshot/v2/returning",
    "v2/snapshot/returning",
    "epoch.json",
];

fn bucket(world: &World, port: u16, secret: &str) -> S3 {
    S3 {
        prefix: Some("rgs/test".to_owned()),
        endpoint: Some(parse_endpoint(&format!("http://127.0.0.1:{port}")).expect("a URL")),
        access_key_id: Some(S3Server::KEY_ID.to_owned()),
        secret_access_key_file: Some(S3Server::secret_file(world.data_dir(), secret)),
        ..S3::new(S3Server::BUCKET.to_owned())
    }
}

fn upload(world: &World, url: &str, format: UploadFormat) -> Upload {
    let api_key_file = Some(S3Server::secret_file(world.data_dir(), "hunter2"));
    Upload { api_key_file, format, ..Upload::new(parse_endpoint(url).expect("a URL")) }
}

fn current(world: &World, file: &str) -> PathBuf {
    world.data_dir().join("snapshots/current").join(file)
}

/// The first place's state.
fn first(status: &rgsd::http::Status) -> UploadStatus {
    status.uploads.first().expect("a place").clone()
}

/// Waits until the served epoch is uploaded.
async fn up_to_date(service: &Running) {
    let holds = |status: &rgsd::http::Status| {
        let (served, upload) = (status.epoch.map(|epoch| epoch.timestamp), first(status));
        served.is_some() && upload.epoch == served && upload.trouble.is_none() && upload.lag_seconds == 0
    };
    service.eventually("the served epoch is uploaded", holds).await;
}

fn puts(server: &S3Server) -> Vec<Seen> {
    server.requests().into_iter().filter(|request| request.method == "PUT").collect()
}

fn assert_the_bucket_has_what_is_served(world: &World, server: &S3Server) {
    for file in FILES {
        let published = std::fs::read(current(world, file)).expect("published");
        assert_eq!(server.read(&format!("rgs/test/{file}")), published, "{file}");
    }
}

#[test]
fn an_epoch_lands_in_the_bucket() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let server = S3Server::started();
        let config = Config { s3: Some(bucket(&world, server.port, S3Server::SECRET)), ..world.config([&peer]) };
        let service = Running::start(&world, config.clone()).await;
        service.ready_after(store.len() as u64).await;
        up_to_date(&service).await;

        assert_the_bucket_has_what_is_served(&world, &server);
        for (file, version) in [("snapshot/0", Version::V1), ("v2/snapshot/0", Version::V2)] {
            let bytes = server.read(&format!("rgs/test/{file}"));
            assert_eq!(bytes, service.fetch(version).await, "{file}");
            Wallet::read(&bytes, version).assert_knows(&world.truth());
        }
        let put = puts(&server);
        assert_eq!(put.len(), FILES.len());
        for (request, file) in put.iter().zip(FILES) {
            assert_eq!(request.path, format!("/{}/rgs/test/{file}", S3Server::BUCKET), "the manifest is last");
            let json = file == "epoch.json";
            let kind = if json { "application/json" } else { "application/octet-stream" };
            assert_eq!(request.header("content-type"), kind);
            let caching = request.header("cache-control");
            let max_age = caching.strip_prefix("public, max-age=").and_then(|rest| rest.split_once(','));
            let (max_age, rest) = max_age.expect(caching);
            assert!((1..=300).contains(&max_age.parse::<u32>().expect("a number")), "{caching}");
            assert_eq!(rest, " stale-if-error=3600");
        }

        let channel = world.a_routable_channel();
        service.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
        service.next_epoch().await;
        up_to_date(&service).await;
        assert_the_bucket_has_what_is_served(&world, &server);
        service.stop().await;

        // A restart does not know what was uploaded before: the bucket gets what is served.
        std::fs::remove_file(server.object("rgs/test/epoch.json")).expect("it was there");
        let service = Running::start(&world, config.clone()).await;
        up_to_date(&service).await;
        assert_the_bucket_has_what_is_served(&world, &server);
        service.stop().await;

        // But not where somebody else has uploaded a newer epoch meanwhile.
        let newer = format!("{{\"timestamp\": {}}}", world.now_s() + 1);
        std::fs::write(server.object("rgs/test/epoch.json"), newer).expect("written");
        let before = puts(&server).len();
        let service = Running::start(&world, config).await;
        up_to_date(&service).await;
        assert_eq!(puts(&server).len(), before);
        service.next_epoch().await;
        up_to_date(&service).await;
        assert_the_bucket_has_what_is_served(&world, &server);
        service.stop().await;
    });
}

#[test]
fn a_bucket_that_was_away_gets_the_newest_epoch() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let mut server = S3Server::new();
        let config = Config { s3: Some(bucket(&world, server.port, S3Server::SECRET)), ..world.config([&peer]) };
        let service = Running::start(&world, config).await;
        service.ready_after(store.len() as u64).await;
        let told = |status: &rgsd::http::Status| {
            let problem = status.problem.as_deref().unwrap_or_default();
            problem.starts_with("uploads to s3://wallets/rgs/test at http://127.0.0.1") && problem.contains("reached")
        };
        service.eventually("the trouble is told", told).await;
        assert_eq!(first(&service.status()).epoch, None);

        let channel = world.a_routable_channel();
        for _ in 0..3 {
            service.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
            service.next_epoch().await;
            service.tells(&world.truth()).await;
        }
        assert!(first(&service.status()).trouble.is_some());
        server.start();
        up_to_date(&service).await;
        assert_the_bucket_has_what_is_served(&world, &server);
        assert_eq!(puts(&server).len(), FILES.len(), "only the newest epoch");
        assert_eq!(service.status().problem, None);
        service.stop().await;
    });
}

#[test]
fn a_wrong_secret_is_told_and_needs_no_restart() {
    const WRONG: &str = "not-the-right-one";
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let server = S3Server::started();
        let config = Config { s3: Some(bucket(&world, server.port, WRONG)), ..world.config([&peer]) };
        let service = Running::start(&world, config).await;
        service.ready_after(store.len() as u64).await;
        let told = |status: &rgsd::http::Status| {
            let problem = status.problem.as_deref().unwrap_or_default();
            problem.contains("HTTP 403, SignatureDoesNotMatch") && problem.contains("check s3.access_key_id")
        };
        service.eventually("the mistake is told", told).await;
        assert!(!format!("{:?}", service.status()).contains(WRONG));
        assert_eq!(puts(&server).len(), 1, "nobody hammers with a wrong secret");

        S3Server::secret_file(world.data_dir(), S3Server::SECRET);
        service.next_epoch().await;
        up_to_date(&service).await;
        assert_the_bucket_has_what_is_served(&world, &server);
        service.stop().await;
    });
}

#[test]
fn the_log_and_the_check_tell_of_a_wrong_secret_without_it() {
    const WRONG: &str = "not-the-right-one";
    story(async {
        let world = World::new(60).await;
        let peer = world.peer(0, &world.store()).await;
        let server = S3Server::started();
        let secret = S3Server::secret_file(world.data_dir(), WRONG);
        let more = format!(
            "[s3]\nbucket = \"wallets\"\nendpoint = \"http://127.0.0.1:{}\"\naccess_key_id = \"{}\"\n\
             secret_access_key_file = {secret:?}\n",
            server.port,
            S3Server::KEY_ID
        );
        let config = world.config_file_in(world.data_dir(), "10s", [&peer], &more);

        let arguments = ["config", "--check", "--config"].map(String::from).to_vec();
        let arguments = [arguments, vec![config.display().to_string()]].concat();
        let check = || {
            let arguments = arguments.clone();
            async { tokio::task::spawn_blocking(|| rgsd(arguments)).await.expect("it ends") }
        };
        let run = check().await;
        assert_eq!(run.code, Some(1), "{}", run.stdout);
        assert!(run.stdout.contains("FAILED  s3.bucket: the bucket refuses them (HTTP 403"), "{}", run.stdout);

        let process = Process::serve(&config);
        let url = process.url().await;
        let warning = "uploads to s3://wallets at http://127.0.0.1";
        eventually_told("the log tells", || process.said(), async || process.said().contains(warning)).await;
        assert!(process.said().contains("are tried again with the next epoch"), "{}", process.said());
        let told = status(&url).await["uploads"][0]["trouble"].to_string();
        assert!(told.contains("403"), "{told}");
        for said in [&process.said(), &run.stdout, &run.stderr] {
            assert!(!said.contains(WRONG), "{said}");
        }

        S3Server::secret_file(world.data_dir(), S3Server::SECRET);
        let run = check().await;
        assert!(run.stdout.contains("ok      s3.bucket: s3://wallets at http"), "{}", run.stdout);
        assert!(!server.object(".rgsd-check").exists(), "the probe is gone");
    });
}

#[test]
fn a_receiver_gets_each_full_snapshot() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let receiver = Receiver::start([500, 503, 429]).await;
        let upload = upload(&world, &receiver.url, UploadFormat::Json);
        let service = Running::start(&world, Config { upload: Some(upload), ..world.config([&peer]) }).await;
        service.ready_after(store.len() as u64).await;
        up_to_date(&service).await;

        let requests = receiver.requests();
        assert_eq!(requests.len(), 4, "what fails in passing is tried again");
        let seen = requests.last().expect("four");
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/base/v1/rgs/snapshot/0"));
        assert_eq!((seen.header("x-api-key"), seen.header("content-type")), ("hunter2", "application/json"));
        assert_eq!(seen.header("content-length"), seen.body.len().to_string());
        let document: Value = serde_json::from_slice(&seen.body).expect("JSON");
        let bytes: Vec<u8> = serde_json::from_value(document["data"].clone()).expect("numbers");
        assert_eq!(bytes, service.fetch(Version::V1).await);
        let epoch = service.status().epoch.expect("an epoch");
        let counts = [
            ("message_count", epoch.channels + epoch.directions),
            ("announcement_count", epoch.channels),
            ("update_count", epoch.directions),
            ("update_count_full", epoch.directions),
            ("update_count_incremental", 0),
        ];
        for (field, count) in counts {
            assert_eq!(document[field], count, "{field}");
        }
        assert_eq!(document.as_object().map(serde_json::Map::len), Some(counts.len() + 1));

        // What it takes an operator to mend is told, and not tried again before the next epoch.
        receiver.answer([401]);
        service.next_epoch().await;
        let told = |status: &rgsd::http::Status| {
            status
                .problem
                .as_deref()
                .is_some_and(|problem| problem.contains("HTTP 401") && problem.contains("api_key"))
        };
        service.eventually("the mistake is told", told).await;
        assert!(!format!("{:?}", service.status()).contains("hunter2"));
        assert_eq!(receiver.requests().len(), 5);
        service.next_epoch().await;
        up_to_date(&service).await;
        assert_eq!(receiver.requests().len(), 6);
        service.stop().await;
    });
}

#[test]
fn a_receiver_may_want_the_bytes_as_they_are() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let receiver = Receiver::start([405, 401, 302]).await;
        let upload = upload(&world, &receiver.url, UploadFormat::Raw);
        assert!(check_hook(&upload).await.expect("it answers").contains("HTTP 405"));
        for why in ["refuses the key (HTTP 401)", "it has moved"] {
            let found = check_hook(&upload).await.expect_err("a mistake").to_string();
            assert!(found.contains(why) && !found.contains("hunter2"), "{found}");
        }
        assert!(
            receiver.requests().iter().all(|seen| seen.method == "HEAD" && seen.header("x-api-key") == "hunter2")
        );

        // After a failure, it goes on where it was.
        let receiver = Receiver::start([200, 502]).await;
        let upload = Upload { url: parse_endpoint(&receiver.url).expect("a URL"), ..upload };
        let service = Running::start(&world, Config { upload: Some(upload), ..world.config([&peer]) }).await;
        service.ready_after(store.len() as u64).await;
        up_to_date(&service).await;
        let requests = receiver.requests();
        let paths: Vec<&str> = requests.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(paths, ["/base/v1/rgs/snapshot/0", "/base/v2/rgs/snapshot/0", "/base/v2/rgs/snapshot/0"]);
        assert_eq!(requests[0].body, service.fetch(Version::V1).await);
        assert_eq!(requests[2].body, service.fetch(Version::V2).await);
        assert!(requests.iter().all(|seen| seen.header("content-type") == "application/octet-stream"));
        service.stop().await;
    });
}

#[test]
fn a_receiver_that_hangs_holds_nobody_up() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("an address"));
        let upload = upload(&world, &url, UploadFormat::Json);
        let service = Running::start(&world, Config { upload: Some(upload), ..world.config([&peer]) }).await;
        service.ready_after(store.len() as u64).await;
        let _held = silent.accept().await.expect("it uploads");
        let channel = world.a_routable_channel();
        for _ in 0..3 {
            service.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
            service.next_epoch().await;
            service.tells(&world.truth()).await;
        }
        let stopping = Instant::now();
        service.stop().await;
        assert!(stopping.elapsed() < Duration::from_secs(5), "{:?}", stopping.elapsed());
    });
}

/// Answers every request over TLS with 200, as a server for 127.0.0.1 that the tests' authority has signed for.
fn over_tls() -> u16 {
    let (certificate, key) = postgres::certificates().server(ServerCertificate::Good);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
    acceptor.set_certificate_chain_file(certificate).expect("a certificate");
    acceptor.set_private_key_file(key, SslFiletype::PEM).expect("a key");
    let (acceptor, listener) = (acceptor.build(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who does not trust it goes away.
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.extend(byte);
            }
            let head = String::from_utf8(head).expect("text").to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
            stream.read_exact(&mut body).expect("a body");
            let answer = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("written");
            let _ = stream.shutdown();
        }
    });
    port
}

#[test]
fn places_are_reached_over_tls_that_is_verified() {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), over_tls());
    let secret = S3Server::secret_file(folder.path(), S3Server::SECRET);
    let check = |authority: Option<&Path>| {
        let url = format!("https://127.0.0.1:{port}");
        let arguments = [
            "config --check --replica --listen=127.0.0.1:0 --database-url=postgres://127.0.0.1:9/d".to_owned(),
            format!("--data-dir={} --upload-url={url}", folder.path().display()),
            format!("--s3-bucket=wallets --s3-endpoint={url} --s3-access-key-id={}", S3Server::KEY_ID),
            format!("--s3-secret-access-key-file={}", secret.display()),
        ];
        let run = rgsd_with(|command| {
            authority.map(|file| command.env("SSL_CERT_FILE", file));
            command.args(arguments.join(" ").split(' '))
        });
        let told = |what: &str| run.stdout.lines().find(|line| line.contains(what)).map(str::to_owned);
        ["s3.bucket", "upload.url"].map(|what| told(what).unwrap_or_else(|| panic!("{}", run.stderr)))
    };
    for line in check(Some(&postgres::certificates().ca)) {
        assert!(line.starts_with("ok "), "{line}");
    }
    for line in check(None) {
        assert!(line.starts_with("FAILED ") && line.contains("certificate verify failed"), "{line}");
    }
}
