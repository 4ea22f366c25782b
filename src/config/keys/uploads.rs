//! The keys of what published snapshots are uploaded to.

use super::super::uploads::{self, S3, Upload, UploadFormat};
use super::super::values;
use super::{Config, Key, Shape, Shown, one};

pub(super) const S3_BUCKET: Key = Key {
    name: "s3.bucket",
    value: "NAME",
    about: "A bucket that each published snapshot is uploaded to, for wallets to fetch from there or from a CDN",
    shape: Shape::One,
    secret: false,
    set: |config, texts| one(texts, uploads::parse_bucket, |bucket| config.s3 = Some(S3::new(bucket))),
    show: |config| of_s3(config, |s3| Some(s3.bucket.clone())),
};

pub(super) const S3_PREFIX: Key = Key {
    name: "s3.prefix",
    value: "PREFIX",
    about: "What the objects' names begin with, such as wallets/mainnet [default: none]",
    shape: Shape::One,
    secret: false,
    set: |config, texts| one(texts, uploads::parse_prefix, |prefix| s3(config, |s3| s3.prefix = Some(prefix))),
    show: |config| of_s3(config, |s3| s3.prefix.clone()),
};

pub(super) const S3_ENDPOINT: Key = Key {
    name: "s3.endpoint",
    value: "URL",
    about: "Where the bucket is, if not at AWS, such as https://s3.example.com",
    shape: Shape::One,
    secret: true,
    set: |config, texts| one(texts, uploads::parse_endpoint, |url| s3(config, |s3| s3.endpoint = Some(url))),
    show: |config| of_s3(config, |s3| s3.endpoint.as_ref().map(ToString::to_string)),
};

pub(super) const S3_REGION: Key = Key {
    name: "s3.region",
    value: "REGION",
    about: "The bucket's region, such as eu-central-1, or auto [default: us-east-1]",
    shape: Shape::One,
    secret: false,
    set: |config, texts| one(texts, uploads::parse_word, |region| s3(config, |s3| s3.region = region)),
    show: |config| of_s3(config, |s3| Some(s3.region.clone())),
};

pub(super) const S3_ACCESS_KEY_ID: Key = Key {
    name: "s3.access_key_id",
    value: "ID",
    about: "Whose key signs the uploads; without it, what the machine's surroundings give: AWS_ variables, the role of \
            an instance, task or pod",
    shape: Shape::One,
    secret: false,
    set: |config, texts| one(texts, uploads::parse_word, |id| s3(config, |s3| s3.access_key_id = Some(id))),
    show: |config| of_s3(config, |s3| s3.access_key_id.clone()),
};

pub(super) const S3_SECRET_ACCESS_KEY_FILE: Key = Key {
    name: "s3.secret_access_key_file",
    value: "FILE",
    about: "A file with the secret that belongs to it, read at each upload",
    shape: Shape::One,
    secret: false,
    set: |config, texts| {
        one(texts, values::parse_file, |file| s3(config, |s3| s3.secret_access_key_file = Some(file)))
    },
    show: |config| of_s3(config, |s3| s3.secret_access_key_file.as_ref().map(|file| file.display().to_string())),
};

pub(super) const S3_PATH_STYLE: Key = Key {
    name: "s3.path_style",
    value: "BOOL",
    about: "Whether the bucket's name stands in the path; if not, it stands in the host's name, and in s3.endpoint \
            where that is set [default with s3.endpoint: true] [default: false]",
    shape: Shape::Switch,
    secret: false,
    set: |config, texts| one(texts, values::parse_switch, |on| s3(config, |s3| s3.path_style = Some(on))),
    show: |config| of_s3(config, |s3| Some(s3.is_path_style().to_string())),
};

pub(super) const S3_ALLOW_HTTP: Key = Key {
    name: "s3.allow_http",
    value: "BOOL",
    about: "Allow an http:// endpoint that is not on this machine [default: false]",
    shape: Shape::Switch,
    secret: false,
    set: |config, texts| one(texts, values::parse_switch, |on| s3(config, |s3| s3.allow_http = on)),
    show: |config| of_s3(config, |s3| Some(s3.allow_http.to_string())),
};

pub(super) const UPLOAD_URL: Key = Key {
    name: "upload.url",
    value: "URL",
    about: "A receiver that each full snapshot is posted to, at URL/v1/rgs/snapshot/0",
    shape: Shape::One,
    secret: true,
    set: |config, texts| one(texts, uploads::parse_endpoint, |url| config.upload = Some(Upload::new(url))),
    show: |config| of_upload(config, |upload| Some(upload.url.to_string())),
};

pub(super) const UPLOAD_API_KEY_FILE: Key = Key {
    name: "upload.api_key_file",
    value: "FILE",
    about: "A file with what is sent as X-API-KEY, read at each upload",
    shape: Shape::One,
    secret: false,
    set: |config, texts| {
        one(texts, values::parse_file, |file| upload(config, |upload| upload.api_key_file = Some(file)))
    },
    show: |config| of_upload(config, |upload| upload.api_key_file.as_ref().map(|file| file.display().to_string())),
};

pub(super) const UPLOAD_FORMAT: Key = Key {
    name: "upload.format",
    value: "FORMAT",
    about: "json is version 1 and its counts in a JSON document, raw is the bytes of either version [default: json]",
    shape: Shape::One,
    secret: false,
    set: |config, texts| {
        one(texts, uploads::parse_upload_format, |format| upload(config, |upload| upload.format = format))
    },
    show: |config| {
        of_upload(config, |upload| {
            Some(match upload.format {
                UploadFormat::Json => "json".to_owned(),
                UploadFormat::Raw => "raw".to_owned(),
            })
        })
    },
};

pub(super) const UPLOAD_ALLOW_HTTP: Key = Key {
    name: "upload.allow_http",
    value: "BOOL",
    about: "Allow an http:// receiver that is not on this machine [default: false]",
    shape: Shape::Switch,
    secret: false,
    set: |config, texts| one(texts, values::parse_switch, |on| upload(config, |upload| upload.allow_http = on)),
    show: |config| of_upload(config, |upload| Some(upload.allow_http.to_string())),
};

/// Sets what belongs to a bucket. Where none is named, that is a mistake of its own.
fn s3(config: &mut Config, set: impl FnOnce(&mut S3)) {
    config.s3.as_mut().map(set);
}

fn upload(config: &mut Config, set: impl FnOnce(&mut Upload)) {
    config.upload.as_mut().map(set);
}

fn of_s3(config: &Config, show: fn(&S3) -> Option<String>) -> Shown {
    config.s3.as_ref().and_then(show).map_or(Shown::Unset, Shown::One)
}

fn of_upload(config: &Config, show: fn(&Upload) -> Option<String>) -> Shown {
    config.upload.as_ref().and_then(show).map_or(Shown::Unset, Shown::One)
}
