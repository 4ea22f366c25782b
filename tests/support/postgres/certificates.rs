//! Certificates and keys, made on the spot.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// Which certificate a server shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerCertificate {
    /// For `localhost` and 127.0.0.1, by [`Certificates::ca`].
    Good,
    /// For `db.example` alone, by [`Certificates::ca`].
    OtherName,
}

/// PEM files. Keys are readable by their owner only, as libpq demands.
pub struct Certificates {
    /// Signed the servers' and the client's.
    pub ca: PathBuf,
    /// Signed nothing that any server shows.
    pub other_ca: PathBuf,
    /// Both.
    pub bundle: PathBuf,
    /// For the role `rgsd`, with the RSA key below.
    pub client: PathBuf,
    pub client_key_pkcs8: PathBuf,
    pub client_key_pkcs1: PathBuf,
    /// PKCS#8, encrypted with the password `key secret`.
    pub client_key_encrypted: PathBuf,
    /// For the role `rgsd`, with the EC key below.
    pub client_ec: PathBuf,
    pub client_ec_key_sec1: PathBuf,
    good: (PathBuf, PathBuf),
    other_name: (PathBuf, PathBuf),
}

/// Who signs.
struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Certificates {
    /// Makes all of them in a directory.
    pub fn make(dir: &Path) -> Self {
        let (ca, other) = (authority("rgsd test CA"), authority("unrelated CA"));
        let public = |name: &str, pem: Vec<u8>| write(dir, name, &pem, 0o644);
        let private = |name: &str, pem: Vec<u8>| write(dir, name, &pem, 0o600);
        let pem = |certificate: &X509| certificate.to_pem().expect("PEM");
        let server = |name: &str, dns: &str, ip: Option<IpAddr>| {
            let key = ec_key();
            let certificate = pem(&issue(dns, &key, Some(&ca), |names| {
                names.dns(dns);
                ip.map(|ip| names.ip(&ip.to_string()));
            }));
            let key = key.private_key_to_pem_pkcs8().expect("PEM");
            (public(&format!("{name}.crt"), certificate), private(&format!("{name}.key"), key))
        };
        let rsa = Rsa::generate(2048).expect("random numbers");
        let rsa_key = PKey::from_rsa(rsa.clone()).expect("a key");
        let client = |key: &PKey<Private>| {
            issue("rgsd", key, Some(&ca), |names| {
                names.dns("rgsd");
            })
        };
        let ec = ec_key();
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        Self {
            ca: public("ca.crt", pem(&ca.certificate)),
            other_ca: public("other-ca.crt", pem(&other.certificate)),
            bundle: public("bundle.crt", [pem(&other.certificate), pem(&ca.certificate)].concat()),
            client: public("client.crt", pem(&client(&rsa_key))),
            client_key_pkcs8: private("client.pkcs8.key", rsa_key.private_key_to_pem_pkcs8().expect("PEM")),
            client_key_pkcs1: private("client.pkcs1.key", rsa.private_key_to_pem().expect("PEM")),
            client_key_encrypted: private(
                "client.encrypted.key",
                rsa_key.private_key_to_pem_pkcs8_passphrase(cipher, b"key secret").expect("PEM"),
            ),
            client_ec: public("client-ec.crt", pem(&client(&ec))),
            client_ec_key_sec1: private(
                "client-ec.sec1.key",
                ec.ec_key().and_then(|key| key.private_key_to_pem()).expect("PEM"),
            ),
            good: server("server", "localhost", Some(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            other_name: server("other-name", "db.example", None),
        }
    }

    /// A server's certificate and key.
    pub fn server(&self, which: ServerCertificate) -> (&Path, &Path) {
        let (certificate, key) = match which {
            ServerCertificate::Good => &self.good,
            ServerCertificate::OtherName => &self.other_name,
        };
        (certificate, key)
    }
}

fn write(dir: &Path, name: &str, pem: &[u8], mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, pem)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
        .expect("written");
    path
}

fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a known curve");
    EcKey::generate(&group).and_then(PKey::from_ec_key).expect("random numbers")
}

fn authority(name: &str) -> Authority {
    let key = ec_key();
    Authority { certificate: issue(name, &key, None, |_| {}), key }
}

/// A certificate for ten days, by `issuer` or by itself; the latter for an authority.
fn issue(
    name: &str,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
    names: impl FnOnce(&mut SubjectAlternativeName),
) -> X509 {
    let build = || {
        let mut subject = X509NameBuilder::new()?;
        subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
        let subject = subject.build();
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*serial.to_asn1_integer()?)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))?;
        builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(10)?)?;
        builder.set_pubkey(key)?;
        match issuer {
            None => builder.append_extension(BasicConstraints::new().critical().ca().build()?)?,
            Some(issuer) => {
                let mut alternatives = SubjectAlternativeName::new();
                names(&mut alternatives);
                let context = builder.x509v3_context(Some(&issuer.certificate), None);
                let alternatives = alternatives.build(&context)?;
                builder.append_extension(alternatives)?;
            }
        }
        builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256())?;
        Ok::<_, openssl::error::ErrorStack>(builder.build())
    };
    build().expect("a certificate")
}
