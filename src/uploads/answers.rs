//! What a bucket answers, bounded: the library reads it whole, and makes room for as much as was announced.

use std::fmt;
use std::pin::Pin;

use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

/// An error is a few hundred bytes of XML, a manifest that names what was left out some thousand.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Connects as the library does by itself; no answer is longer than [`MOST_BYTES`].
#[derive(Debug)]
pub(super) struct Bounding;

impl HttpConnector for Bounding {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        ReqwestConnector::default().connect(options).map(|client| HttpClient::new(Bounded(client)))
    }
}

#[derive(Debug)]
struct Bounded(HttpClient);

impl HttpService for Bounded {
    // As `async_trait` writes it.
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { self.0.execute(request).await.map(bounded) })
    }
}

fn bounded(response: HttpResponse) -> HttpResponse {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast::<HttpError>() {
        Ok(error) => *error,
        Err(_) => HttpError::new(HttpErrorKind::Decode, TooLong),
    };
    response.map(|body| HttpResponseBody::new(Limited::new(body, MOST_BYTES).map_err(failed)))
}

#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it answers with more than an S3 service has to say")
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_cut_off() {
        let answer = |len| bounded(HttpResponse::new(vec![b'x'; len].into())).into_body().bytes();
        assert_eq!(answer(MOST_BYTES).await.expect("short enough").len(), MOST_BYTES);
        let error = answer(MOST_BYTES + 1).await.expect_err("too long");
        assert!(error.to_string().contains("more than an S3 service"), "{error}");
    }
}
