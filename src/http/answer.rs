//! From a request to its answer: methods, headers, bodies.
//!
//! Browsers may read every answer (CORS): wallets in web pages fetch snapshots from other origins. Whatever is not
//! a snapshot must not be stored by caches.

use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use super::App;
use super::metrics::{Answered, Encoding};
use super::path::{Ask, Route, route};

/// When to ask again for the first snapshot: a sync is a matter of minutes, and a wallet's user waits.
const RETRY_AFTER_SECONDS: &str = "10";

const METHODS: &str = "GET, HEAD, OPTIONS";
/// As Prometheus has it.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
rgsd, a Rapid Gossip Sync server

/snapshot/{timestamp}     for a wallet that last synced at the timestamp (0: never), format 1
/v2/snapshot/{timestamp}  the same, format 2
/status.json              the state of this server
/metrics                  the same in numbers, for Prometheus
/healthz                  whether it is alive
/readyz                   whether it has a snapshot
";

/// Everything under one handler: which path means what is decided in one pure function, not by a router.
pub(super) fn router(app: App) -> Router {
    Router::new().fallback(answer).with_state(app)
}

async fn answer(State(app): State<App>, method: Method, uri: Uri) -> Response {
    let started = Instant::now();
    let route = route(uri.path(), app.network);
    let response = respond(&app, &method, route).await;
    let bytes = if method == Method::HEAD { 0 } else { response.body().size_hint().exact().unwrap_or(0) };
    let status = response.status().as_u16();
    let (shape, encoding, took) = ((&route).into(), Encoding::Identity, started.elapsed());
    app.metrics.answered(&Answered { shape, status, encoding, bytes, took });
    tracing::debug!(%method, path = uri.path(), status, "answered");
    response
}

async fn respond(app: &App, method: &Method, route: Route) -> Response {
    match *method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return preflight(),
        _ if route == Route::Unknown => {}
        _ => {
            let refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
            return with(refused, header::ALLOW, METHODS);
        }
    }
    match route {
        Route::Index => text(StatusCode::OK, INDEX),
        Route::Alive => text(StatusCode::OK, "ok\n"),
        Route::Ready if app.desk.is_ready() => text(StatusCode::OK, "ready\n"),
        Route::Ready => not_yet(),
        Route::Status => status(app),
        Route::Metrics => metrics(app),
        Route::Snapshot(ask) => snapshot(app, ask).await,
        Route::NotANumber => text(
            StatusCode::BAD_REQUEST,
            "the last part must be the time of the last sync in unix seconds, or 0: a whole number, nothing else\n",
        ),
        Route::Unknown => text(StatusCode::NOT_FOUND, "no such page; / names those that there are\n"),
    }
}

/// What a wallet gets that last synced at `ask.last_sync`.
async fn snapshot(app: &App, ask: Ask) -> Response {
    let bytes = app.desk.answer(ask.last_sync, ask.version, app.clock.now().secs()).await;
    bytes.map_or_else(not_yet, |bytes| whole(StatusCode::OK, "application/octet-stream", bytes))
}

fn status(app: &App) -> Response {
    let mut status = app.status.status();
    status.ready = app.desk.is_ready();
    match serde_json::to_vec(&status) {
        Ok(json) => no_store(whole(StatusCode::OK, "application/json", json.into())),
        Err(error) => {
            tracing::error!(%error, "cannot write the status as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be told; the log says why\n")
        }
    }
}

fn metrics(app: &App) -> Response {
    let mut status = app.status.status();
    let served = app.desk.latest();
    status.ready = served.is_some();
    let text = app.metrics.render(&status, served.as_ref().map(|served| &served.snapshot));
    no_store(whole(StatusCode::OK, METRICS, text.into()))
}

fn not_yet() -> Response {
    let sorry = text(StatusCode::SERVICE_UNAVAILABLE, "no snapshot yet: still syncing; ask again soon\n");
    with(sorry, header::RETRY_AFTER, RETRY_AFTER_SECONDS)
}

/// The answer to a browser's question whether it may ask (Fetch standard, "CORS-preflight request").
fn preflight() -> Response {
    let mut response = whole(StatusCode::NO_CONTENT, TEXT, Bytes::new());
    // RFC 9110 8.6: no length with 204.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().remove(header::CONTENT_TYPE);
    let response = with(response, header::ALLOW, METHODS);
    let response = with(response, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let response = with(response, header::ACCESS_CONTROL_ALLOW_HEADERS, "*");
    with(response, header::ACCESS_CONTROL_MAX_AGE, "86400")
}

fn text(status: StatusCode, line: &'static str) -> Response {
    no_store(whole(status, TEXT, Bytes::from_static(line.as_bytes())))
}

/// A whole answer, its length declared; for HEAD, the body is left out further down, and the length stays.
fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    let response = with(response, header::CONTENT_TYPE, content_type);
    let response = with(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    with(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, "*")
}

fn no_store(response: Response) -> Response {
    with(response, header::CACHE_CONTROL, "no-store")
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
