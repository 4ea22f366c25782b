//! The status page: what `/status.json` tells, for people.
//!
//! Owns its looks and words. Promises that it asks for nothing from anywhere else, that it is whole without JavaScript,
//! and that nothing it is told (a peer's address, an error's text) becomes markup: the template escapes, and the policy
//! that goes with it lets no other script or style in than the two of this directory, by their hashes.

mod chart;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use askama::Template;
use bitcoin::hashes::{Hash, sha256};
use openssl::base64;

use super::Status;
use crate::gossip::UnixMs;
use view::View;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// `Content-Security-Policy`. The picture is the icon, which is in the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| base64::encode_block(sha256::Hash::hash(text.as_bytes()).as_byte_array());
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE),
    )
});

/// Which page it is: one that updates itself begins anew when the server has got another.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let parts = [env!("CARGO_PKG_VERSION"), STYLE, SCRIPT].concat();
    sha256::Hash::hash(parts.as_bytes()).to_string().split_off(52)
});

#[derive(Template)]
#[template(path = "page.html", config = "src/http/page/askama.toml")]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    build: &'a str,
    status: &'a Status,
    view: View,
}

/// The page, as of `now`.
pub(super) fn render(status: &Status, now: UnixMs) -> Result<String, askama::Error> {
    Page { style: STYLE, script: SCRIPT, build: &BUILD, status, view: View::of(status, now) }.render()
}
