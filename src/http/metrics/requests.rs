//! What is counted of every request. Nothing is looked up, hashed or allocated for it but once for each series.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusRecorder;

use super::super::path::Route;
use super::list::LIST;
use crate::snapshot::{Coding, Version};

/// What was asked for: a closed set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Page,
    Status,
    Metrics,
    Alive,
    Ready,
    SnapshotV1,
    SnapshotV2,
    NotANumber,
    Unknown,
}

impl Shape {
    /// Every shape, in the order of their declaration.
    pub const ALL: [Shape; 9] = [
        Shape::Page,
        Shape::Status,
        Shape::Metrics,
        Shape::Alive,
        Shape::Ready,
        Shape::SnapshotV1,
        Shape::SnapshotV2,
        Shape::NotANumber,
        Shape::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Page => "page",
            Shape::Status => "status",
            Shape::Metrics => "metrics",
            Shape::Alive => "alive",
            Shape::Ready => "ready",
            Shape::SnapshotV1 => "snapshot_v1",
            Shape::SnapshotV2 => "snapshot_v2",
            Shape::NotANumber => "not_a_number",
            Shape::Unknown => "unknown",
        }
    }
}

impl From<&Route> for Shape {
    fn from(route: &Route) -> Self {
        match route {
            Route::Index => Shape::Page,
            Route::Status => Shape::Status,
            Route::Metrics => Shape::Metrics,
            Route::Alive => Shape::Alive,
            Route::Ready => Shape::Ready,
            Route::Snapshot(ask) => match ask.version {
                Version::V1 => Shape::SnapshotV1,
                Version::V2 => Shape::SnapshotV2,
            },
            Route::NotANumber => Shape::NotANumber,
            Route::Unknown => Shape::Unknown,
        }
    }
}

/// How many ways there are to encode a body: as it is, and every coding.
const ENCODINGS: usize = 1 + Coding::ALL.len();

/// The name of an encoding, as HTTP has it.
pub(super) fn encoding_name(encoding: Option<Coding>) -> &'static str {
    encoding.map_or("identity", Coding::name)
}

/// Every status that is answered with, and what stands for any other one.
const STATUSES: [(u16, &str); 13] = [
    (200, "200"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (400, "400"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (412, "412"),
    (416, "416"),
    (500, "500"),
    (503, "503"),
    (0, "other"),
];

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub shape: Shape,
    pub status: u16,
    /// How the body is encoded, if it is (`Content-Encoding`).
    pub encoding: Option<Coding>,
    /// Of the body.
    pub bytes: u64,
    /// Until the answer was ready to be sent.
    pub took: Duration,
}

/// The handles.
pub(super) struct Requests {
    /// By shape, status and encoding; made when first needed, because most of these never meet.
    counts: [[[OnceLock<::metrics::Counter>; ENCODINGS]; STATUSES.len()]; Shape::ALL.len()],
    seconds: [::metrics::Histogram; Shape::ALL.len()],
    bytes: [::metrics::Counter; Shape::ALL.len()],
}

impl Requests {
    pub fn new(recorder: &PrometheusRecorder) -> Self {
        let requests = Self {
            counts: Default::default(),
            seconds: Shape::ALL.map(|shape| LIST.rgsd_http_request_seconds.of(recorder, [shape.name()])),
            bytes: Shape::ALL.map(|shape| LIST.rgsd_http_response_bytes_total.of(recorder, [shape.name()])),
        };
        // A rate needs a zero to begin with, above all of what wallets get and of what must not happen.
        for shape in [Shape::SnapshotV1, Shape::SnapshotV2] {
            for status in [200, 500, 503] {
                requests.count(recorder, shape, status, None);
            }
        }
        requests
    }

    fn count(
        &self,
        recorder: &PrometheusRecorder,
        shape: Shape,
        status: u16,
        encoding: Option<Coding>,
    ) -> &::metrics::Counter {
        let place = STATUSES.iter().position(|(code, _)| *code == status).unwrap_or(STATUSES.len() - 1);
        self.counts[shape as usize][place][encoding.map_or(0, |coding| 1 + coding as usize)].get_or_init(|| {
            LIST.rgsd_http_requests_total.of(recorder, [shape.name(), STATUSES[place].1, encoding_name(encoding)])
        })
    }

    pub fn answered(&self, recorder: &PrometheusRecorder, answered: &Answered) {
        let Answered { shape, status, encoding, bytes, took } = *answered;
        self.count(recorder, shape, status, encoding).increment(1);
        self.bytes[shape as usize].increment(bytes);
        self.seconds[shape as usize].record(took.as_secs_f64());
    }
}
