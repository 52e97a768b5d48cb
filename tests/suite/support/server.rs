//! A real server, of the product that is the test's, in a container or as a process, and the choice between the two.

use std::env::VarError;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::container::{self, Container};
use super::process::{self, Process};
use super::product::{Product, seed};

/// A running Redis or Valkey that keeps nothing on disk and is removed when dropped.
///
/// Every method may be called from plain and from async tests. Those that start, stop or freeze the server block the
/// calling thread until it is done.
pub(crate) struct Server {
    kind: Kind,
    product: Product,
    instance: Box<dyn Instance>,
    /// Those that are shared beside this one, as long as it is.
    companions: OnceLock<[Arc<Server>; 2]>,
}

/// The servers of one layer, shared by the tests.
pub(crate) struct Servers {
    all: Vec<Arc<Server>>,
}

/// How servers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In containers of a Docker engine.
    Docker,
    /// As child processes.
    Process,
}

/// What a way of running servers must be able to do; each call returns when it is done.
pub(super) trait Instance: Send + Sync {
    fn host(&self) -> &str;
    fn port(&self) -> u16;
    fn start(&self);
    fn kill(&self);
    fn terminate(&self);
    fn pause(&self);
    fn unpause(&self);
}

/// What a server is started with besides what all have.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) product: Product,
    /// The program that becomes the server by `exec`; processes only.
    pub(super) launcher: &'a [&'a str],
    pub(super) args: &'a [&'a str],
    pub(super) files: &'a [(&'a str, &'a [u8])],
}

impl Setup<'_> {
    /// The command line of a server that stands in `directory` and listens on `port`.
    pub(super) fn arguments(&self, bind: &str, port: u16, directory: &str) -> Vec<String> {
        let port = port.to_string();
        ["--bind", bind, "--protected-mode", "no", "--port", &port, "--save", "", "--appendonly", "no"]
            .iter()
            .chain(self.args)
            .map(|argument| argument.replace("{dir}", directory).replace("{port}", &port))
            .collect()
    }
}

impl Server {
    /// The server that tests share; each keeps to a prefix of its own, and none flushes, stops or configures it.
    ///
    /// There is one of each product. It lives as long as some test holds it and is started again for the next one. A static may not own it: what
    /// statics hold is never dropped, and its container would outlive the suite.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: [Mutex<Weak<Server>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let place = &SHARED[Product::of_this_test() as usize];
        let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::private());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of the test's own.
    pub(crate) fn private() -> Self {
        Self::private_with(&[])
    }

    /// A server of the test's own with further arguments, such as `&["--maxmemory", "20mb"]`.
    pub(crate) fn private_with(args: &[&str]) -> Self {
        Self::private_with_files(args, &[])
    }

    /// A server of the test's own, with further arguments and with files, such as certificates.
    ///
    /// In the arguments `{dir}` stands for the directory of the files and `{port}` for the port to listen on.
    pub(crate) fn private_with_files(args: &[&str], files: &[(&str, &[u8])]) -> Self {
        Self::start_new(
            Kind::chosen(),
            &Setup { product: Product::of_this_test(), launcher: &[], args, files },
        )
    }

    /// A server of the test's own that speaks TLS alone, with a certificate and its key, in PEM. With an authority it wants a
    /// certificate of that from its clients. It is Redis: the Valkey of the tests is built without TLS.
    pub(crate) fn private_with_tls(certificate: &str, key: &str, authority: Option<&str>) -> Self {
        let ca = authority.unwrap_or(certificate);
        let files = [("cert", certificate.as_bytes()), ("key", key.as_bytes()), ("ca", ca.as_bytes())];
        let args = [
            "--tls-port",
            "{port}",
            "--port",
            "0",
            "--tls-cert-file",
            "{dir}/cert",
            "--tls-key-file",
            "{dir}/key",
            "--tls-ca-cert-file",
            "{dir}/ca",
            "--tls-auth-clients",
            if authority.is_some() { "yes" } else { "no" },
        ];
        let setup = Setup { product: Product::Redis, launcher: &[], args: &args, files: &files };
        Self::start_new(Kind::chosen(), &setup)
    }

    /// A server of one kind, for tests of the fixture itself.
    pub(crate) fn of_kind(kind: Kind) -> Self {
        Self::of_kind_with_files(kind, &[], &[])
    }

    /// A server of one kind, as `private_with_files`.
    pub(crate) fn of_kind_with_files(kind: Kind, args: &[&str], files: &[(&str, &[u8])]) -> Self {
        Self::start_new(kind, &Setup { product: Product::of_this_test(), launcher: &[], args, files })
    }

    /// A server of one product, for a test that is about it alone.
    pub(crate) fn of_product(product: Product) -> Self {
        Self::start_new(Kind::chosen(), &Setup { product, launcher: &[], args: &[], files: &[] })
    }

    /// A server of the test's own that is a process whatever kind was chosen, so that other servers reach it at its
    /// address, as replicas do, and its directory can be looked into.
    pub(crate) fn process(args: &[&str]) -> Self {
        Self::process_launched_by(&[], args)
    }

    /// A process that is started by another program, which becomes the server by `exec`.
    pub(super) fn process_launched_by(launcher: &[&str], args: &[&str]) -> Self {
        Self::start_new(
            Kind::Process,
            &Setup { product: Product::of_this_test(), launcher, args, files: &[] },
        )
    }

    fn start_new(kind: Kind, setup: &Setup<'_>) -> Self {
        let instance: Box<dyn Instance> = match kind {
            Kind::Docker => Box::new(Container::start_new(setup)),
            Kind::Process => Box::new(Process::start_new(setup)),
        };
        let server = Self { kind, product: setup.product, instance, companions: OnceLock::new() };
        // The test framework shows this beside a test that fails.
        println!("a server: {:?}, {kind:?}, SUITE_SEED={}", setup.product, seed());
        if kind == Kind::chosen() {
            server.report();
        }
        server
    }

    /// How the server is run.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is.
    pub(crate) fn product(&self) -> Product {
        self.product
    }

    /// `host:port`; it stays the same across restarts.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.instance.host(), self.instance.port())
    }

    /// The URL of database 0.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The port of its address.
    pub(crate) fn port(&self) -> u16 {
        self.instance.port()
    }

    /// The URL of a database.
    pub(crate) fn url_with_db(&self, db: u8) -> String {
        format!("{}/{db}", self.url())
    }

    /// Starts the server again at its address, without its former data except for a snapshot that a test made with
    /// `SAVE`, and waits until it is ready.
    pub(crate) fn start(&self) {
        self.instance.start();
    }

    /// Kills the server at once.
    pub(crate) fn stop(&self) {
        self.instance.kill();
    }

    /// Asks the server to end and waits for it.
    pub(crate) fn terminate(&self) {
        self.instance.terminate();
    }

    /// Freezes the server: its connections stay open, and it answers nothing.
    pub(crate) fn pause(&self) {
        self.instance.pause();
    }

    /// Lets a frozen server go on.
    pub(crate) fn unpause(&self) {
        self.instance.unpause();
    }

    /// Adds a line to the file named by `TEST_SERVER_REPORT`, from which CI sees what the suite ran on.
    fn report(&self) {
        let Some(path) = std::env::var_os("TEST_SERVER_REPORT") else { return };
        let line = format!("{:?} {:?} {}\n", self.kind, self.product, self.address()).to_lowercase();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("cannot write TEST_SERVER_REPORT {}: {error}", path.display()));
    }
}

impl Servers {
    /// The one that tests share.
    pub(crate) fn one() -> Self {
        Self { all: vec![Server::shared()] }
    }

    /// The same and two more.
    pub(crate) fn three() -> Self {
        let first = Server::shared();
        let start = || [(); 2].map(|()| Arc::new(Server::private()));
        let companions = first.companions.get_or_init(start).clone();
        Self { all: std::iter::once(first).chain(companions).collect() }
    }

    /// Each of them, in the order of the host list.
    pub(crate) fn all(&self) -> &[Arc<Server>] {
        &self.all
    }
}

impl Kind {
    /// The kind that this run of the suite uses: what `TEST_SERVER` says, else a container where an engine answers,
    /// else a process.
    pub(crate) fn chosen() -> Self {
        static CHOSEN: OnceLock<Result<Kind, String>> = OnceLock::new();
        CHOSEN.get_or_init(Self::choose).clone().unwrap_or_else(|why| panic!("{why}"))
    }

    /// The chosen kind, and processes where a server program is on `PATH`.
    pub(crate) fn available() -> Vec<Self> {
        match Self::chosen() {
            Self::Docker if process::find().is_ok() => vec![Self::Docker, Self::Process],
            chosen => vec![chosen],
        }
    }

    fn choose() -> Result<Self, String> {
        match std::env::var("TEST_SERVER").as_deref() {
            Ok("docker") => container::engine_answers()
                .map(|()| Self::Docker)
                .map_err(|error| format!("TEST_SERVER=docker, but no Docker engine answers: {error}")),
            Ok("process") => process::find().map(|()| Self::Process),
            Ok("") | Err(VarError::NotPresent) => match container::engine_answers() {
                Ok(()) => Ok(Self::Docker),
                Err(_) => process::find().map(|()| Self::Process),
            },
            Ok(other) => Err(format!("TEST_SERVER must be `docker` or `process`, not `{other}`")),
            Err(error) => Err(format!("TEST_SERVER: {error}")),
        }
    }
}
