//! Where snapshots are uploaded to: an S3 server that checks signatures, and a receiver of uploads that answers as it is
//! told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::AbortOnDropHandle;

use super::world::listener;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    /// Not of requests to the S3 server.
    pub body: Bytes,
}

impl Seen {
    fn of<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        Self { method, path, headers: request.headers().clone(), body: Bytes::new() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

type Requests = Arc<Mutex<Vec<Seen>>>;

fn noted(requests: &Requests) -> Vec<Seen> {
    requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An S3 server with one bucket.
pub struct S3Server {
    pub port: u16,
    folder: TempDir,
    requests: Requests,
    /// Taken, but refusing, until it starts.
    socket: Option<TcpSocket>,
    serving: Option<AbortOnDropHandle<()>>,
}

impl S3Server {
    pub const BUCKET: &str = "wallets";
    pub const KEY_ID: &str = "AKIDEXAMPLE";
    pub const SECRET: &str = "correct-horse-battery-staple";

    /// One that is not there yet, but has its port.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(Self::BUCKET)).expect("a bucket");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let port = socket.local_addr().expect("an address").port();
        Self { port, folder, requests: Requests::default(), socket: Some(socket), serving: None }
    }

    pub fn started() -> Self {
        let mut server = Self::new();
        server.start();
        server
    }

    /// Begins to serve.
    pub fn start(&mut self) {
        let listener = self.socket.take().expect("once").listen(64).expect("its port");
        let mut builder = S3ServiceBuilder::new(FileSystem::new(self.folder.path()).expect("a folder"));
        builder.set_auth(SimpleAuth::from_single(Self::KEY_ID, Self::SECRET));
        let serving = serve_s3(listener, builder.build(), Arc::clone(&self.requests));
        self.serving = Some(AbortOnDropHandle::new(tokio::spawn(serving)));
    }

    pub fn requests(&self) -> Vec<Seen> {
        noted(&self.requests)
    }

    /// Where an object lies.
    pub fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join(Self::BUCKET).join(key)
    }

    pub fn read(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.object(key)).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    /// A file with a secret.
    pub fn secret_file(dir: &Path, secret: &str) -> PathBuf {
        let file = dir.join("secret");
        std::fs::write(&file, format!("{secret}\n")).expect("written");
        file
    }
}

async fn serve_s3(listener: TcpListener, service: S3Service, requests: Requests) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (service, requests) = (service.clone(), Arc::clone(&requests));
        let answer = service_fn(move |request: Request<Incoming>| {
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(Seen::of(&request));
            let service = service.clone();
            async move { service.call(request.map(s3s::Body::from)).await }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// A receiver of uploads.
pub struct Receiver {
    pub url: String,
    requests: Requests,
    answers: Arc<Mutex<VecDeque<u16>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    /// Answers the first requests with these statuses, and all others with 200.
    pub async fn start(answers: impl IntoIterator<Item = u16>) -> Self {
        let listener = listener(0).await;
        let url = format!("http://{}/base", listener.local_addr().expect("an address"));
        let (requests, answers) = (Requests::default(), Arc::new(Mutex::new(answers.into_iter().collect())));
        let serving = tokio::spawn(serve(listener, Arc::clone(&requests), Arc::clone(&answers)));
        Self { url, requests, answers, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn requests(&self) -> Vec<Seen> {
        noted(&self.requests)
    }

    /// Answers the next requests with these statuses.
    pub fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(statuses);
    }
}

async fn serve(listener: TcpListener, requests: Requests, answers: Arc<Mutex<VecDeque<u16>>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (requests, answers) = (Arc::clone(&requests), Arc::clone(&answers));
        let answer = service_fn(move |request: Request<Incoming>| {
            let (requests, answers) = (Arc::clone(&requests), Arc::clone(&answers));
            async move {
                let mut seen = Seen::of(&request);
                seen.body = whole(request.into_body()).await;
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                let status = answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(200);
                let answer = Response::builder().status(status).body("what I think of it".to_owned());
                Ok::<_, Infallible>(answer.expect("an answer"))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn whole(mut body: Incoming) -> Bytes {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(frame.expect("a whole body").data_ref().expect("data"));
    }
    bytes.into()
}
