//! Opens the stream to a server: a TCP connection, with TLS or without, or a unix socket. Finds out which of the two a server
//! speaks that does not speak the one it was asked to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::ConnectionAddr;
use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::descriptors::Listed;
use crate::config::tls::Tls;

/// How long a silent network is trusted before the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a server may keep silent in the handshake of TLS before it is asked whether it speaks at all without.
const HANDSHAKE_SILENCE: Duration = Duration::from_millis(300);
/// How long it is given to answer that.
const PROBE: Duration = Duration::from_secs(1);

/// What a connection to a server is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum NoStream {
    Unreachable(io::Error),
    /// The server is there; in words, what is wrong with its TLS and what helps.
    Tls(String),
}

impl From<io::Error> for NoStream {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

/// Opens a stream. The caller limits its time.
pub(super) async fn dial(
    address: &ConnectionAddr,
    tls: &Tls,
    user_timeout: Duration,
) -> Result<Box<dyn Stream>, NoStream> {
    match address {
        ConnectionAddr::Unix(path) => Ok(Box::new(Listed::new(UnixStream::connect(path).await?))),
        ConnectionAddr::TcpTls { host, port, .. } => dial_tls(host, *port, tls, user_timeout).await,
        ConnectionAddr::Tcp(host, port) => Ok(Box::new(dial_tcp(host, *port, user_timeout).await?)),
        other => Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other} is no address")).into()),
    }
}

/// Connects to the first of the addresses of a name that answers.
async fn dial_tcp(host: &str, port: u16, user_timeout: Duration) -> io::Result<Listed<TcpStream>> {
    let addresses = lookup_host((host, port)).await?;
    let attempts: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("the name {host:?} has no address")));
    }
    let (stream, _) = select_ok(attempts).await?;
    let stream = Listed::new(stream);
    stream.stream().set_nodelay(true)?;
    let socket = SockRef::from(stream.stream());
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let _ = user_timeout;
    Ok(stream)
}

async fn dial_tls(
    host: &str,
    port: u16,
    tls: &Tls,
    user_timeout: Duration,
) -> Result<Box<dyn Stream>, NoStream> {
    let refused = |error: crate::error::Error| NoStream::Tls(error.to_string());
    let name = tls.name_of(host).map_err(refused)?;
    let files = tls.clone();
    let config = tokio::task::spawn_blocking(move || files.client_config()).await;
    let config = config.map_err(io::Error::other)?.map_err(refused)?;
    let stream = dial_tcp(host, port, user_timeout).await?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
    let silence = async {
        sleep(HANDSHAKE_SILENCE).await;
        if !speaks_without_tls(host, port).await {
            // It is slow, or not there any more.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        connected = handshake => match connected {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(why_no_tls(error, &name)),
        },
        () = silence => Err(NoStream::Tls(NOT_TLS.to_owned())),
    }
}

/// The remedy where a server ends the handshake, or what follows it, with an alert.
pub(super) fn remedy_of_alert(text: &str) -> &'static str {
    const OF_A_CERTIFICATE: [&str; 7] = [
        "UnknownCA",
        "DecryptError",
        "BadCertificate",
        "UnsupportedCertificate",
        "CertificateExpired",
        "CertificateRevoked",
        "CertificateUnknown",
    ];
    if OF_A_CERTIFICATE.iter().any(|alert| text.contains(alert)) {
        "it does not accept the certificate of this program: give one in `tls_certificate` that its CA has signed"
    } else {
        "it may want a certificate of this program: give `tls_certificate` and `tls_key`"
    }
}

const NOT_TLS: &str = "it speaks without TLS; write redis:// in place of rediss://, or let it speak TLS";

/// What is wrong with a server that spoke, or did not, when TLS was begun.
fn why_no_tls(error: io::Error, name: &ServerName<'_>) -> NoStream {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => NoStream::Tls(in_words(error, name)),
        None => NoStream::Unreachable(error),
    }
}

fn in_words(error: &rustls::Error, name: &ServerName<'_>) -> String {
    let remedy = match error {
        rustls::Error::InvalidMessage(_) => return NOT_TLS.to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "name the certificate of its CA, or its own if it is self-signed, in `tls_ca`"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "connect by a name that its certificate has, or give that in `tls_server_name`",
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "renew it, or correct the clock of this machine",
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            return "its certificate is self-signed or that of a CA, and not the one that `tls_ca` names; name that one".into();
        }
        rustls::Error::InvalidCertificate(_) => "name its own certificate in `tls_ca` if it is self-signed",
        rustls::Error::AlertReceived(_) => remedy_of_alert(&error.to_string()),
        _ => return format!("{error}"),
    };
    let server = match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(_) | _ => String::new(),
    };
    let shown = if server.is_empty() { String::new() } else { format!(" (as {server})") };
    format!("{error}{shown}; {remedy}")
}

/// Reports whether a server answers a command without TLS. The command tells nothing.
async fn speaks_without_tls(host: &str, port: u16) -> bool {
    let ask = async {
        let mut stream = dial_tcp(host, port, PROBE).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut first = [0];
        stream.read_exact(&mut first).await.ok()?;
        Some(matches!(first[0], b'+' | b'-'))
    };
    timeout(PROBE, ask).await.ok().flatten().unwrap_or(false)
}

/// Reports whether a server that was asked without TLS speaks it.
pub(super) async fn speaks_tls(address: &ConnectionAddr) -> bool {
    let ConnectionAddr::Tcp(host, port) = address else { return false };
    let ask = async {
        let mut stream = dial_tcp(host, *port, PROBE).await.ok()?;
        stream.write_all(CLIENT_HELLO).await.ok()?;
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.ok()?;
        // A record of the handshake, or an alert.
        Some(matches!(first, [0x15 | 0x16, 3, _]))
    };
    timeout(PROBE, ask).await.ok().flatten().unwrap_or(false)
}

/// A record that begins a handshake of TLS, to which every server of TLS answers with an alert: a ClientHello of TLS 1.2 whose
/// only cipher suite is one of TLS 1.3.
const CLIENT_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x2d, 0x01, 0x00, 0x00, 0x29, 0x03, 0x03, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 0x00, 0x00, 0x02, 0x13,
    0x01, 0x01, 0x00,
];
