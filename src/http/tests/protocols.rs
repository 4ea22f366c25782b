//! What is spoken below HTTP's meaning: HTTP/2, TLS, and what is neither.

use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::*;

/// The body of a GET over HTTP/2, on a connection of its own.
async fn get_by_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, path: &str) -> (u16, Vec<u8>) {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut client, connection) = handshake.unwrap();
    let talk = tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://h{path}")).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes().to_vec();
    talk.abort();
    (status, body)
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let server = Server::start(PATIENT, Some(a_big_snapshot())).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (status, body) = get_by_http2(stream, "/snapshot/0").await;
    assert_eq!((status, body.len()), (200, BIG / 251 * 251), "beyond every window of flow control");
}

/// Flow control is the client's: one that asks for bytes and never takes them, and says all the while that it is there,
/// would hold them for as long as it likes.
#[tokio::test]
async fn who_takes_nothing_over_http2_is_let_go_whatever_it_says() {
    let limits = Limits { patience: Duration::from_millis(500), slowest_bytes_per_s: 16 << 20, ..PATIENT };
    let server = Server::start(limits, Some(a_big_snapshot())).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(hyper_util::rt::TokioTimer::new()).keep_alive_interval(Duration::from_millis(50));
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let request = hyper::Request::get("http://h/snapshot/0").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let talk = tokio::spawn(connection);
    let answer = client.send_request(request).await.unwrap();
    timeout(Duration::from_secs(30), talk).await.expect("let go").unwrap().unwrap_err();
    drop(answer);
}

#[tokio::test]
async fn half_closed_sockets_are_answered() {
    let server = Server::serving().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = Answer::read(&mut stream).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "one"));
}

#[tokio::test]
async fn a_head_may_have_so_much_and_no_more() {
    let server = Server::serving().await;
    let fits = server.ask(&format!("GET /snapshot/0 HTTP/1.1\r\nX-Long: {}", "x".repeat(8_000))).await;
    assert_eq!(fits.status, 200);
    for head in [
        format!("GET /snapshot/0 HTTP/1.1\r\nX-Long: {}", "x".repeat(64_000)),
        format!("GET /snapshot/0 HTTP/1.1{}", "\r\nX: y".repeat(200)),
        format!("GET /{} HTTP/1.1", "a".repeat(64_000)),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may hang up before it has read all of it.
        let _ = stream.write_all(format!("{head}\r\nHost: h\r\n\r\n").as_bytes()).await;
        let refused = timeout(Duration::from_secs(5), Answer::read(&mut stream)).await.expect("no waiting");
        assert!(refused.is_err() || [414, 431].contains(&refused.unwrap().status));
    }
    assert_eq!(server.get("/snapshot/0").await.text(), "one", "others are answered");
}

#[tokio::test]
async fn what_is_no_http_ends_its_own_connection_only() {
    let server = Server::serving().await;
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection ends");
        assert!(!rest.windows(4).any(|four| four == b" 200"), "and is told nothing");
    }
    assert_eq!(server.get("/snapshot/0").await.text(), "one");
}

/// A certificate of its own, for localhost.
fn certificate(serial: u32) -> (X509, PKey<Private>) {
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let mut name = openssl::x509::X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

fn write(folder: &TempDir, (certificate, key): &(X509, PKey<Private>)) -> TlsFiles {
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.cert, certificate.to_pem().unwrap()).unwrap();
    std::fs::write(&files.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    files
}

async fn connect(server: &Server, protocols: &[u8]) -> SslStream<TcpStream> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_alpn_protos(protocols).unwrap();
    let ssl = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
    let mut stream = SslStream::new(ssl, TcpStream::connect(server.address).await.unwrap()).unwrap();
    std::pin::Pin::new(&mut stream).connect().await.unwrap();
    stream
}

fn serial(stream: &SslStream<TcpStream>) -> String {
    stream.ssl().peer_certificate().unwrap().serial_number().to_bn().unwrap().to_dec_str().unwrap().to_string()
}

#[tokio::test]
async fn tls_speaks_both_versions_of_http_and_takes_up_a_new_certificate() {
    let folder = TempDir::new().unwrap();
    let files = write(&folder, &certificate(1));
    let tls = Tls::open(files).unwrap();
    let server = Server::start_with(PATIENT, Some(tls.clone()), Some(a_snapshot("one", "two!"))).await;

    let mut stream = connect(&server, b"\x08http/1.1").await;
    stream.write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");

    let stream = connect(&server, b"\x02h2\x08http/1.1").await;
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(serial(&stream), "1");
    assert_eq!(get_by_http2(stream, "/v2/snapshot/0").await, (200, b"two!".to_vec()));

    let other = certificate(2);
    std::fs::write(folder.path().join("cert.pem"), other.0.to_pem().unwrap()).unwrap();
    tls.reload();
    assert_eq!(serial(&connect(&server, b"\x02h2").await), "1", "half a change changes nothing");
    write(&folder, &other);
    tls.reload();
    assert_eq!(serial(&connect(&server, b"\x02h2").await), "2");
    assert_eq!(server.plain().await, None, "nobody is answered in cleartext");
}

/// Over TLS, a body leaves in parts.
#[tokio::test]
async fn a_big_body_is_whole_over_tls() {
    let folder = TempDir::new().unwrap();
    let tls = Tls::open(write(&folder, &certificate(1))).unwrap();
    let big = a_big_snapshot();
    let server = Server::start_with(PATIENT, Some(tls), Some(big.clone())).await;
    let mut stream = connect(&server, b"\x08http/1.1").await;
    stream.write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&[b"\r\n\r\n", &big.full.v1[..]].concat()));
    let (status, body) = get_by_http2(connect(&server, b"\x02h2").await, "/snapshot/0").await;
    assert!(status == 200 && body == big.full.v1);
}

#[test]
fn a_certificate_that_cannot_be_used_is_explained() {
    let folder = TempDir::new().unwrap();
    let files = write(&folder, &certificate(1));
    let error = |files: &TlsFiles| format!("{:#}", Tls::open(files.clone()).err().expect("refused"));
    let missing = TlsFiles { key: folder.path().join("none.pem"), ..files.clone() };
    assert!(error(&missing).contains("tls.key: there is no file"), "{}", error(&missing));
    std::fs::write(&files.cert, "no PEM").unwrap();
    assert!(error(&files).contains("tls.cert: ") && error(&files).contains("is no certificate"), "{}", error(&files));
    write(&folder, &certificate(2));
    std::fs::write(&files.cert, certificate(3).0.to_pem().unwrap()).unwrap();
    assert!(error(&files).contains("tls.key: "), "{}", error(&files));
    let (certificate, key) = certificate(4);
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    std::fs::write(&files.cert, certificate.to_pem().unwrap()).unwrap();
    std::fs::write(&files.key, key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap()).unwrap();
    assert!(error(&files).contains("without a passphrase"), "{}", error(&files));
}

#[test]
fn files_that_may_be_read_at_last_are_read_again() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let files = write(&folder, &certificate(1));
    let state = files.state();
    assert_eq!(files.state(), state);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_ne!(files.state(), state);
}
