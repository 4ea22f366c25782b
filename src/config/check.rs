//! `rgsd config --check`: connects to everything once, and changes nothing.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bitcoin::Network;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Config, RestUrl};
use crate::gossip::PeerAddress;

/// How long each part has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
        finding("listen", crate::http::bind(config.listen).await.map(|_| format!("{} is free", config.listen))),
    ];
    let mut peers = JoinSet::new();
    for (place, peer) in config.peers.iter().cloned().enumerate() {
        peers.spawn(async move { (place, finding(&format!("peers {peer}"), reachable(&peer).await)) });
    }
    let mut answers = peers.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    findings.extend(answers.into_iter().map(|(_, finding)| finding));

    let bitcoind = match &config.bitcoind.rest_url {
        Some(url) => bitcoind(url, config.network).await,
        None => Ok("not set: channels are accepted unproven".to_owned()),
    };
    findings.push(finding("bitcoind.rest_url", bitcoind));
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
        .map_err(|_| anyhow::anyhow!("{url} does not answer within {} s", PATIENCE.as_secs()))?
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
    let answer = client.get(format!("{}/rest/chaininfo.json", url.expose())).send().await;
    // The error's URL is left out: it holds the password.
    let answer = answer.map_err(reqwest::Error::without_url)?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => bail!("it asks for another user or password (HTTP {})", answer.status().as_u16()),
        404 => bail!("it has no REST interface there; start bitcoind with -rest=1 (HTTP 404)"),
        503 => bail!("it is busy or still starting; try again (HTTP 503)"),
        other => bail!("it answers HTTP {other}"),
    }
    let body = answer.bytes().await.map_err(reqwest::Error::without_url)?;
    serde_json::from_slice(&body).map_err(io::Error::other).context("its answer is not bitcoind's chaininfo")
}
