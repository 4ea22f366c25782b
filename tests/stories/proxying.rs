//! nginx before rgsd, and instead of it, as `deploy/` has it: wallets get what rgsd would give them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rgsd::snapshot::Version;
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::support::nginx::Nginx;
use crate::support::{Running, Wallet, World, eventually_told, story};

#[test]
fn nginx_gives_wallets_what_rgsd_gives() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let upstream = service.url("").replace("http://", "");
        let elsewhere = ("allow 127.0.0.1;", "allow 192.0.2.1;".to_owned());
        let nginx = Nginx::start("nginx.conf", &[("127.0.0.1:3000", upstream), elsewhere]).await;

        let last_sync = service.status().epoch.expect("an epoch").timestamp;
        for path in ["/snapshot/0", "/snapshot/v2/0", "/v2/snapshot/7", "/snapshot/v2//0", "/0.bin"] {
            let (through, direct) = (nginx.get(path).await, service.get(path).await);
            assert_eq!((through.status(), direct.status()), (direct.status(), 200.try_into().expect("a status")));
            for header in ["content-length", "content-type", "access-control-allow-origin", "etag"] {
                assert_eq!(through.headers().get(header), direct.headers().get(header), "{path}: {header}");
            }
            let [through_s, direct_s] = [&through, &direct].map(max_age_s);
            assert!(through_s >= direct_s, "{path}: {through_s} s, and {direct_s} s a moment later");
            assert_eq!(through.bytes().await.expect("a body"), direct.bytes().await.expect("a body"), "{path}");
        }
        let bytes = nginx.get("/v2/snapshot/0").await.bytes().await.expect("a body");
        Wallet::read(&bytes, Version::V2).assert_knows(&world.truth());
        let nothing = nginx.get(&format!("/snapshot/{last_sync}")).await.bytes().await.expect("a body");
        assert!(nothing.len() < 100, "the epoch that is served");
        for (path, status) in [("/snapshot/x", 400), ("/healthz", 200), ("/readyz", 200)] {
            assert_eq!(nginx.get(path).await.status(), status, "{path}");
        }
        for path in ["/", "/status.json", "/metrics"] {
            assert_eq!(nginx.get(path).await.status(), 403, "{path} is not public");
        }
        service.stop().await;
    });
}

/// For how long caches may keep an answer that they may keep.
fn max_age_s(answer: &reqwest::Response) -> u32 {
    let said = answer.headers()["cache-control"].to_str().expect("text");
    let kept = said.strip_prefix("public, max-age=").and_then(|kept| kept.strip_suffix(", stale-if-error=3600"));
    kept.and_then(|kept| kept.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Who answers as rgsd does, and counts.
async fn origin(asked: Arc<AtomicUsize>) -> (u16, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let asked = Arc::clone(&asked);
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                asked.fetch_add(1, Ordering::SeqCst);
                let encoding = request.headers().get("accept-encoding").cloned();
                async move {
                    let answer = Response::builder().header("vary", "Accept-Encoding").header("etag", "\"1-zstd\"");
                    let answer = answer.header("cache-control", "public, max-age=1, stale-if-error=3600");
                    let answer = encoding.iter().fold(answer, |answer, word| answer.header("content-encoding", word));
                    answer.body(format!("{encoding:?}"))
                }
            });
            // One request a connection, so that who is gone is gone.
            tokio::spawn(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer));
        }
    });
    (port, AbortOnDropHandle::new(serving))
}

#[test]
fn nginx_keeps_what_rgsd_lets_it_keep() {
    story(async {
        let asked = Arc::<AtomicUsize>::default();
        let (port, origin) = origin(Arc::clone(&asked)).await;
        let nginx = Nginx::start("nginx.conf", &[("127.0.0.1:3000", format!("127.0.0.1:{port}"))]).await;
        let cache = |answer: &reqwest::Response| answer.headers()["x-cache"].to_str().expect("text").to_owned();

        // One copy of each encoding, in whatever words it is asked for; it is passed on as it is.
        for (words, kept, asked_by_then) in [
            ("zstd", "zstd", 1),
            ("gzip, deflate, br, zstd", "zstd", 1),
            ("gzip;q=1.0, zstd;q=0", "gzip", 2),
            ("gzip", "gzip", 2),
            ("identity", "", 3),
        ] {
            let answer = nginx.get_with("/v2/snapshot/0", &[("accept-encoding", words)]).await;
            let encoding = answer.headers().get("content-encoding").map_or("", |word| word.to_str().expect("text"));
            assert_eq!(encoding, kept, "{words}");
            assert_eq!(answer.headers()["etag"], "\"1-zstd\"");
            assert!(asked.load(Ordering::SeqCst) >= asked_by_then, "{words}");
        }
        let not_modified = [("if-none-match", "\"1-zstd\""), ("accept-encoding", "zstd")];
        let fresh = async || nginx.get_with("/v2/snapshot/0", &not_modified).await.status() == 304;
        eventually_told("a copy that a wallet has is not sent again", String::new, fresh).await;
        let hit = async || cache(&nginx.get("/v2/snapshot/0?x=1").await) == "HIT";
        eventually_told("it is kept, whatever the query", String::new, hit).await;

        // Where rgsd is away, the copy serves on.
        drop(origin);
        let stale = async || {
            let answer = nginx.get("/v2/snapshot/0").await;
            assert_eq!(answer.status(), 200);
            cache(&answer) == "STALE"
        };
        eventually_told("the copy outlives rgsd", String::new, stale).await;
        assert_eq!(nginx.get("/v2/snapshot/1").await.status(), 502, "there is no copy");
    });
}

/// Every shape of URL that wallets are configured with, and the folder of its answers.
const SHAPES: [(&str, Version, &str); 10] = [
    ("/snapshot/{}", Version::V1, "snapshot"),
    ("/regtest/snapshot/{}", Version::V1, "snapshot"),
    ("/snapshot/0/{}", Version::V1, "snapshot"),
    ("/v1/rgs/snapshot/{}", Version::V1, "snapshot"),
    ("/{}.bin", Version::V1, "snapshot"),
    ("/snapshot/v2/{}", Version::V2, "v2/snapshot"),
    ("/v2/snapshot//{}", Version::V2, "v2/snapshot"),
    ("/regtest/v2/snapshot/{}", Version::V2, "v2/snapshot"),
    ("/regtest/snapshot/v2/{}", Version::V2, "v2/snapshot"),
    ("/v2/{}.bin", Version::V2, "v2/snapshot"),
];

/// What wallets put there, and the file that answers it.
const NUMBERS: [(&str, &str); 4] =
    [("0", "0"), ("1", "returning"), ("1770000000", "returning"), ("99999999999999999999999999", "returning")];

/// A snapshot with the headers that it should have.
async fn whole(nginx: &Nginx, path: &str) -> Vec<u8> {
    let answer = nginx.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=60, stale-if-error=3600");
    let etag = answer.headers()["etag"].clone();
    let again = nginx.get_with(path, &[("if-none-match", etag.to_str().expect("text"))]).await;
    assert_eq!(again.status(), 304, "{path}");
    let declared = answer.content_length();
    let bytes = answer.bytes().await.expect("a body");
    assert_eq!(declared, Some(bytes.len() as u64));
    bytes.into()
}

#[test]
fn nginx_alone_serves_the_published_files() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let published = world.data_dir().join("snapshots/current");
        let place = ("/var/lib/rgsd/snapshots/current", published.display().to_string());
        let nginx = Nginx::start("nginx-static.conf", &[place]).await;
        let early = nginx.get("/snapshot/0").await;
        assert_eq!((early.status().as_u16(), early.headers()["retry-after"].to_str().ok()), (503, Some("10")));

        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let truth = world.truth();
        for (shape, version, folder) in SHAPES {
            for (number, file) in NUMBERS {
                let bytes = whole(&nginx, &shape.replace("{}", number)).await;
                assert_eq!(bytes, fs::read(published.join(folder).join(file)).expect("a file"), "{shape} {number}");
                Wallet::read(&bytes, version).assert_knows(&truth);
            }
        }
        for path in ["/", "/status.json", "/snapshot/x", "/../../journal.sqlite", "/mainnet/snapshot/0", "/snapshot/"]
        {
            assert_eq!(nginx.get(path).await.status(), 404, "{path}");
        }
        let manifest: Value =
            serde_json::from_slice(&nginx.get("/epoch.json").await.bytes().await.expect("a body")).expect("JSON");
        let epoch = service.status().epoch.expect("an epoch").timestamp;
        assert_eq!(manifest["timestamp"], epoch);

        let channel = world.a_routable_channel();
        service.hears(&store, world.change_fee(channel, rgsd::gossip::Direction::OneToTwo)).await;
        service.next_epoch().await;
        let bytes = nginx.get("/v2/snapshot/0").await.bytes().await.expect("a body");
        Wallet::read(&bytes, Version::V2).assert_knows(&world.truth());
        service.stop().await;
    });
}
