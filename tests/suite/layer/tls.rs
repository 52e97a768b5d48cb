//! TLS to a server: whose certificates are trusted, which are shown, and what is said about a server that speaks the other way.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Error, ErrorKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::{Server, unique_prefix};

/// A certificate and its private key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

/// A CA that signs for these tests.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // One of the same name as its issuer passes for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A certificate that signed itself, as `openssl req -x509` makes it: marked as that of a CA, with these names beside its subject.
fn self_signed(names: &[&str], days: i64) -> Identity {
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    if days < 0 {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let certificate = params.self_signed(&key).unwrap().pem();
    Identity { certificate, key: key.serialize_pem() }
}

fn server(identity: &Identity, authority: Option<&str>) -> Server {
    Server::private_with_tls(&identity.certificate, &identity.key, authority)
}

fn options(server: &Server) -> ConfigBuilder {
    ConfigBuilder::new().hosts(tls_url(server)).prefix(unique_prefix("tls"))
}

fn tls_url(server: &Server) -> String {
    server.url().replace("redis://", "rediss://")
}

async fn works(options: &ConfigBuilder) {
    let layer = options.connect().await.unwrap();
    layer.send("a", &7).await.unwrap();
    assert_eq!(layer.try_receive::<u64>("a").await.unwrap().unwrap().1, 7);
    layer.close().await.unwrap();
}

async fn refusal(options: &ConfigBuilder) -> Error {
    options.connect().await.unwrap_err()
}

#[track_caller]
fn is_tls(error: &Error, said: &str) {
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains(said) && error.may_retry(), "{error}");
}

fn cli(arguments: &[&str], files: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_asgi-redis"));
    command.args(arguments);
    for (option, file) in files {
        command.arg(option).arg(file);
    }
    command.output().unwrap()
}

#[tokio::test]
async fn a_server_of_a_private_ca_is_trusted_by_that_ca_in_code_in_a_document_and_on_the_command_line() {
    let authority = Authority::new();
    let server = server(&authority.sign("127.0.0.1"), None);
    works(&options(&server).tls_ca(&*authority.certificate)).await;
    is_tls(&refusal(&options(&server)).await, "in `tls_ca`");
    is_tls(&refusal(&options(&server).tls_ca(Authority::new().certificate)).await, "in `tls_ca`");

    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &authority.certificate).unwrap();
    works(&options(&server).tls_ca(&*ca)).await;
    let (url, port) = (tls_url(&server), server.port());
    for document in [
        serde_json::json!({"hosts": [url], "tls_ca": ca}),
        serde_json::json!({"hosts": [url], "ssl_ca_certs": ca, "ssl_cert_reqs": "required"}),
        serde_json::json!({"hosts": [{"address": url, "ssl_ca_certs": ca}]}),
        serde_json::json!({"hosts": [{"host": "127.0.0.1", "port": port, "ssl": true, "ssl_ca_data": authority.certificate}]}),
    ] {
        let options: ConfigBuilder = serde_json::from_str(&document.to_string()).unwrap();
        works(&options.prefix(unique_prefix("tls-document"))).await;
    }
    let sent = cli(&["--redis", &url, "send", "a", "1"], &[("--tls-ca", &ca)]);
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(cli(&["--redis", &url, "send", "a", "1"], &[]).status.code(), Some(9));
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_it() {
    let authority = Authority::new();
    let server = server(&authority.sign("127.0.0.1"), Some(&authority.certificate));
    let client = authority.sign("worker");
    let trusting = options(&server).tls_ca(&*authority.certificate);
    works(&trusting.clone().tls_certificate(&*client.certificate, &*client.key)).await;
    is_tls(&refusal(&trusting).await, "give `tls_certificate` and `tls_key`");
    let other = Authority::new().sign("worker");
    is_tls(
        &refusal(&trusting.clone().tls_certificate(other.certificate, other.key)).await,
        "received fatal alert",
    );

    let directory = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = ["ca", "certificate", "key"].map(|name| directory.path().join(name));
    std::fs::write(&ca, &authority.certificate).unwrap();
    std::fs::write(&certificate, &client.certificate).unwrap();
    std::fs::write(&key, &client.key).unwrap();
    let document = serde_json::json!({
        "hosts": [tls_url(&server)], "ssl_ca_certs": ca, "ssl_certfile": certificate, "ssl_keyfile": key,
    });
    let options: ConfigBuilder = serde_json::from_str(&document.to_string()).unwrap();
    let layer = options.prefix(unique_prefix("tls-files")).connect().await.unwrap();
    layer.send("a", &1).await.unwrap();
    let sent = cli(
        &["--redis", &tls_url(&server), "send", "a", "1"],
        &[("--tls-ca", &ca), ("--tls-cert", &certificate), ("--tls-key", &key)],
    );
    assert!(sent.status.success(), "{sent:?}");
}

#[tokio::test]
async fn the_name_in_a_certificate_may_be_another_than_the_one_that_is_connected_to() {
    let authority = Authority::new();
    let server = server(&authority.sign("redis.internal"), None);
    let trusting = options(&server).tls_ca(&*authority.certificate);
    is_tls(&refusal(&trusting).await, "or give that in `tls_server_name`");
    works(&trusting.clone().tls_server_name("redis.internal")).await;
    is_tls(
        &refusal(&trusting.tls_server_name("other.internal")).await,
        "not valid for name \"other.internal\"",
    );
}

#[tokio::test]
async fn a_self_signed_certificate_is_pinned_and_checked_for_its_time_and_its_names() {
    let nameless = self_signed(&[], 1);
    let server_of = |identity: &Identity| server(identity, None);
    let plain = server_of(&nameless);
    works(&options(&plain).tls_ca(&*nameless.certificate)).await;
    is_tls(&refusal(&options(&plain)).await, "`tls_ca`");
    is_tls(&refusal(&options(&plain).tls_ca(self_signed(&[], 1).certificate)).await, "`tls_ca`");

    let named = self_signed(&["redis.internal"], 1);
    let server = server_of(&named);
    is_tls(&refusal(&options(&server).tls_ca(&*named.certificate)).await, "`tls_server_name`");
    works(&options(&server).tls_ca(&*named.certificate).tls_server_name("redis.internal")).await;

    let expired = self_signed(&[], -1);
    let server = server_of(&expired);
    is_tls(&refusal(&options(&server).tls_ca(&*expired.certificate)).await, "renew it");
}

#[tokio::test]
async fn a_certificate_as_openssl_makes_it_is_pinned() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate", "key"].map(|name| directory.path().join(name));
    let made = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis -keyout".split(' '))
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        eprintln!("openssl is not on PATH, so its certificate is not tried");
        return;
    }
    assert!(made.unwrap().status.success());
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    let server = server(&Identity { certificate: read(&certificate), key: read(&key) }, None);
    works(&options(&server).tls_ca(&*certificate)).await;
    let sent = cli(&["--redis", &tls_url(&server), "send", "a", "1"], &[("--tls-ca", &certificate)]);
    assert!(sent.status.success(), "{sent:?}");
    is_tls(&refusal(&options(&server)).await, "`tls_ca`");
}

#[tokio::test]
async fn a_server_without_tls_behind_rediss_is_told_at_once() {
    let server = Server::private();
    let began = Instant::now();
    is_tls(&refusal(&options(&server)).await, "it speaks without TLS; write redis:// in place of rediss://");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // The same of one that wants a password.
    let server = Server::private_with(&["--requirepass", "x"]);
    is_tls(&refusal(&options(&server)).await, "it speaks without TLS");
}

#[tokio::test]
async fn a_server_with_tls_behind_redis_is_told_at_once() {
    let authority = Authority::new();
    for ca in [None, Some(&*authority.certificate)] {
        let server = server(&authority.sign("127.0.0.1"), ca);
        let began = Instant::now();
        let plain = ConfigBuilder::new().hosts(server.url());
        is_tls(&refusal(&plain).await, "it speaks TLS alone; write rediss:// in place of redis://");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn what_nobody_listens_on_is_unreachable_with_tls_too() {
    let error = refusal(&ConfigBuilder::new().hosts("rediss://127.0.0.1:1")).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_read_at_the_next_connection() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, Authority::new().certificate).unwrap();
    let server = server(&authority.sign("127.0.0.1"), None);
    // Two servers, of which one is up, so that the layer connects.
    let other = Server::private();
    let layer = options(&server).hosts([tls_url(&server), other.url()]).tls_ca(&*ca).connect().await.unwrap();
    assert!(!layer.health().await[0].is_up());
    std::fs::write(&ca, &authority.certificate).unwrap();
    super::until("the server is up", async || layer.health().await[0].is_up()).await;
}

#[test]
fn wrong_options_about_tls_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let identity = self_signed(&[], 1);
    let tls = || ConfigBuilder::new().hosts("rediss://a");
    for (options, said) in [
        (tls().tls_ca("/nonexistent.pem"), "option `tls_ca`: /nonexistent.pem: No such file"),
        (tls().tls_ca(&*empty), "option `tls_ca`: there is no certificate in PEM"),
        (tls().tls_key(&*identity.key), "option `tls_key`: give its certificate too"),
        (
            tls().tls_certificate(&*identity.certificate, &*empty),
            "option `tls_key`: there is no private key in PEM",
        ),
        (
            tls().tls_certificate(&*identity.certificate, self_signed(&[], 1).key),
            "option `tls_key`: it does not go with `tls_certificate`",
        ),
        (tls().tls_server_name("a b"), "option `tls_server_name`: \"a b\" is no name of a server"),
        (
            ConfigBuilder::new().hosts("redis://a").tls_ca(&*identity.certificate),
            "option `tls_ca`: no server is connected to with TLS; write rediss:// in place of redis://",
        ),
    ] {
        let error = options.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with(said), "{error}");
    }
    for (document, said) in [
        (r#"{"hosts": ["rediss://a"], "ssl_cert_reqs": null}"#, "certificates are always checked"),
        (
            r#"{"hosts": ["rediss://a"], "ssl_check_hostname": false}"#,
            "the name in a certificate is always checked",
        ),
        (r#"{"hosts": [{"host": "a", "tsl": true}]}"#, "\"tsl\" of a server is unknown"),
        (r#"{"hosts": [{"address": "redis://a", "ssl": true}]}"#, "write rediss://"),
        (
            r#"{"hosts": [{"host": "a", "ssl_ca_certs": "/a"}, {"host": "b", "ssl_ca_certs": "/b"}]}"#,
            "servers have different `ssl_ca_certs`",
        ),
    ] {
        let error = serde_json::from_str::<ConfigBuilder>(document).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn whose_certificate_is_not_accepted_and_which_is_the_wrong_one_is_told() {
    let authority = Authority::new();
    let theirs = authority.sign("127.0.0.1");
    let server = server(&theirs, Some(&authority.certificate));
    // A certificate of another authority.
    let other = Authority::new().sign("worker");
    let with_other =
        options(&server).tls_ca(authority.certificate.clone()).tls_certificate(other.certificate, other.key);
    is_tls(&refusal(&with_other).await, "it does not accept the certificate of this program");

    // One that signed itself is pinned, and it is not that of the server.
    let [shown, pinned] = [(); 2].map(|()| self_signed(&["127.0.0.1"], 1));
    let server = self::server(&shown, None);
    let wrong = options(&server).tls_ca(pinned.certificate);
    is_tls(&refusal(&wrong).await, "not the one that `tls_ca` names");
}

#[test]
fn a_certificate_of_an_old_version_is_blamed_and_not_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("openssl is not on PATH, so its certificate is not tried");
        return;
    }
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let (key, request, certificate) = (path("key"), path("request"), path("certificate"));
    openssl(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        &key,
        "-subj",
        "/CN=worker",
        "-out",
        &request,
    ]);
    openssl(&["x509", "-req", "-in", &request, "-signkey", &key, "-out", &certificate]);
    let builder = ConfigBuilder::new().hosts("rediss://redis1").tls_certificate(certificate, key);
    let refused = builder.build().unwrap_err().to_string();
    assert!(refused.starts_with("option `tls_certificate`: it cannot be used: "), "{refused}");
    assert!(refused.contains("X.509 version 3"), "{refused}");
}

#[tokio::test]
async fn a_server_with_tls_is_drained_into_one_without() {
    let authority = Authority::new();
    let (old, new) = (server(&authority.sign("127.0.0.1"), None), Server::private());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    std::fs::write(&ca, &authority.certificate).unwrap();
    let prefix = unique_prefix("tls-drained");
    let layer = options(&old).tls_ca(&*authority.certificate).prefix(&prefix).connect().await.unwrap();
    layer.send("jobs", &1).await.unwrap();
    let (from, to) = (tls_url(&old), new.url());
    let arguments = ["drain", "--from", &from, "--redis", &to, "--prefix", &prefix];
    let drained = cli(&arguments, &[("--tls-ca", &ca)]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(String::from_utf8_lossy(&drained.stdout).contains("moved 1 message,"), "{drained:?}");
}
