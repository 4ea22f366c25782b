//! A bucket: the same files as in `data_dir/snapshots/current`, under the same names, the manifest last.
//!
//! A reader that meets the new manifest meets the new files. Before that, each file is whole and right on its own, of
//! this epoch or of the one before, which is an exact snapshot, too.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::HttpError;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutOptions, PutPayload,
    RetryConfig,
};
use tokio::time::timeout;

use super::answers::{self, Bounding};
use super::crypto::OpenSsl;
use super::{CONNECT_WITHIN, Failure, Parcel, Place, is_mistake, read_secret, within};
use crate::config::S3;
use crate::gossip::Clock;
use crate::snapshot::Desk;
use crate::text::Secret;

/// What an object says of its age is written once, and counts from each time that a cache fetches it: with "until the
/// next cut" one fetched just before that would stay for an interval more. Asking anew costs a cache next to nothing, as
/// nothing is sent that it has.
const FRESH_FOR_MOST_S: u32 = 300;
/// Where the next cut is not known, or overdue.
const FRESH_FOR_LEAST_S: u32 = 10;
/// The manifest.
const EPOCH: &str = "epoch.json";
/// No file is larger.
const MOST_BYTES: usize = 16 << 20;
/// The object that a check leaves for a moment.
const PROBE: &str = ".rgsd-check";
/// How long a check waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Knows how long the newest epoch stays the newest.
pub(super) struct Freshness {
    pub desk: Arc<Desk>,
    pub clock: Arc<dyn Clock>,
}

impl Freshness {
    fn cache_control(&self) -> String {
        let now_s = self.clock.now().secs();
        let left_s = self.desk.next_cut().map_or(0, |next| next.saturating_sub(now_s));
        let max_age_s = left_s.clamp(FRESH_FOR_LEAST_S, FRESH_FOR_MOST_S);
        format!("public, max-age={max_age_s}, stale-if-error=3600")
    }
}

/// See the module's words.
pub(super) struct Bucket {
    settings: S3,
    freshness: Freshness,
    /// Kept for as long as the secret stays what it is, for its connections and an instance's credentials.
    store: Option<(Option<Secret>, AmazonS3)>,
    /// Whether this is up to date, or was since the start.
    looked: bool,
}

impl Bucket {
    pub fn new(settings: S3, freshness: Freshness) -> Self {
        Self { settings, freshness, store: None, looked: false }
    }

    /// A handle on it.
    async fn store(&mut self) -> Result<AmazonS3, Failure> {
        let failure = |error: anyhow::Error| Failure::mistake(format!("{error:#}"));
        let secret = secret(&self.settings).await.map_err(failure)?;
        let kept = self.store.take().filter(|(kept, _)| *kept == secret);
        let store = match kept {
            Some((_, store)) => store,
            None => open(&self.settings, secret.as_ref(), within(MOST_BYTES)).map_err(failure)?,
        };
        Ok(self.store.insert((secret, store)).1.clone())
    }
}

impl Place for Bucket {
    fn name(&self) -> String {
        name(&self.settings)
    }

    async fn send(&mut self, parcel: &Arc<Parcel>, done: &mut usize) -> Result<(), Failure> {
        let store = self.store().await?;
        if !self.looked && is_overtaken(&store, &self.settings, parcel.epoch()).await {
            *done = parcel.files.len();
        }
        while let Some((path, bytes)) = parcel.files.get(*done) {
            let at = object(&self.settings, path).map_err(|error| Failure::mistake(format!("{error:#}")))?;
            let kind = if path.ends_with(".json") { "application/json" } else { "application/octet-stream" };
            let attributes = [
                (Attribute::ContentType, kind.to_owned()),
                (Attribute::CacheControl, self.freshness.cache_control()),
            ];
            let options = PutOptions { attributes: Attributes::from_iter(attributes), ..PutOptions::default() };
            let put = store.put_opts(&at, PutPayload::from(bytes.clone()), options);
            let Ok(put) = timeout(within(bytes.len()), put).await else {
                return Err(Failure::passing(format!("{} does not answer in time", place(&self.settings))));
            };
            put.map_err(|error| failure(&self.settings, &error))?;
            *done += 1;
        }
        self.looked = true;
        Ok(())
    }
}

/// Whether somebody else has uploaded a newer epoch than this one, which may be from before a long stop. Who may not read
/// does not know. It is not asked again once the bucket is up to date: a clock that was wrong once would stop all uploads.
async fn is_overtaken(store: &AmazonS3, settings: &S3, epoch: u32) -> bool {
    let there = async {
        let found = store.get(&object(settings, EPOCH).ok()?).await.ok()?;
        let small = found.meta.size <= answers::MOST_BYTES as u64;
        let manifest = if small { found.bytes().await.ok()? } else { return None };
        serde_json::from_slice::<Manifest>(&manifest).ok()
    };
    let newer = timeout(within(0), there).await.ok().flatten().is_some_and(|there| there.timestamp > epoch);
    if newer {
        tracing::info!(epoch, "{} has a newer epoch already", name(settings));
    }
    newer
}

/// What matters here of `epoch.json`.
#[derive(serde::Deserialize)]
struct Manifest {
    timestamp: u32,
}

/// `rgsd config --check`: puts a small object and removes it. Putting is all that uploads need; where removing is not
/// allowed, the object stays.
pub async fn check(settings: &S3) -> anyhow::Result<String> {
    let store = open(settings, secret(settings).await?.as_ref(), PATIENCE)?;
    let probe = object(settings, PROBE)?;
    let put = store.put(&probe, PutPayload::from_static(b"rgsd config --check\n")).await;
    put.map_err(|error| anyhow!(failure(settings, &error).trouble))?;
    let name = name(settings);
    Ok(match store.delete(&probe).await {
        Ok(()) => format!("{name} can be written to"),
        Err(_) => format!("{name} can be written to; {PROBE} stays there, because removing it is not allowed"),
    })
}

fn name(settings: &S3) -> String {
    let S3 { bucket, prefix, endpoint, .. } = settings;
    let prefix = prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
    let at = endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    format!("s3://{bucket}{prefix}{at}")
}

/// Where requests go.
fn place(settings: &S3) -> String {
    settings.endpoint.as_ref().map_or_else(|| "AWS".to_owned(), ToString::to_string)
}

fn object(settings: &S3, path: &str) -> anyhow::Result<Path> {
    let path = settings.prefix.as_ref().map_or_else(|| path.to_owned(), |prefix| format!("{prefix}/{path}"));
    Path::parse(&path).with_context(|| format!("s3.prefix: no object can be named {path}"))
}

async fn secret(settings: &S3) -> anyhow::Result<Option<Secret>> {
    match &settings.secret_access_key_file {
        Some(file) => read_secret("s3.secret_access_key_file", file).await.map(Some),
        None => Ok(None),
    }
}

fn open(settings: &S3, secret: Option<&Secret>, patience: Duration) -> anyhow::Result<AmazonS3> {
    let S3 { bucket, endpoint, region, access_key_id, .. } = settings;
    let builder = match (access_key_id, secret) {
        (Some(id), Some(secret)) => {
            AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose())
        }
        // Where a platform gives a task or a pod its role, it says how in the environment, and nowhere else.
        _ => AmazonS3Builder::from_env(),
    };
    let connect = CONNECT_WITHIN.min(patience);
    let options = ClientOptions::new().with_timeout(patience).with_connect_timeout(connect);
    let plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.as_str().starts_with("http:"));
    let builder = builder
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(options.with_allow_http(plain))
        .with_virtual_hosted_style_request(!settings.is_path_style())
        .with_crypto_provider(Arc::new(OpenSsl))
        .with_http_connector(Bounding)
        // One place decides when to try again.
        .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: patience });
    let builder = match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint.as_str()),
        None => builder,
    };
    builder.build().context("s3.bucket")
}

/// What an error means for the operator. Answers are told by their code alone: the rest of them repeats the request.
fn failure(settings: &S3, error: &Error) -> Failure {
    let text = error.to_string();
    let status = status_in(&text).or(match error {
        Error::NotFound { .. } => Some(404),
        Error::PermissionDenied { .. } => Some(403),
        Error::Unauthenticated { .. } => Some(401),
        _ => None,
    });
    let Some(status) = status else { return unanswered(settings, error) };
    let code = between(&text, "<Code>", "</Code>").filter(|code| code.chars().all(|c| c.is_ascii_alphanumeric()));
    let advice = match (status, code) {
        (_, Some("RequestTimeTooSkewed")) => "check the machine's time",
        (301 | 307 | 400, _) => "check s3.region, s3.endpoint and s3.path_style",
        (401 | 403, _) if settings.access_key_id.is_none() => "check the role, and its right to put objects",
        (401 | 403, _) => "check s3.access_key_id, its secret, and its right to put objects",
        (404, _) => "check s3.bucket, s3.region and s3.endpoint",
        _ => "the service has trouble of its own",
    };
    let answer = code.map_or_else(|| format!("HTTP {status}"), |code| format!("HTTP {status}, {code}"));
    Failure { trouble: format!("the bucket refuses them ({answer}): {advice}"), mistake: is_mistake(status) }
}

/// No HTTP answer came.
fn unanswered(settings: &S3, error: &Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    let mut of_http = false;
    while let Some(source) = cause.source() {
        of_http |= source.is::<HttpError>();
        cause = source;
    }
    if error.to_string().contains("redirect without LOCATION") {
        return Failure::mistake("the bucket is elsewhere: check s3.region and s3.endpoint");
    }
    let at = place(settings);
    let role = if settings.access_key_id.is_none() { ", or the source of the machine's role," } else { "" };
    match of_http {
        true => Failure::passing(format!("{at}{role} cannot be reached: {cause}")),
        false => Failure::passing(cause.to_string()),
    }
}

/// The library tells the status of an answer in words alone.
fn status_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.split_once(open)?.1.split_once(close)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_code_alone() {
        let settings = S3 { access_key_id: Some("AKID".to_owned()), ..S3::new("b".to_owned()) };
        let answer = |status: &str, body: &str| {
            let text = format!("Server returned non-2xx status code: {status}: <Error>{body}</Error>");
            failure(&settings, &Error::Generic { store: "S3", source: text.into() })
        };
        let told = answer("403 Forbidden", "<Code>AccessDenied</Code><Message>AKID hunter2</Message>");
        assert!(told.mistake && told.trouble.contains("HTTP 403, AccessDenied"), "{}", told.trouble);
        assert!(told.trouble.contains("right to put") && !told.trouble.contains("hunter2"), "{}", told.trouble);
        let told = answer("503 Slow Down", "<Code>SlowDown</Code>");
        assert!(!told.mistake && told.trouble.contains("HTTP 503, SlowDown"), "{}", told.trouble);
        let told = answer("403 Forbidden", "<Code>RequestTimeTooSkewed</Code>");
        assert!(told.trouble.contains("machine's time"), "{}", told.trouble);
        let told = answer("400 Bad Request", "<Code><script>hunter2</Code>");
        assert!(told.mistake && told.trouble.contains("s3.region") && !told.trouble.contains("hunter2"));
    }

    #[test]
    fn names_tell_where_it_goes() {
        let plain = S3::new("wallets".to_owned());
        assert_eq!(name(&plain), "s3://wallets");
        assert_eq!(object(&plain, "snapshot/0").expect("a path").as_ref(), "snapshot/0");
        let prefixed = S3 { prefix: Some("a/b".to_owned()), ..plain };
        assert_eq!(name(&prefixed), "s3://wallets/a/b");
        assert_eq!(object(&prefixed, "snapshot/0").expect("a path").as_ref(), "a/b/snapshot/0");
    }
}
