//! What signing requests to a bucket needs of cryptography, from the OpenSSL that is here for TLS already: another
//! library for it would double what has to be built and kept current.

use object_store::client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm};
use object_store::{Error, Result};
use openssl::hash::{Hasher, MessageDigest};
use openssl::pkey::PKey;

/// See the module's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenSsl;

impl CryptoProvider for OpenSsl {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        let hasher = Hasher::new(digest(&algorithm)?).map_err(failed)?;
        Ok(Box::new(Digest { hasher, failure: None, digest: Vec::new() }))
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        let (digest, secret) = (digest(&algorithm)?, secret.to_vec());
        Ok(Box::new(Hmac { digest, secret, message: Vec::new() }))
    }

    /// Only other clouds' accounts sign with RSA.
    fn sign(&self, algorithm: SigningAlgorithm, _pem: &[u8]) -> Result<Box<dyn Signer>> {
        Err(Error::NotSupported { source: format!("{algorithm:?}").into() })
    }
}

fn digest(algorithm: &DigestAlgorithm) -> Result<MessageDigest> {
    match algorithm {
        DigestAlgorithm::Sha256 => Ok(MessageDigest::sha256()),
        other => Err(Error::NotSupported { source: format!("{other:?}").into() }),
    }
}

fn failed(error: openssl::error::ErrorStack) -> Error {
    Error::Generic { store: "OpenSSL", source: Box::new(error) }
}

struct Digest {
    hasher: Hasher,
    /// What went wrong on the way is told at the end.
    failure: Option<openssl::error::ErrorStack>,
    digest: Vec<u8>,
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        if let Err(error) = self.hasher.update(data) {
            self.failure.get_or_insert(error);
        }
    }

    fn finish(&mut self) -> Result<&[u8]> {
        if let Some(error) = self.failure.take() {
            return Err(failed(error));
        }
        self.digest = self.hasher.finish().map_err(failed)?.to_vec();
        Ok(&self.digest)
    }
}

/// What is signed are a few hundred bytes: they are collected, because OpenSSL's own context borrows the key.
struct Hmac {
    digest: MessageDigest,
    secret: Vec<u8>,
    message: Vec<u8>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.message.extend_from_slice(data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        let key = PKey::hmac(&self.secret).map_err(failed)?;
        let mut signer = openssl::sign::Signer::new(self.digest, &key).map_err(failed)?;
        self.message = signer.sign_oneshot_to_vec(&self.message).map_err(failed)?;
        Ok(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn sums_are_those_of_the_standards() {
        let mut digest = OpenSsl.digest(DigestAlgorithm::Sha256).unwrap();
        ["a", "b", "c"].iter().for_each(|part| digest.update(part.as_bytes()));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, B.1
        assert_eq!(hex(digest.finish().unwrap()), abc);

        let mut hmac = OpenSsl.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        ["what do ya want ", "for nothing?"].iter().for_each(|part| hmac.update(part.as_bytes()));
        let nothing = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; // RFC 4231, 4.3
        assert_eq!(hex(hmac.finish().unwrap()), nothing);
    }
}
