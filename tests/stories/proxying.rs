//! nginx and Caddy before rgsd, and nginx instead of it, as `deploy/` has it: wallets get what rgsd would give them.

use std::fs;
use std::time::Duration;

use reqwest::Response;
use rgsd::http::{BodySizes, EncodedSizes};
use rgsd::snapshot::Version;
use serde_json::Value;

use crate::support::proxies::Proxy;
use crate::support::{LOOK_EVERY, Running, Wallet, World, eventually_told, story};

/// A service whose snapshots are compressed.
async fn serving(world: &World) -> Running {
    let store = world.store();
    let peer = world.peer(0, &store).await;
    let service = Running::start(world, world.config([&peer])).await;
    service.ready_after(store.len() as u64).await;
    // Begins right after a cut, so that none comes in between.
    service.just_cut().await;
    let packed = |sizes: EncodedSizes| [sizes.zstd, sizes.gzip, sizes.br].iter().all(Option::is_some);
    let both = |sizes: BodySizes| packed(sizes.full) && packed(sizes.returning);
    service.eventually("all is compressed", |s| s.snapshots.is_some_and(|s| both(s.v1) && both(s.v2))).await;
    service
}

async fn ask(url: String, headers: &[(&str, &str)]) -> Response {
    let request = Proxy::client().get(url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// What is asked through the proxy is answered as if it was asked directly, whatever encoding is accepted.
async fn assert_nothing_is_changed(proxy: &Proxy, service: &Running) {
    for path in ["/snapshot/0", "/snapshot/v2/0", "/v2/snapshot/7", "/snapshot/v2//0", "/0.bin"] {
        for (words, kept) in [("zstd", "zstd"), ("br", "br"), ("gzip;q=1.0, zstd;q=0", "gzip"), ("identity", "")] {
            let accepts = [("accept-encoding", words)];
            let (through, direct) = (proxy.get_with(path, &accepts).await, ask(service.url(path), &accepts).await);
            assert_eq!((through.status(), direct.status()), (direct.status(), 200.try_into().expect("a status")));
            assert_eq!(header(&through, "content-encoding"), kept, "{path}: {words}");
            for name in [
                "content-length",
                "content-type",
                "content-encoding",
                "access-control-allow-origin",
                "etag",
                "last-modified",
                "vary",
                "accept-ranges",
            ] {
                assert_eq!(header(&through, name), header(&direct, name), "{path}: {words}: {name}");
            }
            let lifetime = header(&through, "cache-control");
            assert!(lifetime.starts_with("public, max-age=") && lifetime.contains("stale-if-error"), "{lifetime}");
            let tag = header(&through, "etag").to_owned();
            let bytes = through.bytes().await.expect("a body");
            assert_eq!(bytes, direct.bytes().await.expect("a body"), "{path}");

            let again = proxy.get_with(path, &[accepts[0], ("if-none-match", &tag)]).await;
            assert_eq!(again.status(), 304, "{path}: {words}");
            let part = proxy.get_with(path, &[accepts[0], ("range", "bytes=7-99"), ("if-range", &tag)]).await;
            assert_eq!((part.status().as_u16(), header(&part, "etag")), (206, &*tag), "{path}: {words}");
            assert_eq!(part.bytes().await.expect("a body"), bytes[7..100], "{path}: {words}");
        }
    }
    for (path, status) in [("/snapshot/x", 400), ("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(proxy.get(path).await.status(), status, "{path}");
    }
    for path in ["/", "/status.json", "/metrics"] {
        assert_eq!(proxy.get(path).await.status(), 403, "{path} is not public");
    }
}

#[test]
fn nginx_gives_wallets_what_rgsd_gives() {
    story(async {
        let world = World::new(60).await;
        let service = serving(&world).await;
        let upstream = service.url("").replace("http://", "");
        let elsewhere = ("allow 127.0.0.1;", "allow 192.0.2.1;".to_owned());
        let nginx = Proxy::nginx("nginx.conf", &[("127.0.0.1:3000", upstream), elsewhere]).await;
        assert_nothing_is_changed(&nginx, &service).await;
        let bytes = nginx.get("/v2/snapshot/0").await.bytes().await.expect("a body");
        Wallet::read(&bytes, Version::V2).assert_knows(&world.truth());
        let last_sync = service.status().epoch.expect("an epoch").timestamp;
        let nothing = nginx.get(&format!("/snapshot/{last_sync}")).await.bytes().await.expect("a body");
        assert!(nothing.len() < 100, "the epoch that is served");
        service.stop().await;
    });
}

#[test]
fn caddy_gives_wallets_what_rgsd_gives() {
    story(async {
        let world = World::new(60).await;
        let service = serving(&world).await;
        let upstream = service.url("").replace("http://", "");
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/Caddyfile")).expect("a file");
        assert_eq!(text.matches("127.0.0.1:3000").count(), 2);
        let elsewhere = ("remote_ip 127.0.0.1", "remote_ip 192.0.2.1".to_owned());
        let caddy = Proxy::caddy(&[("127.0.0.1:3000", upstream), elsewhere]).await;
        assert_nothing_is_changed(&caddy, &service).await;
        service.stop().await;
    });
}

/// A path whose copy at nginx has three seconds to live at most, and its entity tag. Those that are tried begin with this
/// number.
async fn one_that_expires_soon(world: &World, service: &Running, nginx: &Proxy, first: u32) -> (String, String) {
    for number in first.. {
        let left_s = service.status().next_cut.expect("known").saturating_sub(world.now_s());
        world.clock.advance(Duration::from_secs(left_s.saturating_sub(3).into()));
        let path = format!("/v2/snapshot/{number}");
        let answer = nginx.get(&path).await;
        if (1..=3).any(|age| header(&answer, "cache-control").contains(&format!("max-age={age},"))) {
            return (path, header(&answer, "etag").to_owned());
        }
    }
    unreachable!("there are many numbers")
}

#[test]
fn nginx_keeps_what_rgsd_lets_it_keep() {
    story(async {
        let world = World::new(60).await;
        let service = serving(&world).await;
        let upstream = service.url("").replace("http://", "");
        let nginx = Proxy::nginx("nginx.conf", &[("127.0.0.1:3000", upstream)]).await;

        // One copy of each encoding, in whatever words it is asked for; the query has no meaning.
        for (words, kept, first) in [
            ("zstd", "zstd", "MISS"),
            ("gzip, deflate, br, zstd", "zstd", "HIT"),
            ("gzip;q=1.0, zstd;q=0", "gzip", "MISS"),
            ("gzip", "gzip", "HIT"),
            ("identity", "", "MISS"),
        ] {
            let asked = async |query: &str| {
                let answer = nginx.get_with(&format!("/v2/snapshot/0{query}"), &[("accept-encoding", words)]).await;
                assert_eq!(header(&answer, "content-encoding"), kept, "{words}");
                header(&answer, "x-cache").to_owned()
            };
            assert_eq!(asked("").await, first, "{words}");
            let is_kept = async || asked("?x=1").await == "HIT";
            eventually_told("it is kept", || words.to_owned(), is_kept).await;
        }

        // A copy whose time is up gives way to the next epoch, for the first wallet that comes.
        let (path, tag) = one_that_expires_soon(&world, &service, &nginx, 1).await;
        service.soon_next_epoch().await;
        let mut answer = nginx.get(&path).await;
        while header(&answer, "x-cache") == "HIT" {
            tokio::time::sleep(LOOK_EVERY).await; // three seconds at most
            answer = nginx.get(&path).await;
        }
        assert_eq!(header(&answer, "etag"), header(&service.get(&path).await, "etag"));
        assert_ne!(header(&answer, "etag"), tag);

        // Where rgsd is away, it serves on.
        let (path, _) = one_that_expires_soon(&world, &service, &nginx, 1_000).await;
        service.stop().await;
        let stale = async || {
            let answer = nginx.get(&path).await;
            assert_eq!(answer.status(), 200);
            header(&answer, "x-cache") == "STALE"
        };
        eventually_told("the copy outlives rgsd", String::new, stale).await;
        assert_eq!(nginx.get("/v2/snapshot/9999").await.status(), 502, "there is no copy");
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
async fn whole(nginx: &Proxy, path: &str) -> Vec<u8> {
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
        let nginx = Proxy::nginx("nginx-static.conf", &[place]).await;
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
