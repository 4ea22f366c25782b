//! TLS, for those without a reverse proxy: a certificate and its key from files, read again when these change.
//!
//! A pair that cannot be used does not replace one that can: the log says so, once, and the last one stays.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use openssl::pkey::PKey;
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslContext, SslMethod, select_next_proto};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is spoken, the preferred first, as ALPN has it (RFC 7301).
const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1";

/// The files of a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsFiles {
    /// PEM: the server's certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Who accepts TLS connections.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    /// As they were when they were first read.
    first: State,
    context: Arc<ArcSwap<SslContext>>,
}

impl Tls {
    /// With the pair that is in the files now.
    pub fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let first = files.state();
        let context = Arc::new(ArcSwap::from_pointee(read(&files)?));
        Ok(Self { files, first, context })
    }

    /// The server's part of the handshake.
    pub(super) async fn accept<S>(&self, stream: S) -> anyhow::Result<SslStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = SslStream::new(Ssl::new(&self.context.load())?, stream)?;
        Pin::new(&mut stream).accept().await?;
        Ok(stream)
    }

    /// Reads the files again whenever they have changed, until the stop.
    pub async fn follow(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut last = self.first;
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let state = self.files.state();
            if state != last {
                last = state;
                self.reload();
            }
        }
    }

    pub(super) fn reload(&self) {
        match read(&self.files) {
            Ok(context) => {
                self.context.store(Arc::new(context));
                tracing::info!(cert = %self.files.cert.display(), "a new TLS certificate is used from now on");
            }
            Err(error) => tracing::error!("the TLS certificate stays the last one: {error:#}"),
        }
    }
}

/// Of both files: which they are, and when anything about them last changed, also who may read them. A file that cannot be
/// looked at has none.
pub(super) type State = [Option<(u64, i64, i64)>; 2];

impl TlsFiles {
    /// What changes when one of them does, also behind a symbolic link.
    pub(super) fn state(&self) -> State {
        [&self.cert, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.ctime(), found.ctime_nsec()))
        })
    }
}

fn read(files: &TlsFiles) -> anyhow::Result<SslContext> {
    let TlsFiles { cert, key } = files;
    let (chain, secret) = (bytes_of("tls.cert", cert)?, bytes_of("tls.key", key)?);
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let no_certificate = || format!("tls.cert: {} is no certificate (PEM)", cert.display());
    let mut chain = X509::stack_from_pem(&chain).with_context(no_certificate)?.into_iter();
    let own = chain.next().with_context(no_certificate)?;
    builder.set_certificate(&own)?;
    chain.try_for_each(|between| builder.add_extra_chain_cert(between))?;
    // Without a passphrase, OpenSSL would ask for it at the terminal.
    let secret = PKey::private_key_from_pem_passphrase(&secret, b"")
        .with_context(|| format!("tls.key: {} is no private key (PEM, without a passphrase)", key.display()))?;
    let other_key = || format!("tls.key: {} is not the key of the certificate in {}", key.display(), cert.display());
    builder.set_private_key(&secret).with_context(other_key)?;
    builder.check_private_key().with_context(other_key)?;
    builder.set_alpn_select_callback(|_, offered| select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::NOACK));
    Ok(builder.build().into_context())
}

fn bytes_of(name: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("{name}: there is no file {}", path.display()),
        ErrorKind::PermissionDenied => anyhow!("{name}: {} may not be read by this user", path.display()),
        _ => anyhow!(error).context(format!("{name}: cannot read {}", path.display())),
    })
}
