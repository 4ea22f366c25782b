//! Where published snapshots go beside `data_dir`: a bucket, a receiver of uploads. What each is, and how it is read
//! from a text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::Config;
use super::sources::Said;
use crate::text::choose;

/// A bucket that speaks S3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3 {
    pub bucket: String,
    /// What the objects' names begin with: no slash at either end.
    pub prefix: Option<String>,
    /// `None` for AWS's own.
    pub endpoint: Option<Endpoint>,
    pub region: String,
    pub access_key_id: Option<String>,
    /// Read at each use. `None`, as the id: whatever the machine's surroundings give, such as an instance's role.
    pub secret_access_key_file: Option<PathBuf>,
    /// Whether the bucket's name stands in the path, or in the host's name; `None`: where there is an endpoint.
    pub path_style: Option<bool>,
    /// Whether an endpoint may be spoken to unencrypted that is not on this machine.
    pub allow_http: bool,
}

impl S3 {
    /// A bucket, and otherwise the defaults.
    pub fn new(bucket: String) -> Self {
        Self {
            bucket,
            prefix: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            access_key_id: None,
            secret_access_key_file: None,
            path_style: None,
            allow_http: false,
        }
    }

    /// Whether the bucket's name stands in the path.
    pub fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

/// A receiver of uploads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    pub url: Endpoint,
    /// Read at each use.
    pub api_key_file: Option<PathBuf>,
    pub format: UploadFormat,
    /// Whether a receiver may be spoken to unencrypted that is not on this machine.
    pub allow_http: bool,
}

impl Upload {
    /// A receiver, and otherwise the defaults.
    pub fn new(url: Endpoint) -> Self {
        Self { url, api_key_file: None, format: UploadFormat::Json, allow_http: false }
    }
}

/// How a snapshot is uploaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadFormat {
    /// Version 1 and its counts in a JSON document.
    Json,
    /// The bytes as they are, of either version.
    Raw,
}

/// The beginning of an `http://` or `https://` URL, without a slash at its end, and with nothing secret in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether what is sent there can be read on the way: plain HTTP to another machine.
    fn is_exposed(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let here = address.map_or(host == "localhost", |address| address.is_loopback());
        self.0.scheme() == "http" && !here
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads an endpoint.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let expected = "expected a URL such as https://uploads.example.com";
    let url = Url::parse(text).map_err(|error| format!("{expected} ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(expected.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{expected}, without a user or password: secrets are read from files"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected}, without ? or #"));
    }
    Ok(Endpoint(url))
}

/// Names of buckets are short and plain; what exactly is allowed differs from service to service.
pub(super) fn parse_bucket(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.len() {
        1..=255 if text.chars().all(plain) => Ok(text.to_owned()),
        _ => Err("expected a bucket's name, such as my-wallets: letters, digits, dots and hyphens".to_owned()),
    }
}

/// What the objects' names begin with.
pub(super) fn parse_prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_matches('/');
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '=');
        !matches!(part, "" | "." | "..") && part.chars().all(allowed)
    };
    match prefix.split('/').all(plain) && prefix.len() <= 512 {
        true => Ok(prefix.to_owned()),
        false => Err("expected what names begin with, such as wallets/mainnet: letters, digits and . - _ =, \
                      between slashes"
            .to_owned()),
    }
}

/// A word without spaces, such as a region or a key's id.
pub(super) fn parse_word(text: &str) -> Result<String, String> {
    let good = (1..=256).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err("expected one word".to_owned()) }
}

pub(super) fn parse_upload_format(text: &str) -> Result<UploadFormat, String> {
    choose(text, &[("json", UploadFormat::Json), ("raw", UploadFormat::Raw)])
}

/// What no key can judge alone.
pub(super) fn check(config: &Config, said: &BTreeMap<&'static str, Said>, mistakes: &mut Vec<String>) {
    for (section, first, variable) in
        [("s3.", "s3.bucket", "RGSD_S3_BUCKET"), ("upload.", "upload.url", "RGSD_UPLOAD_URL")]
    {
        if said.contains_key(first) {
            continue;
        }
        for (name, said) in said.iter().filter(|(name, _)| name.starts_with(section)) {
            let place = &said.origin;
            mistakes.push(format!(
                "{name} ({place}) is set, but {first} is not: set that, too (in the file, or as {variable})"
            ));
        }
    }
    let exposed = |endpoint: &Endpoint, allowed: bool, key: &str, allow: &str| {
        (endpoint.is_exposed() && !allowed).then(|| {
            format!("{key} = \"{endpoint}\" sends credentials unencrypted: use https://, or set {allow} on a private network")
        })
    };
    if let Some(s3) = &config.s3 {
        let endpoint = s3.endpoint.as_ref();
        mistakes
            .extend(endpoint.and_then(|endpoint| exposed(endpoint, s3.allow_http, "s3.endpoint", "s3.allow_http")));
        match (&s3.access_key_id, &s3.secret_access_key_file) {
            (Some(_), None) => mistakes.push(lonely("s3.access_key_id", "s3.secret_access_key_file")),
            (None, Some(_)) => mistakes.push(lonely("s3.secret_access_key_file", "s3.access_key_id")),
            _ => {}
        }
    }
    if let Some(upload) = &config.upload {
        mistakes.extend(exposed(&upload.url, upload.allow_http, "upload.url", "upload.allow_http"));
    }
}

fn lonely(set: &str, missing: &str) -> String {
    format!("{set} is set, but {missing} is not: set both, or neither to use the machine's own role")
}
