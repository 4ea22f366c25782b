//! An answer's bytes on their way to the socket: a handle, passed on in parts where whoever takes them makes copies.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::connections::Line;

/// What an empty socket takes at once, and nobody can do harm with by not taking it.
const SMALL_BYTES: usize = 16 << 10;

/// A body of which no more than a part leaves at a time.
pub(super) struct Sending {
    rest: Bytes,
    part_bytes: usize,
}

impl Sending {
    /// What the line owes its client.
    pub fn new(bytes: Bytes, part_bytes: usize, line: &Arc<Line>) -> Self {
        let rest = if bytes.len() <= SMALL_BYTES { bytes } else { line.owes(bytes) };
        Self { rest, part_bytes }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.part_bytes.min(self.rest.len());
        let part = match self.rest.len() {
            0 => return Poll::Ready(None),
            all if all == length => std::mem::take(&mut self.rest),
            _ => self.rest.split_to(length),
        };
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::http::connections::Connections;

    #[tokio::test]
    async fn a_body_leaves_in_parts() {
        let place = Connections::new(crate::http::server::LIMITS).admit();
        let bytes: Bytes = (0..=99).collect::<Vec<u8>>().into();
        for (part_bytes, lengths) in [(usize::MAX, &[100][..]), (100, &[100]), (40, &[40, 40, 20]), (50, &[50, 50])] {
            let mut body = Sending::new(bytes.clone(), part_bytes, &place.line);
            let mut parts: Vec<Bytes> = Vec::new();
            while !body.is_end_stream() {
                parts.push(body.frame().await.expect("a part").expect("no error").into_data().expect("data"));
            }
            assert!(body.frame().await.is_none());
            assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), lengths);
            assert_eq!(parts.concat(), bytes);
        }
    }
}
