//! TLS, for those without a reverse proxy: a certificate and its key from files, read again when these change.
//!
//! A pair that cannot be used does not replace one that can: the log says so, once, and the last one stays.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslContext, SslFiletype, SslMethod, select_next_proto};
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
    context: Arc<ArcSwap<SslContext>>,
}

impl Tls {
    /// With the pair that is in the files now.
    pub fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let context = Arc::new(ArcSwap::from_pointee(read(&files)?));
        Ok(Self { files, context })
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
        let mut last = self.files.state();
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

impl TlsFiles {
    /// What changes when one of them does, also behind a symbolic link. A file that cannot be looked at has no state.
    fn state(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.cert, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

fn read(files: &TlsFiles) -> anyhow::Result<SslContext> {
    let TlsFiles { cert, key } = files;
    [("tls.cert", cert), ("tls.key", key)].iter().try_for_each(|(name, path)| is_readable(name, path))?;
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder
        .set_certificate_chain_file(cert)
        .with_context(|| format!("tls.cert: {} is no certificate (PEM)", cert.display()))?;
    builder.set_private_key_file(key, SslFiletype::PEM).with_context(|| {
        format!("tls.key: {} is no private key (PEM, without a passphrase) of that certificate", key.display())
    })?;
    builder.check_private_key().with_context(|| {
        format!("tls.key: {} is not the key of the certificate in {}", key.display(), cert.display())
    })?;
    builder.set_alpn_select_callback(|_, offered| select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::NOACK));
    Ok(builder.build().into_context())
}

fn is_readable(name: &str, path: &Path) -> anyhow::Result<()> {
    fs::File::open(path).map(drop).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("{name}: there is no file {}", path.display()),
        ErrorKind::PermissionDenied => anyhow!("{name}: {} may not be read by this user", path.display()),
        _ => anyhow!(error).context(format!("{name}: cannot read {}", path.display())),
    })
}
