//! Snapshots of running servers, of whatever make.
//!
//! A URL that names a snapshot (its last part is a number, or a number and `.bin`) is fetched as it is. Any other is
//! taken for the base URL that wallets are configured with, to which they append their last sync: here `/0`. A server
//! alone is asked at the path that `rgsd` and many others have, version 2 first.

use anyhow::{Context, ensure};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use super::{Limits, too_large};

const REDIRECTS: usize = 5;

/// Fetches a snapshot. Returns where it was found, too.
pub(super) async fn fetch(url: &Url, limits: Limits) -> anyhow::Result<(String, Vec<u8>)> {
    let client = Client::builder()
        .user_agent(concat!("rgsd/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.silence)
        .read_timeout(limits.silence)
        .timeout(limits.patience)
        .redirect(redirect::Policy::limited(REDIRECTS))
        .build()
        .context("cannot fetch anything")?;
    let mut candidates = candidates(url).into_iter().peekable();
    while let Some(url) = candidates.next() {
        let name = shown(&url);
        let fetched = try_fetch(&client, url, limits, candidates.peek().is_some()).await;
        if let Some(bytes) = fetched.with_context(|| name.clone())? {
            return Ok((name, bytes));
        }
    }
    anyhow::bail!("{}: there is no snapshot", shown(url)) // the last candidate is an answer or an error
}

/// `None` if there is nothing, and that may be.
async fn try_fetch(
    client: &Client,
    url: Url,
    limits: Limits,
    may_be_missing: bool,
) -> anyhow::Result<Option<Vec<u8>>> {
    // Bytes are counted as they are sent, and a body that was packed all the same is recognised later.
    let request = client.get(url).header(reqwest::header::ACCEPT_ENCODING, "identity");
    let response = request.send().await.map_err(|error| plainly(error, limits))?;
    let status = response.status();
    if status == StatusCode::NOT_FOUND && may_be_missing {
        return Ok(None);
    }
    let hint = match status {
        StatusCode::NOT_FOUND => "; is it the URL that wallets are configured with?",
        StatusCode::SERVICE_UNAVAILABLE => "; it may have no snapshot yet",
        _ => "",
    };
    ensure!(status == StatusCode::OK, "the server answers {status}{hint}");
    body(response, limits).await.map(Some)
}

async fn body(mut response: Response, limits: Limits) -> anyhow::Result<Vec<u8>> {
    let declared = response.content_length().unwrap_or(0);
    ensure!(declared <= limits.bytes as u64, too_large(limits.bytes));
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| plainly(error, limits))? {
        ensure!(bytes.len() + chunk.len() <= limits.bytes, too_large(limits.bytes));
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The reason without the URL, which is named already.
fn plainly(error: reqwest::Error, limits: Limits) -> anyhow::Error {
    if error.is_timeout() {
        let [silence, patience] = [limits.silence, limits.patience].map(humantime::format_duration);
        return anyhow::anyhow!("the server takes too long: nothing for {silence}, or not all within {patience}");
    }
    let cannot = match () {
        () if error.is_connect() => "cannot connect",
        () if error.is_redirect() => "the server sends us on and on",
        () if error.is_body() || error.is_decode() => "the answer breaks off",
        () => "cannot fetch it",
    };
    // What reqwest says of itself ("error sending request") says nothing; its cause does.
    match innermost(&error) {
        Some(cause) => anyhow::anyhow!("{cannot}: {cause}"),
        None => anyhow::anyhow!(cannot),
    }
}

fn innermost(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

/// The URLs to try in turn; the next one only if there is nothing at the one before.
fn candidates(url: &Url) -> Vec<Url> {
    let with = |path: &str| {
        let mut url = url.clone();
        url.set_path(path);
        url.set_fragment(None);
        url
    };
    let path = url.path().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let number = last.strip_suffix(".bin").unwrap_or(last);
    if path.is_empty() {
        vec![with("/v2/snapshot/0"), with("/snapshot/0")]
    } else if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        vec![url.clone()]
    } else {
        vec![with(&format!("{path}/0"))]
    }
}

/// A URL as in messages: without its password.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "a URL".to_owned();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(url: &str) -> Vec<String> {
        candidates(&Url::parse(url).expect("a URL")).iter().map(Url::to_string).collect()
    }

    #[test]
    fn a_base_url_is_asked_for_everything() {
        for (url, asked) in [
            ("https://h/snapshot", "https://h/snapshot/0"),
            ("https://h/snapshot/", "https://h/snapshot/0"),
            ("https://h/snapshot/v2/", "https://h/snapshot/v2/0"),
            ("http://h:3000/a.bin", "http://h:3000/a.bin/0"),
            ("http://h/signet/snapshot?key=1#x", "http://h/signet/snapshot/0?key=1"),
        ] {
            assert_eq!(tried(url), [asked], "{url}");
        }
    }

    #[test]
    fn a_snapshots_url_is_fetched_as_it_is() {
        for url in ["https://h/snapshot/0", "https://h/1700000000.bin", "http://h/v2/0.bin?x", "http://h/7/"] {
            assert_eq!(tried(url), [url]);
        }
    }

    #[test]
    fn a_server_is_asked_for_version_2_first() {
        for url in ["http://h", "http://h/", "http://h//"] {
            assert_eq!(tried(url), ["http://h/v2/snapshot/0", "http://h/snapshot/0"], "{url}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown(&Url::parse("https://me:secret@h/1").expect("a URL")), "https://me:***@h/1");
    }
}
