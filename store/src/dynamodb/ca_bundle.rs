//! Whose certificates are trusted instead of the bundled roots: those of a file in PEM (`AFT_CA_BUNDLE`), as
//! `AWS_CA_BUNDLE` means it for AWS's own tools ([ADR 27](../../../docs/adr/0027-a-ca-bundle-instead-of-the-bundled-roots.md)).
//!
//! Read and checked with the rest of the configuration: the HTTP client would panic at a certificate that it cannot read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// Certificates of authorities: at least one, all of which can be read.
#[derive(Clone)]
pub struct CaBundle {
    path: PathBuf,
    pem: Arc<[u8]>,
}

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBundle {
    /// Which file a relative path means depends on who asks.
    #[error("it must be an absolute path")]
    Relative,
    /// There is no such file, or it may not be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Something in it begins as PEM and does not go on so.
    #[error("the file is not PEM: {0}")]
    NotPem(pem::Error),
    /// It may be DER, a key, or anything else.
    #[error("there is no certificate in the file: it must hold at least one in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// One of them is not what it says.
    #[error("certificate {number} of the file is not one of an authority: {source}")]
    Certificate {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl CaBundle {
    /// Reads a file.
    ///
    /// # Errors
    /// [`InvalidBundle`].
    pub fn read(path: &Path) -> Result<Self, InvalidBundle> {
        if !path.is_absolute() {
            return Err(InvalidBundle::Relative);
        }
        let pem: Arc<[u8]> = std::fs::read(path)?.into();
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
            let added = roots.add(certificate.map_err(InvalidBundle::NotPem)?);
            added.map_err(|source| InvalidBundle::Certificate { number: index + 1, source })?;
        }
        if roots.is_empty() {
            return Err(InvalidBundle::NoCertificate);
        }
        Ok(Self { path: path.to_owned(), pem })
    }

    /// What was read.
    pub(super) fn pem(&self) -> &[u8] {
        &self.pem
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CaBundle").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::CaBundle;

    /// A file of this test, removed with it.
    struct File(PathBuf);

    impl File {
        fn of(name: &str, text: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("aft-bundle-{}-{name}.pem", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    fn pem(kind: &str, der: &[u8]) -> String {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn a_bundle_is_certificates_among_whatever_else_there_is() {
        let [one, two, ..] = webpki_root_certs::TLS_SERVER_ROOT_CERTS else { panic!("there are many") };
        let text =
            format!("# ours\n{}{}{}", pem("CERTIFICATE", one), pem("PRIVATE KEY", b"k"), pem("CERTIFICATE", two));
        let file = File::of("two", text.as_bytes());
        assert_eq!(CaBundle::read(&file.0).unwrap().pem(), text.as_bytes());
    }

    #[test]
    fn what_is_no_bundle_is_refused_with_the_reason() {
        let der = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let cut = pem("CERTIFICATE", der).replace("-----END CERTIFICATE-----", "");
        let wrong = format!("{}{}", pem("CERTIFICATE", der), pem("CERTIFICATE", b"no certificate"));
        for (name, text, why) in [
            ("empty", &b""[..], "there is no certificate"),
            ("der", der, "there is no certificate"),
            ("key", pem("PRIVATE KEY", b"k").as_bytes(), "there is no certificate"),
            ("cut", cut.as_bytes(), "not PEM"),
            ("digits", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "not PEM"),
            ("wrong", wrong.as_bytes(), "certificate 2 of the file"),
        ] {
            let file = File::of(name, text);
            let error = CaBundle::read(&file.0).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        let error = CaBundle::read("/nowhere/ca.pem".as_ref()).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        let error = CaBundle::read("ca.pem".as_ref()).unwrap_err().to_string();
        assert!(error.contains("absolute path"), "{error}");
    }
}
