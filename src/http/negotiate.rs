//! Which content coding a client gets (RFC 9110, 12.5.3): of those that it accepts and that are ready, the one that it
//! likes best; of those that it likes as well, the shortest.

use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

use crate::snapshot::{Body, Coding, Variant};

/// What a client makes of each coding: a weight in thousandths, 0 for not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Accepted {
    codings: [u16; Coding::ALL.len()],
    identity: u16,
}

/// No header has more that is worth reading.
const MOST_ELEMENTS: usize = 32;
const WHOLE: u16 = 1_000;

impl Accepted {
    /// Who says nothing gets the bytes as they are: that a client takes everything is a rule that wallets do not know of.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut weights = Weights::default();
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).take(MOST_ELEMENTS).for_each(|element| weights.note(element));
        let others = weights.others.unwrap_or(0);
        Self {
            codings: weights.codings.map(|weight| weight.unwrap_or(others)),
            // Acceptable unless excluded, but anything named is liked better.
            identity: weights.identity.unwrap_or(if weights.others == Some(0) { 0 } else { 1 }),
        }
    }

    /// What of a body the client gets: a coding that is ready, or the bytes as they are, also where these are not
    /// acceptable: a wallet that says so is better served than refused.
    pub fn choose(self, body: &Body) -> (Option<Coding>, &Variant) {
        let ready = self.liked().filter_map(|(weight, coding)| Some((weight, coding, body.coded(coding)?)));
        let best = ready.max_by_key(|(weight, _, coded)| (*weight, std::cmp::Reverse(coded.bytes.len())));
        match best {
            Some((_, coding, coded)) => (Some(coding), coded),
            None => (None, body.identity()),
        }
    }

    /// The coding that the client likes best, ready or not.
    pub fn favourite(self) -> Option<Coding> {
        self.liked()
            .max_by_key(|(weight, coding)| (*weight, std::cmp::Reverse(*coding as u8)))
            .map(|(_, coding)| coding)
    }

    /// Codings that the client does not like less than the bytes as they are.
    fn liked(self) -> impl Iterator<Item = (u16, Coding)> {
        let weights = Coding::ALL.into_iter().map(move |coding| (self.codings[coding as usize], coding));
        weights.filter(move |(weight, _)| *weight > 0 && *weight >= self.identity)
    }
}

/// What was said of each; the first word counts.
#[derive(Default)]
struct Weights {
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    /// Of `*`.
    others: Option<u16>,
}

impl Weights {
    /// Notes an element such as `br;q=0.8`. What is malformed, or unknown, says nothing.
    fn note(&mut self, element: &str) {
        let (name, parameter) = element.split_once(';').unwrap_or((element, "q=1"));
        let Some(weight) = weight(parameter) else { return };
        let is = |known: &str| name.trim().eq_ignore_ascii_case(known);
        let slot = match () {
            () if is("*") => &mut self.others,
            () if is("identity") => &mut self.identity,
            // RFC 9110, 8.4.1.3: an old name.
            () if is("x-gzip") => &mut self.codings[Coding::Gzip as usize],
            () => match Coding::ALL.into_iter().find(|coding| is(coding.name())) {
                Some(coding) => &mut self.codings[coding as usize],
                None => return,
            },
        };
        slot.get_or_insert(weight);
    }
}

/// In thousandths, of `q=0.123` (RFC 9110, 12.4.2).
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !name.trim().eq_ignore_ascii_case("q") || !digits {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
