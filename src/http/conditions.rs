//! Conditional and range requests (RFC 9110, 13 and 14): whether a client gets a body, none, or a part of it.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use headers::{ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince};
use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

/// What becomes of a request for bytes that are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Whole,
    /// These bytes of it: 206.
    Part(Range<usize>),
    /// The client has them: 304.
    Unchanged,
    /// It wanted others: 412.
    Refused,
    /// It wants bytes beyond the end: 416.
    Beyond,
}

const CONDITIONS: [HeaderName; 5] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];

/// Of a request for `length` bytes with the strong entity tag `tag`, of the time `modified_s` in unix seconds. Only GET
/// knows `ranges`.
pub(super) fn judge(headers: &HeaderMap, ranges: bool, tag: &str, modified_s: u32, length: usize) -> Verdict {
    if !CONDITIONS.iter().any(|name| headers.contains_key(name)) {
        return Verdict::Whole;
    }
    let Ok(tag) = tag.parse::<ETag>() else { return Verdict::Whole };
    let modified = UNIX_EPOCH + Duration::from_secs(modified_s.into());
    // In the order of RFC 9110, 13.2.2.
    let matches = match (headers.typed_get::<IfMatch>(), headers.typed_get::<IfUnmodifiedSince>()) {
        (Some(wanted), _) => wanted.precondition_passes(&tag),
        (None, Some(since)) => since.precondition_passes(modified),
        (None, None) => true,
    };
    if !matches {
        return Verdict::Refused;
    }
    let has_changed = match (headers.typed_get::<IfNoneMatch>(), headers.typed_get::<IfModifiedSince>()) {
        (Some(known), _) => known.precondition_passes(&tag),
        (None, Some(since)) => since.is_modified(modified),
        (None, None) => true,
    };
    if !has_changed {
        return Verdict::Unchanged;
    }
    // A date is no strong validator: the same second's answer may have been in another coding. What cannot be read is of
    // none of these bytes.
    let is_of = |of: IfRange| !of.is_modified(Some(&tag), None);
    let is_of_these = !headers.contains_key(header::IF_RANGE) || headers.typed_get().is_some_and(is_of);
    if ranges && is_of_these { part(headers, length) } else { Verdict::Whole }
}

/// One range (`headers::Range` would refuse a suffix that is longer than the body); whoever asks for several, or for
/// something else than bytes, gets all.
fn part(headers: &HeaderMap, length: usize) -> Verdict {
    let Some(asked) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return Verdict::Whole };
    // Units are named in any case (RFC 9110, 14.1).
    let ranges = asked.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = ranges.and_then(|(_, ranges)| ranges.trim().split_once('-')) else {
        return Verdict::Whole;
    };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        true => Some(text.parse().unwrap_or(usize::MAX)),
        false => None,
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Verdict::Whole,
        (Some(first), _) if first >= length => Verdict::Beyond,
        (Some(first), Some(last)) => Verdict::Part(first..last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => Verdict::Part(first..length),
        (None, Some(0)) if first.is_empty() => Verdict::Beyond,
        (None, Some(last)) if first.is_empty() => Verdict::Part(length.saturating_sub(last)..length),
        _ => Verdict::Whole,
    }
}

#[cfg(test)]
mod tests;
