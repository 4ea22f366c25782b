//! `rgsd config --check`: connects to everything once, and leaves things as they are.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bitcoin::Network;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Config, Database, RestUrl};
use crate::gossip::PeerAddress;
use crate::journal::postgres;
use crate::uploads;

/// How long each part has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The oldest PostgreSQL that the archive works with.
const POSTGRES_AT_LEAST: u32 = 13;

/// What one look found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at: a key, and its value where there are several.
    pub what: String,
    /// What there is to say: good, or bad.
    pub outcome: Result<String, String>,
}

/// Looks at everything that the configuration names; at the peers all at once.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![
        finding("data_dir", writable(&config.data_dir)),
        finding("listen", crate::http::bind(config.listen).map(|_| format!("{} is free", config.listen))),
    ];
    if let Some(files) = &config.tls {
        let usable =
            crate::http::Tls::open(files.clone()).map(|_| "the certificate and its key can be used".to_owned());
        findings.push(finding("tls.cert", usable));
    }
    if !config.replica {
        findings.extend(collecting(config).await);
    }
    let database = match &config.database {
        Some(settings) => database(settings).await,
        None => Ok("not set: the journal stands alone".to_owned()),
    };
    findings.push(finding("database.url", database));
    findings.extend(uploading(config).await);
    findings
}

/// What a collector needs, and a replica does not.
async fn collecting(config: &Config) -> Vec<Finding> {
    let mut peers = JoinSet::new();
    for (place, peer) in config.peers.iter().cloned().enumerate() {
        peers.spawn(async move { (place, finding(&format!("peers {peer}"), reachable(&peer).await)) });
    }
    let mut answers = peers.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    let mut findings: Vec<Finding> = answers.into_iter().map(|(_, finding)| finding).collect();

    let bitcoind = match &config.bitcoind.rest_url {
        Some(url) => bitcoind(url, config.network).await,
        None => Ok("not set: channels are accepted unproven".to_owned()),
    };
    findings.push(finding("bitcoind.rest_url", bitcoind));
    findings
}

/// Where snapshots are uploaded to.
async fn uploading(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(s3) = &config.s3 {
        findings.push(finding("s3.bucket", uploads::check_s3(s3).await));
    }
    if let Some(upload) = &config.upload {
        findings.push(finding("upload.url", uploads::check_hook(upload).await));
    }
    findings
}

fn finding(what: &str, outcome: anyhow::Result<String>) -> Finding {
    Finding { what: what.to_owned(), outcome: outcome.map_err(|error| format!("{error:#}")) }
}

/// Tries a file in the directory, or, where that does not exist yet, in the one that it would be made in.
fn writable(dir: &Path) -> anyhow::Result<String> {
    let nearest = dir.ancestors().find(|place| place.as_os_str().is_empty() || place.exists());
    let nearest = nearest.filter(|place| !place.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = nearest.join(format!(".rgsd-check-{}", std::process::id()));
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).with_context(|| {
        format!("cannot write to {}; give this user the right to, or set another data_dir", nearest.display())
    })?;
    Ok(match nearest == dir {
        true => format!("{} is writable", dir.display()),
        false => format!("{} does not exist yet and can be made", dir.display()),
    })
}

/// Opens a TCP connection and closes it; a Lightning handshake is not tried.
async fn reachable(peer: &PeerAddress) -> anyhow::Result<String> {
    match timeout(PATIENCE, TcpStream::connect(peer.socket())).await {
        Ok(connected) => connected.map(|_| "is reachable".to_owned()).context("cannot connect"),
        Err(_) => bail!("no answer within {} s", PATIENCE.as_secs()),
    }
}

/// Connects, looks at the version, and leaves.
async fn database(settings: &Database) -> anyhow::Result<String> {
    let (client, wire) = postgres::connect(&settings.connection(), PATIENCE).await?;
    let version = wire.server_version().to_owned();
    let safety = match wire.is_encrypted() {
        true => format!("encrypted (sslmode={})", settings.url.ssl_mode()),
        false => format!("not encrypted (sslmode={})", settings.url.ssl_mode()),
    };
    let answer = timeout(PATIENCE, client.simple_query("SELECT 1")).await;
    answer
        .map_err(|_| anyhow!("it connects, but answers nothing within {} s", PATIENCE.as_secs()))?
        .context("SELECT 1")?;
    wire.close(client, PATIENCE).await;
    let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok());
    match major {
        Some(..POSTGRES_AT_LEAST) => bail!("it is PostgreSQL {version}; {POSTGRES_AT_LEAST} or later is needed"),
        _ => Ok(format!("{} answers, PostgreSQL {version}, {safety}", settings.url)),
    }
}

/// The fields of bitcoind's `chaininfo` that matter here.
#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u64,
    #[serde(default)]
    initialblockdownload: bool,
    #[serde(default)]
    pruned: bool,
}

async fn bitcoind(url: &RestUrl, network: Network) -> anyhow::Result<String> {
    let info = timeout(PATIENCE, chain_info(url))
        .await
        .map_err(|_| anyhow!("{url} does not answer within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("{url} cannot be asked"))?;
    let expected = match network {
        Network::Bitcoin => "main",
        Network::Testnet => "test",
        Network::Signet => "signet",
        _ => "regtest",
    };
    if info.chain != expected {
        bail!("{url} follows the chain {:?}, but network is {network}, which needs {expected:?}", info.chain);
    }
    let syncing = if info.initialblockdownload { ", still syncing" } else { "" };
    let pruned = if info.pruned { ", pruned: funding outputs in blocks it lacks cannot be proven" } else { "" };
    Ok(format!("{url} answers, chain {expected}, {} blocks{syncing}{pruned}", info.blocks))
}

async fn chain_info(url: &RestUrl) -> anyhow::Result<ChainInfo> {
    // No proxy: reqwest would take one from the environment, which is not ours to follow for a bitcoind.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(format!("{}/rest/chaininfo.json", url.expose())).send().await.map_err(plain)?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => bail!("it asks for another user or password (HTTP {})", answer.status().as_u16()),
        404 => bail!("it has no REST interface there; start bitcoind with -rest=1 (HTTP 404)"),
        503 => bail!("it is busy or still starting; try again (HTTP 503)"),
        other => bail!("it answers HTTP {other}"),
    }
    let body = answer.bytes().await.map_err(plain)?;
    serde_json::from_slice(&body).context("its answer is not bitcoind's chaininfo")
}

/// What went wrong, without the layers between, and without the URL: that holds the password.
fn plain(error: reqwest::Error) -> anyhow::Error {
    let refused = error.is_connect();
    let error = anyhow::Error::new(error.without_url());
    let cause = error.root_cause();
    match refused {
        true => anyhow!("cannot connect; is bitcoind running, with -rest=1? ({cause})"),
        false => anyhow!("{cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::super::{KEYS, values};
    use super::*;

    const KEY: &str = "03864ef025fde8fb587d989186ce6a4a186895ee44a926bfc370e2c366597a3f8f";

    /// A bitcoind that answers every request alike.
    async fn fake_bitcoind(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let len = stream.read(&mut request).await.unwrap();
                let head = String::from_utf8_lossy(&request[..len]).into_owned();
                assert!(head.starts_with("GET /rest/chaininfo.json HTTP/1.1"), "{head}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://rpc:hunter2@{address}")
    }

    /// A port where nobody listens, for as long as the socket is kept.
    fn closed_port() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn outcome<'a>(findings: &'a [Finding], what: &str) -> &'a Result<String, String> {
        &findings.iter().find(|finding| finding.what.contains(what)).unwrap().outcome
    }

    #[tokio::test]
    async fn a_good_configuration_passes_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = fake_bitcoind("HTTP/1.1 200 OK\r\n\r\n{\"chain\":\"main\",\"blocks\":9,\"pruned\":true}").await;
        let mut config = Config {
            data_dir: dir.path().join("not/yet"),
            peers: vec![format!("{KEY}@{}", peer.local_addr().unwrap()).parse().unwrap()],
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        config.bitcoind.rest_url = Some(values::parse_rest_url(&url).unwrap());
        let findings = check(&config).await;
        assert!(findings.iter().all(|finding| finding.outcome.is_ok()), "{findings:#?}");
        assert!(outcome(&findings, "data_dir").as_ref().unwrap().contains("can be made"));
        assert!(outcome(&findings, "bitcoind").as_ref().unwrap().contains("chain main, 9 blocks, pruned"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for needs_a_look in ["data_dir", "listen", "peers", "bitcoind.rest_url"] {
            assert!(KEYS.iter().any(|key| key.name == needs_a_look));
            outcome(&findings, needs_a_look);
        }
    }

    #[tokio::test]
    async fn everything_that_fails_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_closed, nobody) = closed_port();
        let config = Config {
            data_dir: file.join("data"),
            peers: vec![format!("{KEY}@{nobody}").parse().unwrap()],
            listen: taken.local_addr().unwrap(),
            ..Config::default()
        };
        let findings = check(&config).await;
        let says = |what: &str, why: &str| outcome(&findings, what).as_ref().unwrap_err().contains(why);
        assert!(says("data_dir", "set another data_dir"), "{findings:#?}");
        assert!(says("listen", "in use"), "{findings:#?}");
        assert!(says("peers", "cannot connect"), "{findings:#?}");
        assert!(outcome(&findings, "bitcoind").as_ref().unwrap().contains("unproven"), "{findings:#?}");
    }

    #[tokio::test]
    async fn a_wrong_bitcoind_is_explained_without_its_password() {
        for (answer, why) in [
            ("HTTP/1.1 200 OK\r\n\r\n{\"chain\":\"test\",\"blocks\":9}", "needs \"main\""),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "not bitcoind's chaininfo"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "-rest=1"),
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", "user or password"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "busy or still starting"),
            ("nonsense\r\n\r\n", "cannot be asked"),
        ] {
            let url = values::parse_rest_url(&fake_bitcoind(answer).await).unwrap();
            let error = format!("{:#}", bitcoind(&url, Network::Bitcoin).await.unwrap_err());
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
        let (_closed, nobody) = closed_port();
        let url = values::parse_rest_url(&format!("http://rpc:hunter2@{nobody}")).unwrap();
        let error = format!("{:#}", bitcoind(&url, Network::Bitcoin).await.unwrap_err());
        assert!(error.contains("is bitcoind running") && !error.contains("hunter2"), "{error}");
    }
}
