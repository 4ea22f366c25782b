//! From a request to its answer: methods, headers, bodies.
//!
//! Browsers may read every answer (CORS): wallets in web pages fetch snapshots from other origins. Caches may keep
//! snapshots until the next epoch; whatever else there is must not be stored.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use headers::HeaderMapExt;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::conditions::{Verdict, judge};
use super::metrics::Answered;
use super::negotiate::Accepted;
use super::page;
use super::path::{Ask, Route, route};
use super::{App, Status};
use crate::snapshot::{Coding, Variant};

/// When to ask again for the first snapshot: a sync is a matter of minutes, and a wallet's user waits.
const RETRY_AFTER_SECONDS: &str = "10";
/// For how long caches may hold an answer for which there is soon a shorter one.
const STOPGAP_S: u32 = 5;
/// For how long caches may go on with what they have if this server is away: it is as right as it was.
const STALE_IF_ERROR_S: u32 = 3_600;

const METHODS: &str = "GET, HEAD, OPTIONS";
/// As Prometheus has it.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A whole answer, its length known.
pub(super) type Answer = Response<Bytes>;

/// Answers a request. Which path means what is decided in one pure function, not by a router.
pub(super) async fn answer<B>(app: Arc<App>, request: Request<B>) -> Result<Answer, Infallible> {
    let started = Instant::now();
    let (method, path) = (request.method(), request.uri().path());
    let route = route(path, app.network);
    let mut response = respond(&app, method, route, request.headers()).await;
    if method == Method::HEAD {
        response.body_mut().clear(); // the length that was declared stays
    }
    let status = response.status().as_u16();
    let bytes = response.body().len() as u64;
    let (shape, encoding, took) = ((&route).into(), encoding(&response), started.elapsed());
    app.metrics.answered(&Answered { shape, status, encoding, bytes, took });
    tracing::debug!(%method, path, status, "answered");
    Ok(response)
}

fn encoding(response: &Answer) -> Option<Coding> {
    let name = response.headers().get(header::CONTENT_ENCODING)?;
    Coding::ALL.into_iter().find(|coding| name == coding.name())
}

async fn respond(app: &App, method: &Method, route: Route, headers: &HeaderMap) -> Answer {
    match *method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return preflight(headers),
        _ if route == Route::Unknown => {}
        _ => {
            let refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            return with(refused, header::ALLOW, METHODS);
        }
    }
    match route {
        Route::Index => status_page(app),
        Route::Alive => text(StatusCode::OK, "ok\n"),
        Route::Ready if app.desk.is_ready() => text(StatusCode::OK, "ready\n"),
        Route::Ready => not_yet(),
        Route::Status => status(app),
        Route::Metrics => metrics(app),
        Route::Snapshot(ask) => snapshot(app, ask, method, headers).await,
        Route::NotANumber => text(
            StatusCode::BAD_REQUEST,
            "the last part must be the time of the last sync in unix seconds, or 0: a whole number, nothing else\n",
        ),
        Route::Unknown => text(StatusCode::NOT_FOUND, "no such page; / names those that there are\n"),
    }
}

/// What a wallet gets that last synced at `ask.last_sync`.
async fn snapshot(app: &App, ask: Ask, method: &Method, headers: &HeaderMap) -> Answer {
    let now_s = app.clock.now().secs();
    let Some(answer) = app.desk.answer(ask.last_sync, ask.version, now_s).await else { return not_yet() };
    let accepted = Accepted::of(headers);
    let is_to_come = accepted.favourite().is_some_and(|coding| app.desk.want(&answer, coding));
    let (coding, variant) = accepted.choose(&answer.body);
    let length = variant.bytes.len();
    // Tags are visible ASCII.
    let tag = std::str::from_utf8(&variant.tag).unwrap_or_default();
    let mut response = match judge(headers, *method == Method::GET, tag, answer.epoch, length) {
        Verdict::Whole => whole(StatusCode::OK, "application/octet-stream", variant.bytes.clone()),
        Verdict::Part(range) => {
            let held = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let part = variant.bytes.slice(range);
            let part = whole(StatusCode::PARTIAL_CONTENT, "application/octet-stream", part);
            with_text(part, header::CONTENT_RANGE, held)
        }
        Verdict::Unchanged => bare(StatusCode::NOT_MODIFIED),
        Verdict::Refused => return text(StatusCode::PRECONDITION_FAILED, "there are other bytes by now\n"),
        Verdict::Beyond => {
            let refused = text(StatusCode::RANGE_NOT_SATISFIABLE, "the answer has no such bytes\n");
            return with_text(refused, header::CONTENT_RANGE, format!("bytes */{length}"));
        }
    };
    let kept_s = kept_s(answer.next_cut, answer.epoch, now_s);
    let kept_s = if is_to_come || answer.stopgap { kept_s.min(STOPGAP_S) } else { kept_s };
    describe(response.headers_mut(), answer.epoch, kept_s, coding, variant);
    response
}

/// Until the next epoch; by a clock that is behind the served one's, for no longer than from there.
pub(super) fn kept_s(next_cut: Option<u32>, epoch: u32, now_s: u32) -> u32 {
    next_cut.map_or(0, |next| next.saturating_sub(now_s.max(epoch)))
}

/// What caches and returning clients need to know.
fn describe(headers: &mut HeaderMap, epoch: u32, kept_s: u32, coding: Option<Coding>, variant: &Variant) {
    let kept = format!("public, max-age={kept_s}, stale-if-error={STALE_IF_ERROR_S}");
    insert_text(headers, header::CACHE_CONTROL, kept);
    insert_text(headers, header::ETAG, variant.tag.clone());
    headers.typed_insert(headers::LastModified::from(UNIX_EPOCH + Duration::from_secs(epoch.into())));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
}

/// For people; what goes with it lets nothing in from elsewhere, and nobody frame it.
fn status_page(app: &App) -> Answer {
    let page = match page::render(&status_of(app), app.clock.now()) {
        Ok(page) => page,
        Err(error) => {
            tracing::error!(%error, "cannot write the status page");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written; the log says why\n");
        }
    };
    let mut response = no_store(whole(StatusCode::OK, "text/html; charset=utf-8", page.into()));
    if let Ok(policy) = HeaderValue::from_str(&page::POLICY) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let response = with(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    with(response, header::REFERRER_POLICY, "no-referrer")
}

fn status_of(app: &App) -> Status {
    let mut status = app.status.status();
    status.ready = app.desk.is_ready();
    status
}

fn status(app: &App) -> Answer {
    match serde_json::to_vec(&status_of(app)) {
        Ok(json) => no_store(whole(StatusCode::OK, "application/json", json.into())),
        Err(error) => {
            tracing::error!(%error, "cannot write the status as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be told; the log says why\n")
        }
    }
}

fn metrics(app: &App) -> Answer {
    let text = app.metrics.render(&status_of(app));
    no_store(whole(StatusCode::OK, METRICS, text.into()))
}

fn not_yet() -> Answer {
    let sorry = text(StatusCode::SERVICE_UNAVAILABLE, "no snapshot yet: still syncing; ask again soon\n");
    with(sorry, header::RETRY_AFTER, RETRY_AFTER_SECONDS)
}

/// The answer to a browser's question whether it may ask (Fetch standard, "CORS-preflight request").
fn preflight(headers: &HeaderMap) -> Answer {
    let response = with(bare(StatusCode::NO_CONTENT), header::ALLOW, METHODS);
    let response = with(response, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let mut response = with(response, header::ACCESS_CONTROL_MAX_AGE, "86400");
    // `*` does not stand for Authorization: what is asked for is said back.
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let allowed = asked.unwrap_or(HeaderValue::from_static("*"));
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    with(response, header::VARY, "access-control-request-headers")
}

fn text(status: StatusCode, line: &'static str) -> Answer {
    no_store(whole(status, TEXT, Bytes::from_static(line.as_bytes())))
}

/// A whole answer, its length declared.
fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let length = HeaderValue::from(body.len());
    let mut response = bare(status);
    *response.body_mut() = body;
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    with(response, header::CONTENT_TYPE, content_type)
}

/// An answer without a body, which browsers may read.
fn bare(status: StatusCode) -> Answer {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let response = with(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    with(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, "*")
}

fn no_store(response: Answer) -> Answer {
    with(response, header::CACHE_CONTROL, "no-store")
}

fn with(mut response: Answer, name: HeaderName, value: &'static str) -> Answer {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn with_text(mut response: Answer, name: HeaderName, value: String) -> Answer {
    insert_text(response.headers_mut(), name, value);
    response
}

/// Of text that we made, which is visible ASCII.
fn insert_text(headers: &mut HeaderMap, name: HeaderName, value: impl Into<Bytes>) {
    if let Ok(value) = HeaderValue::from_maybe_shared(value.into()) {
        headers.insert(name, value);
    }
}
