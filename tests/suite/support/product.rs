//! The products that the servers of the tests are, Redis and Valkey, and which test gets which.
//!
//! The suite runs once, and each test on one of them: a hash of the test's name and of the run's seed says on which.
//! `SUITE_SEED` sets the seed, so that a run can be repeated, and `TEST_SERVERS=valkey` names the only product.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use asgi_redis::test_server::ServerProgram;

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Redis,
    Valkey,
}

const BOTH: [Product; 2] = [Product::Redis, Product::Valkey];

impl Product {
    /// The product of the test that runs in this thread: the test framework gives a thread the name of its test.
    pub(crate) fn of_this_test() -> Self {
        let thread = std::thread::current();
        Self::of_test(thread.name().unwrap_or_default(), seed(), Self::wanted())
    }

    pub(crate) fn of_test(name: &str, seed: u64, among: &[Self]) -> Self {
        let mut hasher = DefaultHasher::new();
        (name, seed).hash(&mut hasher);
        let place = hasher.finish() % among.len() as u64;
        among[usize::try_from(place).unwrap()]
    }

    /// The products that this run uses: what `TEST_SERVERS` says, else both.
    pub(crate) fn wanted() -> &'static [Self] {
        static WANTED: OnceLock<Result<Vec<Product>, String>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| match std::env::var("TEST_SERVERS") {
            Ok(text) if !text.trim().is_empty() => Self::named(&text),
            _ => Ok(BOTH.to_vec()),
        });
        wanted.as_deref().unwrap_or_else(|why| panic!("{why}"))
    }

    /// Reads `redis`, `valkey`, or both with a comma.
    pub(crate) fn named(text: &str) -> Result<Vec<Self>, String> {
        let parse = |word: &str| match word.trim() {
            "redis" => Ok(Self::Redis),
            "valkey" => Ok(Self::Valkey),
            other => {
                Err(format!("TEST_SERVERS={text}: {other:?} is neither redis nor valkey; give redis,valkey"))
            }
        };
        text.split(',').map(parse).collect()
    }

    /// The name of its program.
    pub(crate) fn program_name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    /// Its program: `redis-server` on `PATH`; for Valkey what `TEST_VALKEY` names, else what `scripts/install-valkey`
    /// fetched, else `valkey-server` on `PATH`. The error names the remedy.
    pub(crate) fn program(self) -> Result<ServerProgram, String> {
        let path = match self {
            Self::Redis => PathBuf::from(self.program_name()),
            Self::Valkey => match std::env::var_os("TEST_VALKEY").filter(|path| !path.is_empty()) {
                Some(path) => PathBuf::from(path),
                None => {
                    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/valkey/valkey-server");
                    if fetched.exists() { fetched } else { PathBuf::from(self.program_name()) }
                }
            },
        };
        ServerProgram::at(&path).map_err(|error| {
            let (other, remedy) = match self {
                Self::Redis => ("valkey", "install redis-server 7.0 or newer"),
                Self::Valkey => {
                    ("redis", "run scripts/install-valkey, or name a valkey-server in TEST_VALKEY")
                }
            };
            format!("this test runs on {self:?}, and {error}: {remedy}; TEST_SERVERS={other} leaves it out")
        })
    }
}

/// The seed of this run, which is printed once, past the test framework's capture.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = match std::env::var("SUITE_SEED") {
            Ok(text) if !text.is_empty() => {
                text.parse().unwrap_or_else(|_| panic!("SUITE_SEED={text} is not a number"))
            }
            _ => u64::from(std::process::id()),
        };
        let _ = writeln!(std::io::stderr(), "SUITE_SEED={seed}: it says which test runs on which server");
        seed
    })
}
