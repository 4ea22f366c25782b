//! The questions that are put to bitcoind's REST interface (`doc/REST-interface.md` of Bitcoin Core), one at a
//! time: each with a deadline, a cap on the answer's size, and an error that tells "cannot say now" from "no".
//!
//! Owns the HTTP connections, which are kept open between requests. Decides nothing about channels.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bitcoin::{BlockHash, OutPoint};
use reqwest::{StatusCode, Url};

use super::scan::{self, Candidate};
use super::wire::{self, BlockContents, ChainInfo, Fault, Utxos};

/// Most headers that bitcoind gives at a time (its `MAX_REST_HEADERS_RESULTS`).
pub(super) const MAX_HEADERS: u32 = 2_000;

/// Most outputs that bitcoind looks up at a time (its `MAX_GETUTXOS_OUTPOINTS`).
pub(super) const MAX_OUTPUTS: usize = 15;

/// A block of the smallest transactions that fit holds under 20,000 ids of 67 bytes each.
const MAX_BLOCK_BODY: usize = 2 << 20;

/// Consensus allows a block 4,000,000 bytes, witnesses included.
const MAX_WHOLE_BLOCK: usize = 4 << 20;

/// 15 outputs, whose scripts consensus allows 10,000 bytes each.
const MAX_UTXOS_BODY: usize = 256 << 10;

/// Chain info, which lists softforks and warnings, too; a hash; what goes with an error.
const MAX_SMALL_BODY: usize = 64 << 10;

/// bitcoind closes a connection that was idle for 30 s (its `-rpcservertimeout`): be first.
const IDLE: Duration = Duration::from_secs(20);

/// Why there is no answer. All but `NotFound` say nothing about what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum RestError {
    #[error("bitcoind cannot be reached: {0}")]
    Unreachable(String),
    #[error("bitcoind is not ready: {0}")]
    Busy(String),
    #[error("bitcoind has nothing at {0}")]
    NotFound(String),
    #[error("bitcoind refused {path} with HTTP status {status}")]
    Refused { path: String, status: u16 },
    #[error("bitcoind's answer to {path} {fault}")]
    Malformed { path: String, fault: Fault },
}

/// A client of one bitcoind.
pub(super) struct Rest {
    http: reqwest::Client,
    base: Url,
    requests: AtomicU64,
}

impl Rest {
    /// `url` may end in `/`, in `/rest`, or in neither.
    pub fn new(url: &str, request_timeout: Duration, connections: usize) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(request_timeout)
            .pool_max_idle_per_host(connections)
            .pool_idle_timeout(IDLE)
            .build()
            .context("cannot set up the HTTP client for bitcoind")?;
        let trimmed = url.trim_end_matches('/');
        let trimmed = trimmed.strip_suffix("/rest").unwrap_or(trimmed).trim_end_matches('/');
        let base = Url::parse(&format!("{trimmed}/rest/"))
            .context("bitcoind.rest_url is not a URL like http://127.0.0.1:8332")?;
        Ok(Self { http, base, requests: AtomicU64::new(0) })
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// bitcoind's address as the log may name it: without user and password.
    pub fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub async fn chain_info(&self) -> Result<ChainInfo, RestError> {
        self.ask("chaininfo.json".into(), MAX_SMALL_BODY, ChainInfo::parse).await
    }

    /// The hash of the best chain's block at `height`; not found above the tip.
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, RestError> {
        self.ask(format!("blockhashbyheight/{height}.bin"), MAX_SMALL_BODY, wire::block_hash).await
    }

    /// The hashes of up to `count` blocks of the best chain, from `first` on; none if `first` is not in it.
    pub async fn block_hashes(&self, first: BlockHash, count: u32) -> Result<Vec<BlockHash>, RestError> {
        let cap = count as usize * 80;
        let path = format!("headers/{first}.bin?count={count}");
        match self.ask(path, cap, |body| wire::header_hashes(body, first)).await {
            // Before version 24 the count stood in the path.
            Err(RestError::Refused { status: 400, .. }) => {
                self.ask(format!("headers/{count}/{first}.bin"), cap, |body| wire::header_hashes(body, first)).await
            }
            answer => answer,
        }
    }

    /// A block's transaction ids; not found where the block is not on bitcoind's disk.
    pub async fn block_contents(&self, hash: BlockHash) -> Result<BlockContents, RestError> {
        self.ask(format!("block/notxdetails/{hash}.json"), MAX_BLOCK_BODY, BlockContents::parse).await
    }

    /// What a whole block may spend of channels' funding outputs; not found where the block is not on bitcoind's disk.
    pub async fn block(&self, hash: BlockHash) -> Result<Vec<Candidate>, RestError> {
        let path = format!("block/{hash}.bin");
        let body = self.get(&path, MAX_WHOLE_BLOCK).await?;
        // Millions of bytes to hash: others run meanwhile.
        let scanned = tokio::task::spawn_blocking(move || scan::candidates(&body, hash)).await;
        let scanned = scanned.map_err(|_| RestError::Unreachable("the service is stopping".into()))?;
        scanned.map_err(|fault| RestError::Malformed { path: shown(&path), fault })
    }

    /// Which of up to [`MAX_OUTPUTS`] outputs are unspent in the best chain, whatever the mempool says.
    pub async fn utxos(&self, outputs: impl ExactSizeIterator<Item = OutPoint>) -> Result<Utxos, RestError> {
        let asked = outputs.len();
        let mut path = String::from("getutxos");
        for output in outputs {
            path.push_str(&format!("/{}-{}", output.txid, output.vout));
        }
        path.push_str(".bin");
        self.ask(path, MAX_UTXOS_BODY, |body| Utxos::parse(body, asked)).await
    }

    async fn ask<T>(
        &self,
        path: String,
        cap: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<T, RestError> {
        let body = self.get(&path, cap).await?;
        parse(&body).map_err(|fault| RestError::Malformed { path: shown(&path), fault })
    }

    async fn get(&self, path: &str, cap: usize) -> Result<Vec<u8>, RestError> {
        let unreachable = |e: reqwest::Error| RestError::Unreachable(cause(&e, path));
        let url = self.base.join(path).map_err(|e| RestError::Unreachable(e.to_string()))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut response = self.http.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        let cap = if status == StatusCode::OK { cap } else { MAX_SMALL_BODY };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > cap {
                let fault = format!("is over {cap} bytes long").into();
                return Err(RestError::Malformed { path: shown(path), fault });
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK { Ok(body) } else { Err(failure(status, path, &body)) }
    }
}

/// What an answer other than 200 means.
fn failure(status: StatusCode, path: &str, body: &[u8]) -> RestError {
    match status {
        StatusCode::NOT_FOUND => RestError::NotFound(shown(path)),
        status if status.is_server_error() => {
            let said: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(120).collect();
            RestError::Busy(format!("it answers HTTP status {} \"{}\"", status.as_u16(), said.trim()))
        }
        status => RestError::Refused { path: shown(path), status: status.as_u16() },
    }
}

/// The last link of an error's chain, which is the one that says what happened.
fn cause(error: &reqwest::Error, path: &str) -> String {
    if error.is_timeout() {
        return format!("no answer to {} in time", shown(path));
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.is_connect() { deepest.to_string() } else { format!("{deepest}, at {}", shown(path)) }
}

/// A path as the log names it: `getutxos` lists up to 15 outputs, of which one will do.
fn shown(path: &str) -> String {
    match path.char_indices().nth(120) {
        Some((cut, _)) => format!("/rest/{}…", &path[..cut]),
        None => format!("/rest/{path}"),
    }
}
