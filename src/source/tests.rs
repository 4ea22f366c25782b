//! Files, standard input's word, and servers of every temper on the loopback address.

use std::io::Write;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Small, so that tests need not be large.
const SMALL: Limits = Limits { bytes: 1000, silence: Duration::from_millis(500), patience: Duration::from_secs(20) };

fn source(text: &str) -> Source {
    text.parse().expect("a source")
}

async fn open(source: &Source) -> anyhow::Result<Opened> {
    find(source, SMALL).await?.read(SMALL.bytes)
}

async fn open_file(content: &[u8]) -> (String, anyhow::Result<Opened>) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(content).expect("written");
    let path = file.path().to_str().expect("text").to_owned();
    let opened = open(&source(&path)).await;
    (path, opened)
}

/// What went wrong, in one sentence, with this in it.
fn refused(opened: anyhow::Result<Opened>, words: &[&str]) {
    let error = format!("{:#}", opened.expect_err("refused"));
    for word in words {
        assert!(error.contains(word), "{word:?} is missing: {error}");
    }
    assert!(!error.contains('\n'));
}

#[test]
fn words_of_the_command_line() {
    assert_eq!(source("-"), Source::Local(recording::Source::Stdin));
    assert_eq!(source("a/0"), Source::Local("a/0".to_owned().into()));
    assert_eq!(source("HTTP://h/0").to_string(), "http://h/0");
    for word in ["", "http://", "https://["] {
        assert!(word.parse::<Source>().is_err(), "{word}");
    }
}

#[tokio::test]
async fn a_file_is_read_packed_or_not() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"content").expect("written");
    let zstd = zstd::encode_all(&b"content"[..], 1).expect("packed");
    let packed = [
        (b"content".to_vec(), None, ""),
        (gzip.finish().expect("packed"), Some(Packing::Gzip), " (unpacked from gzip)"),
        (zstd, Some(Packing::Zstd), " (unpacked from zstd)"),
    ];
    for (bytes, packing, said) in packed {
        let (path, opened) = open_file(&bytes).await;
        let opened = opened.expect("readable");
        assert_eq!((&opened.bytes[..], opened.packed), (&b"content"[..], packing));
        assert_eq!(opened.place(), format!("{path}{said}"));
    }
}

#[tokio::test]
async fn files_that_cannot_be_read() {
    refused(open(&source("/no/such/file")).await, &["cannot read /no/such/file", "No such file"]);
    refused(open(&source("/tmp")).await, &["cannot read /tmp", "it is a directory"]);
    let (path, opened) = open_file(&[0; 1001]).await;
    refused(opened, &[&path, "larger than 1000 bytes"]);
    let (path, opened) = open_file(&[0x1f, 0x8b, 9]).await;
    refused(opened, &[&path, "packed as gzip"]);
    // 10 MB of zeros in some 300 bytes.
    let bomb = zstd::encode_all(&vec![0; 10_000_000][..], 19).expect("packed");
    let (path, opened) = open_file(&bomb).await;
    refused(opened, &[&path, "larger than 1000 bytes"]);
    refused(open(&source("/dev/zero")).await, &["cannot read /dev/zero", "it is larger"]);
}

/// Serves until the test ends.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    });
    format!("http://{address}")
}

async fn get_from(base: &str, path: &str) -> anyhow::Result<Opened> {
    open(&source(&format!("{base}{path}"))).await
}

#[tokio::test]
async fn a_server_of_whatever_make() {
    let both = Router::new().route("/v2/snapshot/0", get("two")).route("/snapshot/0", get("one"));
    let old = Router::new()
        .route("/snapshot/0", get("one"))
        .route("/moved/0", get(async || Redirect::permanent("/snapshot/0")))
        .route("/round/0", get(async || Redirect::permanent("/round/0")));
    let (both, old) = (serve(both).await, serve(old).await);
    for (base, path, body, found) in [
        (&both, "", "two", "/v2/snapshot/0"),
        (&both, "/snapshot/", "one", "/snapshot/0"),
        (&old, "/", "one", "/snapshot/0"),
        (&old, "/moved", "one", "/moved/0"),
    ] {
        let opened = get_from(base, path).await.expect("a body");
        assert_eq!((&opened.bytes[..], opened.name), (body.as_bytes(), format!("{base}{found}")));
    }
    refused(get_from(&old, "/round").await, &["/round/0: the server sends us on and on"]);
    refused(get_from(&old, "/other").await, &[&old, "/other/0: the server answers 404 Not Found; is it the URL"]);
}

#[tokio::test]
async fn servers_that_have_nothing_or_too_much() {
    let router = Router::new()
        .route("/busy/0", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/large/0", get(async || vec![0_u8; 1001]))
        .route("/silent/0", get(async || std::future::pending::<()>().await))
        .route("/missing", get(async || StatusCode::NOT_FOUND));
    let base = serve(router).await;
    refused(get_from(&base, "").await, &[&base, "/snapshot/0: the server answers 404"]);
    refused(get_from(&base, "/busy").await, &["/busy/0: the server answers 503 Service Unavailable; it may have no"]);
    refused(get_from(&base, "/large").await, &["/large/0: it is larger than 1000 bytes"]);
    refused(get_from(&base, "/silent").await, &["/silent/0: the server takes too long: nothing for 500ms"]);
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_need_be() {
    let (base, sent) = speaks("HTTP/1.1 200 OK\r\n\r\n", true).await;
    refused(get_from(&base, "/0").await, &[&base, "/0: it is larger than 1000 bytes"]);
    assert!(sent.await.expect("it ends, because nobody listens any more") < 100 << 20);
}

/// A server that answers one request with these words, and then with zeros if it is `endless`. Its address, and how
/// many bytes it got rid of.
async fn speaks(words: &'static str, endless: bool) -> (String, tokio::task::JoinHandle<usize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let sent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        // It may be in a hurry, but it has asked for something by the time it gets an answer.
        let _ = stream.read(&mut [0; 4096]).await;
        let mut sent = 0;
        let mut bytes = words.as_bytes();
        while stream.write_all(bytes).await.is_ok() {
            sent += bytes.len();
            if !endless {
                break;
            }
            bytes = &[0; 4096];
        }
        sent
    });
    (base, sent)
}

#[tokio::test]
async fn servers_that_break_off_or_are_not_there() {
    let (base, _) = speaks("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nLDK", false).await;
    refused(get_from(&base, "/0").await, &[&base, "/0: the answer breaks off"]);
    let (base, _) = speaks("SSH-2.0-OpenSSH_9.2\r\n", false).await;
    refused(get_from(&base, "/0").await, &[&base, "/0: cannot fetch it"]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    refused(get_from(&base, "/0").await, &[&base, "cannot connect: Connection refused"]);
}

#[tokio::test]
async fn a_body_with_a_content_encoding_that_nobody_asked_for() {
    let body = zstd::encode_all(&b"content"[..], 1).expect("packed");
    let answer = async move || ([(header::CONTENT_ENCODING, "zstd")], body.clone()).into_response();
    let base = serve(Router::new().route("/0", get(answer))).await;
    let opened = get_from(&base, "/0").await.expect("a body");
    assert_eq!((&opened.bytes[..], opened.packed), (&b"content"[..], Some(Packing::Zstd)));
}
