//! From a request to its answer: methods, headers, bodies.
//!
//! Browsers may read every answer (CORS): wallets in web pages fetch snapshots from other origins. Whatever is not
//! a snapshot must not be stored by caches.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use super::page;
use super::path::{Ask, Route, route};
use super::{App, Status};

/// When to ask again for the first snapshot: a sync is a matter of minutes, and a wallet's user waits.
const RETRY_AFTER_SECONDS: &str = "10";

const METHODS: &str = "GET, HEAD, OPTIONS";
const TEXT: &str = "text/plain; charset=utf-8";

/// Everything under one handler: which path means what is decided in one pure function, not by a router.
pub(super) fn router(app: App) -> Router {
    Router::new().fallback(answer).with_state(app)
}

async fn answer(State(app): State<App>, method: Method, uri: Uri) -> Response {
    let response = respond(&app, &method, uri.path()).await;
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), "answered");
    response
}

async fn respond(app: &App, method: &Method, path: &str) -> Response {
    let route = route(path, app.network);
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
        Route::Index => status_page(app),
        Route::Alive => text(StatusCode::OK, "ok\n"),
        Route::Ready if app.desk.is_ready() => text(StatusCode::OK, "ready\n"),
        Route::Ready => not_yet(),
        Route::Status => status(app),
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

/// For people; what goes with it lets nothing in from elsewhere, and nobody frame it.
fn status_page(app: &App) -> Response {
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

fn status(app: &App) -> Response {
    match serde_json::to_vec(&status_of(app)) {
        Ok(json) => no_store(whole(StatusCode::OK, "application/json", json.into())),
        Err(error) => {
            tracing::error!(%error, "cannot write the status as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be told; the log says why\n")
        }
    }
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
