//! A `rediss://` URL: the connection is encrypted, and only to a server whose certificate is trusted.

use super::{program, run};
use crate::support::Server;

/// A server that speaks TLS alone, with a certificate of the test's making.
fn tls_server() -> (Server, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    (Server::private_with_tls(&certificate, &key, None), certificate)
}

#[test]
fn a_trusted_server_is_reached_over_tls_and_another_is_not() {
    let (server, certificate) = tls_server();
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("trusted.pem");
    std::fs::write(&trusted, certificate).unwrap();
    let url = server.url().replace("redis://", "rediss://");

    let trusting = || {
        let mut program = program();
        program.env("SSL_CERT_FILE", &trusted).args(["--redis", &url]);
        program
    };
    run(trusting().args(["send", "a", "7"])).done();
    assert_eq!(run(trusting().args(["receive", "a"])).done(), "{\"channel\":\"a\",\"message\":7}\n");

    let error = run(program().args(["--redis", &url, "send", "a", "7"]));
    assert_eq!(error.status, Some(9), "{error:?}");
    assert!(error.err.contains("certificate"), "{error:?}");
    let plain = run(program().args(["--redis", &server.url(), "send", "a", "7"]));
    assert_eq!(plain.status, Some(9), "{plain:?}");
}
