//! A receiver of uploads: `POST {url}/v1/rgs/snapshot/0` with the full snapshot of each epoch and `X-API-KEY`, as the
//! server of a wallet company did it (MutinyWallet's fork of the reference server), whose receivers exist.
//!
//! That server sent the full snapshot alone, as JSON: `data` is an array of numbers, and the counts are those of its
//! messages. `raw` is for receivers that are written anew: the bytes as they are, version 2 at `/v2/rgs/snapshot/0`.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use serde::Serialize;

use super::{CONNECT_WITHIN, Failure, Parcel, Place, is_mistake, read_secret, within};
use crate::config::{Upload, UploadFormat};
use crate::snapshot::{Snapshot, Version};

const API_KEY: &str = "X-API-KEY";
const V1: &str = "/v1/rgs/snapshot/0";
const V2: &str = "/v2/rgs/snapshot/0";

/// See the module's words.
pub(super) struct Hook {
    settings: Upload,
    client: Client,
}

/// The document that receivers read, field by field.
#[derive(Serialize)]
struct SerializedResponse<'a> {
    data: &'a [u8],
    /// Announcements and updates.
    message_count: u32,
    announcement_count: u32,
    update_count: u32,
    update_count_full: u32,
    update_count_incremental: u32,
}

impl Hook {
    pub fn new(settings: Upload) -> anyhow::Result<Self> {
        Ok(Self { settings, client: client()? })
    }

    async fn post(&self, path: &str, kind: &'static str, body: Bytes) -> Result<(), Failure> {
        let key = api_key(&self.settings).await.map_err(|error| Failure::mistake(format!("{error:#}")))?;
        let url = format!("{}{path}", self.settings.url);
        let request = self.client.post(url).header(CONTENT_TYPE, kind).timeout(within(body.len())).body(body);
        let request = key.into_iter().fold(request, |request, key| request.header(API_KEY, key));
        let answer = request.send().await.map_err(|error| Failure::passing(plain(error)))?;
        let status = answer.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(refused(status)),
        }
    }
}

impl Place for Hook {
    fn name(&self) -> String {
        self.settings.url.to_string()
    }

    async fn send(&mut self, parcel: &Arc<Parcel>, done: &mut usize) -> Result<(), Failure> {
        match self.settings.format {
            UploadFormat::Json => {
                let parcel = Arc::clone(parcel);
                let document = tokio::task::spawn_blocking(move || document(&parcel.snapshot)).await;
                let document = document.map_err(|error| error.to_string()).and_then(|made| made);
                self.post(V1, "application/json", document.map_err(Failure::mistake)?).await
            }
            UploadFormat::Raw => {
                while let Some((path, version)) = [(V1, Version::V1), (V2, Version::V2)].get(*done) {
                    let body = parcel.snapshot.full.of(*version);
                    self.post(path, "application/octet-stream", body).await?;
                    *done += 1;
                }
                Ok(())
            }
        }
    }
}

/// `rgsd config --check`: asks for nothing but the head of the place that uploads go to. What is posted is kept by the
/// receiver, so the key is tried as far as that request shows it.
pub async fn check(settings: &Upload) -> anyhow::Result<String> {
    let key = api_key(settings).await?;
    let with_key = key.is_some();
    let url = format!("{}{V1}", settings.url);
    let request = client()?.request(Method::HEAD, url).timeout(std::time::Duration::from_secs(5));
    let request = key.into_iter().fold(request, |request, key| request.header(API_KEY, key));
    let status = request.send().await.map_err(|error| anyhow!(plain(error)))?.status();
    match status.as_u16() {
        401 | 403 if with_key => bail!("it refuses the key (HTTP {})", status.as_u16()),
        401 | 403 => bail!("it wants a key (HTTP {}): set upload.api_key_file", status.as_u16()),
        300..=399 | 500.. => bail!("{}", refused(status).trouble),
        status => Ok(format!("{} answers (HTTP {status} to HEAD)", settings.url)),
    }
}

/// Redirections are not followed: they would turn the POST into a GET, or take the key elsewhere.
fn client() -> anyhow::Result<Client> {
    let client = Client::builder().redirect(redirect::Policy::none());
    client.connect_timeout(CONNECT_WITHIN).build().context("upload.url: no TLS to be had")
}

async fn api_key(settings: &Upload) -> anyhow::Result<Option<HeaderValue>> {
    let Some(file) = &settings.api_key_file else { return Ok(None) };
    let key = read_secret("upload.api_key_file", file).await?;
    let header = HeaderValue::from_str(key.expose());
    let mut header = header.map_err(|_| anyhow!("upload.api_key_file {} holds no word", file.display()))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn document(snapshot: &Snapshot) -> Result<Bytes, String> {
    let counts = snapshot.counts;
    let document = SerializedResponse {
        data: &snapshot.full.v1,
        message_count: counts.channels.saturating_add(counts.directions),
        announcement_count: counts.channels,
        update_count: counts.directions,
        update_count_full: counts.directions,
        update_count_incremental: 0,
    };
    serde_json::to_vec(&document).map(Bytes::from).map_err(|error| error.to_string())
}

fn refused(status: StatusCode) -> Failure {
    let status = status.as_u16();
    let advice = match status {
        300..=399 => "it has moved: set upload.url to where it is now",
        401 | 403 => "check upload.api_key_file",
        404 | 405 => "check upload.url, to which /v1/rgs/snapshot/0 is appended",
        413 => "it must accept some 4 bytes for each byte of a snapshot",
        415 | 422 => "check upload.format",
        _ => "the receiver has trouble of its own",
    };
    Failure { trouble: format!("the receiver refuses them (HTTP {status}): {advice}"), mistake: is_mistake(status) }
}

/// What went wrong, without the layers between.
fn plain(error: reqwest::Error) -> String {
    let late = error.is_timeout();
    let error = anyhow::Error::new(error.without_url());
    match late {
        true => "the receiver does not answer in time".to_owned(),
        false => format!("the receiver cannot be reached: {}", error.root_cause()),
    }
}
