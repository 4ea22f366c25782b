//! TLS to PostgreSQL: what each `sslmode` tries, whom it trusts, and what it shows of itself.
//!
//! Owns libpq's meaning of `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `sslpassword`. Promises that nothing is
//! trusted that libpq would not trust, and that a mode which asks for TLS never goes on without. Certificates and keys
//! are read at each connection, so that renewed ones need no restart.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use native_tls::{Certificate, TlsConnector};
use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::text::Secret;

/// How safe a connection must be; each is safer than the one before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only where the server insists.
    Allow,
    /// TLS where it works.
    Prefer,
    /// Always TLS. With a file of trusted authorities that exists, the same as [`VerifyCa`](Self::VerifyCa).
    Require,
    /// Always TLS, with a certificate by a trusted authority, for whatever name.
    VerifyCa,
    /// Always TLS, with a certificate by a trusted authority for the host's name.
    VerifyFull,
}

impl SslMode {
    /// As they are written.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, mode)| mode == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// Which authorities are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// Those in a PEM file, and no others.
    File(PathBuf),
    /// The system's.
    System,
}

/// What a client shows of itself: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The certificate, perhaps followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, PKCS#1 or SEC1; perhaps encrypted.
    pub key: PathBuf,
    /// What the key is encrypted with.
    pub password: Option<Secret>,
}

/// How a connection is to be secured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    pub mode: SslMode,
    pub roots: Option<Roots>,
    pub identity: Option<Identity>,
}

/// One way to try a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// Without TLS.
    Plain,
    /// With TLS where the server offers it.
    IfOffered,
    /// With TLS or not at all.
    Tls,
}

impl Tls {
    /// What is tried: the second way, where there is one, after the first has failed in a way that it may mend.
    pub fn attempts(&self) -> (Attempt, Option<Attempt>) {
        match self.mode {
            SslMode::Disable => (Attempt::Plain, None),
            SslMode::Allow => (Attempt::Plain, Some(Attempt::IfOffered)),
            SslMode::Prefer => (Attempt::IfOffered, Some(Attempt::Plain)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Attempt::Tls, None),
        }
    }

    /// Reads the files and makes a connector of them. The error names the file and the remedy.
    pub fn connector(&self) -> anyhow::Result<TlsConnector> {
        let mut builder = TlsConnector::builder();
        match self.trusted()? {
            Trusted::Anyone => {
                builder.danger_accept_invalid_certs(true);
            }
            Trusted::System => {}
            Trusted::These(certificates) => {
                builder.disable_built_in_roots(true);
                for certificate in certificates {
                    builder.add_root_certificate(certificate);
                }
            }
        }
        builder.danger_accept_invalid_hostnames(self.mode != SslMode::VerifyFull);
        if let Some(identity) = &self.identity
            && let Some(identity) = identity.read()?
        {
            builder.identity(identity);
        }
        builder.build().context("TLS cannot be set up; do sslkey and sslcert belong together?")
    }

    fn trusted(&self) -> anyhow::Result<Trusted> {
        let path = match &self.roots {
            None if self.mode < SslMode::VerifyCa => return Ok(Trusted::Anyone),
            // The URL is not accepted without; trusting nobody is what is left.
            None => return Ok(Trusted::These(Vec::new())),
            Some(Roots::System) => return Ok(Trusted::System),
            Some(Roots::File(path)) => path,
        };
        let named = || format!("sslrootcert {}", path.display());
        match std::fs::read(path) {
            Ok(pem) => {
                let certificates = Certificate::stack_from_pem(&pem)
                    .with_context(|| format!("{} is not a PEM file of certificates", named()))?;
                if certificates.is_empty() {
                    bail!("{} holds no certificate; give it those of the authorities to trust, as PEM", named());
                }
                Ok(Trusted::These(certificates))
            }
            Err(error) if is_absent(&error) && self.mode < SslMode::VerifyCa => {
                tracing::warn!(
                    "{} does not exist: with sslmode={} any server is trusted then; use sslmode=verify-full to insist",
                    named(),
                    self.mode
                );
                Ok(Trusted::Anyone)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "{} cannot be read; put the authorities' certificates there, or use sslrootcert=system",
                    named()
                )
            }),
        }
    }
}

enum Trusted {
    Anyone,
    System,
    These(Vec<Certificate>),
}

impl Identity {
    /// Reads it; `None`, as libpq has it, where the certificate's file does not exist: the server may not ask for one.
    fn read(&self) -> anyhow::Result<Option<native_tls::Identity>> {
        let certificate = match std::fs::read(&self.certificate) {
            Ok(pem) => pem,
            Err(error) if is_absent(&error) => {
                tracing::warn!("sslcert {} does not exist: no certificate is shown", self.certificate.display());
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("sslcert {} cannot be read", self.certificate.display()));
            }
        };
        if X509::stack_from_pem(&certificate).map_or(true, |chain| chain.is_empty()) {
            bail!("sslcert {} is not a PEM file of a certificate", self.certificate.display());
        }
        let key = self.read_key()?;
        let identity = native_tls::Identity::from_pkcs8(&certificate, &key);
        identity.map(Some).context("the client's certificate and key cannot be used")
    }

    /// The key in the one form that `native_tls` takes.
    fn read_key(&self) -> anyhow::Result<Vec<u8>> {
        let named = || format!("sslkey {}", self.key.display());
        refuse_open_key(&self.key).with_context(named)?;
        let pem = std::fs::read(&self.key).with_context(|| format!("{} cannot be read", named()))?;
        // An empty password, not none: OpenSSL would ask for one at the terminal.
        let password = self.password.as_ref().map_or("", Secret::expose);
        let key = PKey::private_key_from_pem_passphrase(&pem, password.as_bytes()).with_context(|| {
            let encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
            match (encrypted, &self.password) {
                (true, None) => format!("{} is encrypted: say sslpassword, too", named()),
                (true, Some(_)) => format!("{} cannot be decrypted: is sslpassword right?", named()),
                (false, _) => format!("{} is not a private key as PEM (PKCS#8, PKCS#1 or SEC1)", named()),
            }
        })?;
        key.private_key_to_pem_pkcs8().with_context(|| format!("{} cannot be used", named()))
    }
}

/// As libpq does: a key that others can read is no secret. Root's may be read by a group.
fn refuse_open_key(path: &Path) -> anyhow::Result<()> {
    let meta = std::fs::metadata(path).context("cannot be read")?;
    if !meta.is_file() {
        bail!("is not a file");
    }
    let forbidden = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & forbidden != 0 {
        bail!("can be read by others: chmod 600 it (640 if it is root's)");
    }
    Ok(())
}

/// That there is no such file, as libpq judges.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
