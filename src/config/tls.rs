//! TLS as a layer wants it: whose certificates it trusts, and how it shows its own. Files are read again at each connection,
//! because certificates are renewed while programs run.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Certificates or a private key: PEM text, or the path of a file that holds it. A text that has `-----BEGIN` in it is PEM, and
/// any other text is a path. Its debug output shows the path, and no text.
///
/// ```
/// use asgi_redis::Pem;
///
/// assert_eq!(format!("{:?}", Pem::from("/etc/redis/ca.pem")), "Pem(/etc/redis/ca.pem)");
/// assert_eq!(format!("{:?}", Pem::from("-----BEGIN PRIVATE KEY-----\nMC4C...")), "Pem(***)");
/// ```
#[derive(Clone)]
pub struct Pem(Kept);

#[derive(Clone)]
enum Kept {
    File(PathBuf),
    Text(Arc<Zeroizing<Vec<u8>>>),
}

impl From<&str> for Pem {
    fn from(text: &str) -> Self {
        if text.contains("-----BEGIN") {
            Self(Kept::Text(Arc::new(Zeroizing::new(text.as_bytes().to_vec()))))
        } else {
            Self(Kept::File(text.into()))
        }
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<PathBuf> for Pem {
    fn from(file: PathBuf) -> Self {
        Self(Kept::File(file))
    }
}

impl From<&std::path::Path> for Pem {
    fn from(file: &std::path::Path) -> Self {
        Self(Kept::File(file.to_owned()))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::File(file) => write!(f, "Pem({})", file.display()),
            Kept::Text(_) => f.write_str("Pem(***)"),
        }
    }
}

impl Pem {
    fn read(&self, option: &str) -> Result<Arc<Zeroizing<Vec<u8>>>> {
        match &self.0 {
            Kept::Text(text) => Ok(Arc::clone(text)),
            Kept::File(file) => match std::fs::read(file) {
                Ok(text) => Ok(Arc::new(Zeroizing::new(text))),
                Err(error) => Err(refused(option, format_args!("{}: {error}", file.display()))),
            },
        }
    }

    fn certificates(&self, option: &str) -> Result<Vec<CertificateDer<'static>>> {
        let text = self.read(option)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match read {
            Ok(certificates) if certificates.is_empty() => {
                Err(refused(option, "there is no certificate in PEM"))
            }
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(refused(option, format_args!("{error}"))),
        }
    }

    fn key(&self, option: &str) -> Result<PrivateKeyDer<'static>> {
        let text = self.read(option)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            refused(option, "there is no private key in PEM that is readable without a passphrase")
        })
    }
}

/// The options about TLS, as they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) ca: Option<Pem>,
    pub(super) certificate: Option<Pem>,
    pub(super) key: Option<Pem>,
    pub(super) server_name: Option<String>,
}

impl Written {
    /// The first option that is given.
    pub(super) fn first(&self) -> Option<&'static str> {
        let given = [
            ("tls_ca", self.ca.is_some()),
            ("tls_certificate", self.certificate.is_some()),
            ("tls_key", self.key.is_some()),
            ("tls_server_name", self.server_name.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    pub(super) fn check(&self) -> Result<Tls> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return Err(refused("tls_certificate", "give its private key too, as `tls_key`"));
            }
            (None, Some(_)) => {
                return Err(refused("tls_key", "give its certificate too, as `tls_certificate`"));
            }
        };
        let server_name = self.server_name.as_deref().map(|name| {
            ServerName::try_from(name.to_owned())
                .map_err(|_| refused("tls_server_name", format_args!("{name:?} is no name of a server")))
        });
        let tls = Tls { ca: self.ca.clone(), identity, server_name: server_name.transpose()? };
        tls.check()?;
        Ok(tls)
    }
}

/// The options about TLS, checked. The default trusts what the system trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    ca: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// The name that the certificate of a server must have.
    pub(crate) fn name_of(&self, host: &str) -> Result<ServerName<'static>> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        ServerName::try_from(host.to_owned()).map_err(|_| {
            refused(
                "tls_server_name",
                format_args!("{host:?} is no name of a server; give the one in its certificate"),
            )
        })
    }

    fn check(&self) -> Result<()> {
        if self.ca.is_some() || self.identity.is_some() {
            let trusted = self.ca.as_ref().map(|ca| ca.certificates("tls_ca")).transpose()?;
            self.client_config_trusting(trusted.unwrap_or_default(), RootCertStore::empty(), true)?;
        }
        Ok(())
    }

    /// Reads the files, and returns what connections are made with.
    pub(crate) fn client_config(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let mut trusted = Vec::new();
        match &self.ca {
            Some(ca) => trusted = ca.certificates("tls_ca")?,
            None => {
                let system = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(system.certs);
                if roots.is_empty() {
                    return Err(refused(
                        "tls_ca",
                        "this system trusts no certificate at all; name one in the option",
                    ));
                }
            }
        }
        self.client_config_trusting(trusted, roots, false)
    }

    fn client_config_trusting(
        &self,
        trusted: Vec<CertificateDer<'static>>,
        mut roots: RootCertStore,
        is_check: bool,
    ) -> Result<ClientConfig> {
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|error| refused("tls_ca", error))?;
        }
        // A default that the program chose itself stays.
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::bug)?;
        let config = if is_check && roots.is_empty() {
            config.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| refused("tls_ca", error))?;
            config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(PinningVerifier { verifier, pinned: trusted }))
        };
        let Some((certificate, key)) = &self.identity else { return Ok(config.with_no_client_auth()) };
        let (chain, key) = (certificate.certificates("tls_certificate")?, key.key("tls_key")?);
        config.with_client_auth_cert(chain, key).map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => refused(
                "tls_certificate",
                format_args!(
                    "it cannot be used: {error}; make one of X.509 version 3, as `openssl req -x509` does"
                ),
            ),
            error => refused("tls_key", format_args!("it does not go with `tls_certificate`: {error}")),
        })
    }
}

fn refused(option: &str, why: impl fmt::Display) -> Error {
    Error::config(format!("option `{option}`: {why}"))
}

/// Trusts what is signed by one of the certificates, and these certificates themselves: a self-signed certificate of a server,
/// as `openssl req -x509` makes it, is marked as one that signs others, which no server may show by the general rules.
///
/// A certificate that is trusted itself is checked for its time; and for its name, if it has one where names belong.
#[derive(Debug)]
struct PinningVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for PinningVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let Err(error) = verified else { return verified };
        let is_out_of_time = matches!(
            &error,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }
            )
        );
        if is_out_of_time || !self.pinned.iter().any(|pinned| pinned == certificate) {
            return Err(error);
        }
        match rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) if presented.is_empty() => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
