//! The program that measures: this one, run again with its [`Role`] in the environment and pinned to its core.

use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use asgi_redis::{PackedMessage, RedisChannelLayer};

use crate::floor::{self, Raw};
use crate::measures::MEASURES;
use crate::meter::Meter;
use crate::options::Options;
use crate::placement::{Cores, Placement};
use crate::report::Line;
use crate::server::Sockets;
use crate::{Result, meter};

/// Names what a run measures: a placement, whether figures that do not depend on it are wanted too, and servers.
const ROLE: &str = "ASGI_REDIS_BENCH";
const MESSAGE_BYTES: usize = 200;
/// For the rounds of one measure.
const MAX_TIME: Duration = Duration::from_secs(8);
/// So that nothing is refused or expires.
pub(crate) const CAPACITY: usize = 1_000_000;
pub(crate) const EXPIRY: Duration = Duration::from_secs(600);
/// Over how many servers the layers of a measure may be.
pub(crate) const MAX_HOSTS: usize = 8;

pub(crate) struct Role {
    placement: Placement,
    is_first: bool,
    urls: Vec<String>,
    sockets: Sockets,
}

impl Role {
    pub(crate) fn new(placement: Placement, is_first: bool, urls: Vec<String>, sockets: Sockets) -> Self {
        Self { placement, is_first, urls, sockets }
    }

    /// The role that this process was given, if it is not the one that a user started.
    pub(crate) fn from_environment() -> Result<Option<Self>> {
        let Some(role) = std::env::var_os(ROLE) else { return Ok(None) };
        let role = role.to_str().unwrap_or_default();
        let mut parts = role.split(' ');
        let mut next = || parts.next().map(str::to_owned);
        match (next(), next(), next().zip(next()), parts.map(str::to_owned).collect::<Vec<_>>()) {
            (Some(placement), Some(first), Some((tcp, unix)), urls) if urls.len() == MAX_HOSTS => {
                let sockets = Sockets { tcp, unix };
                Ok(Some(Self::new(placement.parse()?, first == "first", urls, sockets)))
            }
            _ => Err(format!("{ROLE}={role:?} is no role; it is set by this program for itself").into()),
        }
    }

    /// This program in that role.
    pub(crate) fn command(&self, cores: &Cores) -> Result<Command> {
        let program = std::env::current_exe()?;
        let program = program.to_str().ok_or("the path of this program is not UTF-8")?;
        let mut command = cores.client(self.placement, program);
        let Sockets { tcp, unix } = &self.sockets;
        let turn = if self.is_first { "first" } else { "further" };
        command
            .args(std::env::args().skip(1))
            .env(ROLE, format!("{} {turn} {tcp} {unix} {}", self.placement, self.urls.join(" ")));
        Ok(command)
    }

    /// Measures, and writes a line of JSON for each figure.
    pub(crate) fn measure(self, options: &Options) -> Result<()> {
        std::thread::spawn(end_with_supervisor);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut bench = Bench::connect(self, options).await?;
            for (name, measure) in MEASURES {
                if options.wants_measure(name) {
                    eprintln!("side_by_side: {}: {name}", bench.placement);
                    for line in measure(&mut bench).await? {
                        println!("{}", serde_json::to_string(&line)?);
                    }
                }
            }
            Ok(())
        })
    }
}

/// Ends this process when the one that started it is gone.
fn end_with_supervisor() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(1);
}

/// What every measure works with.
pub(crate) struct Bench {
    pub(crate) placement: Placement,
    /// Whether figures that do not depend on the placement are wanted.
    pub(crate) is_first: bool,
    pub(crate) quick: bool,
    pub(crate) full_idle: bool,
    /// Of the server that most is measured on.
    pub(crate) url: String,
    pub(crate) sockets: Sockets,
    urls: Vec<String>,
    pub(crate) raw: Raw,
    pub(crate) meter: Meter,
}

impl Bench {
    async fn connect(role: Role, options: &Options) -> Result<Self> {
        let url = role.urls.first().cloned().unwrap_or_default();
        Ok(Self {
            placement: role.placement,
            is_first: role.is_first,
            quick: options.quick,
            full_idle: options.full_idle,
            raw: Raw::connect(&url).await?,
            meter: Meter::new(floor::connect(&url).await?),
            url,
            urls: role.urls,
            sockets: role.sockets,
        })
    }

    /// A layer with a connection of its own.
    pub(crate) async fn layer(&self) -> Result<RedisChannelLayer> {
        layer_at(&self.url).await
    }

    /// A layer over so many servers.
    pub(crate) async fn layer_over(&self, hosts: usize) -> Result<RedisChannelLayer> {
        let layer = RedisChannelLayer::builder()
            .hosts(self.urls.iter().take(hosts).map(String::as_str).collect::<Vec<_>>());
        Ok(layer.capacity(CAPACITY).expiry(EXPIRY).connect().await?)
    }

    pub(crate) async fn layer_with_lease(&self, lease: Duration) -> Result<RedisChannelLayer> {
        let layer = RedisChannelLayer::builder().hosts([self.url.as_str()]).capacity(CAPACITY);
        Ok(layer.expiry(EXPIRY).lease(lease).connect().await?)
    }

    /// A further connection for raw commands, for those that block.
    pub(crate) async fn raw_connection(&self) -> Result<Raw> {
        Raw::connect(&self.url).await
    }

    pub(crate) fn line(&self, measure: &str, beside: &str) -> Line {
        Line::new(self.placement, measure, beside)
    }

    /// `full` rounds, or `quick` in a quick run, and one before them that warms up. On a busy machine it is fewer, so
    /// that the whole run ends in time.
    pub(crate) fn rounds(&self, full: usize, quick: usize) -> impl Iterator<Item = usize> + use<> {
        let started = Instant::now();
        let rounds = if self.quick { quick } else { full };
        (0..=rounds).take_while(move |round| *round <= quick || started.elapsed() < MAX_TIME)
    }
}

/// The layer's default, which the extrapolation of idle commands rests on.
pub(crate) const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// A layer with a connection of its own.
pub(crate) async fn layer_at(url: &str) -> Result<RedisChannelLayer> {
    let layer = RedisChannelLayer::builder().hosts([url]).capacity(CAPACITY).expiry(EXPIRY);
    Ok(layer.connect().await?)
}

/// What is sent: bytes that are packed already, as both sides only carry them.
pub(crate) fn message() -> PackedMessage {
    PackedMessage::from_bytes(vec![b'x'; MESSAGE_BYTES])
}

pub(crate) fn message_bytes() -> f64 {
    meter::count(MESSAGE_BYTES)
}

/// The key of a channel's queue, as `lua/README.md` publishes it.
pub(crate) fn queue_key(channel: &str) -> String {
    format!("asgi:q:{channel}")
}
