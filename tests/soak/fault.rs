//! The faults: what befalls a server, the way to it, or a worker; each ends by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::books::Books;
use super::crew::Crew;
use super::network::Way;
use super::server::{SETTLED, Site};

/// After so long without an answer a connection counts as lost.
const NOTICED: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All connections break at once.
    Cut,
    Stall,
    HalfOpen,
    Refuse,
    /// The server is frozen.
    Freeze,
    /// A worker is frozen.
    FreezeWorker,
    /// A worker is killed; another takes its place.
    KillWorker,
    /// Killed; it comes back without its data.
    Forget,
    /// Killed; it comes back with a snapshot of a while before.
    Snapshot,
    /// Killed; it comes back with all its data.
    Restart,
    /// The replica is promoted; connections to the demoted server stay open.
    Demote,
    /// The replica is promoted; connections break.
    Failover,
    /// A replica that lags is promoted.
    LaggingReplica,
    FlushAll,
    /// Some keys vanish.
    Evict,
    ScriptFlush,
    NoWrites,
    NoMemory,
    NoRights,
    /// The server's clock is set back.
    ClockBack,
    ClockForward,
}

/// After these memberships may be missing until the owner's comparison comes by, and a ticket whose keys are gone hears of
/// what waits with the next beat.
const INBOXES_ARE_LATE: [Fault; 1] = [Fault::Evict];

/// Those that are wanted.
pub(crate) fn all(only: Option<&str>) -> Vec<Fault> {
    use Fault::*;
    let all = [
        Cut,
        Stall,
        HalfOpen,
        Refuse,
        Freeze,
        FreezeWorker,
        KillWorker,
        Forget,
        Snapshot,
        Restart,
        Demote,
        Failover,
        LaggingReplica,
        FlushAll,
        Evict,
        ScriptFlush,
        NoWrites,
        NoMemory,
        NoRights,
        ClockBack,
        ClockForward,
    ];
    let is_wanted = |fault: &Fault| only.is_none_or(|only| only.split(',').any(|name| name == fault.name()));
    all.into_iter().filter(is_wanted).collect()
}

impl Fault {
    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    /// Whether the fault itself makes timers late.
    pub(crate) fn delays_timers(self) -> bool {
        self == Self::FreezeWorker
    }

    pub(crate) fn excuses_inboxes(self) -> bool {
        INBOXES_ARE_LATE.contains(&self)
    }

    /// Lets it happen to the server in this place; returns when it is over.
    pub(crate) async fn befall(
        self,
        sites: &mut [Site],
        place: usize,
        lasts: Duration,
        crew: &mut Crew,
        books: &mut Books,
        random: &mut Rng,
    ) {
        if self == Self::KillWorker {
            let worker = random.usize(0..crew.count());
            let handed = async || {
                // What it had sent before it died is done.
                sleep(SETTLED).await;
                let mut ids = BTreeSet::new();
                for site in sites.iter() {
                    ids.extend(site.ids_handed().await);
                }
                ids
            };
            return crew.replace(worker, books, handed).await;
        }
        let Some(site) = sites.get_mut(place) else { return };
        match self {
            Self::Cut => site.proxy.cut(),
            Self::Stall => {
                site.proxy.set(Way::Stalled);
                sleep(lasts).await;
                site.proxy.set(Way::Open);
            }
            Self::HalfOpen => {
                site.proxy.set(Way::Swallowing);
                // Longer than it takes to notice: what was open before the hole stays dead after it.
                sleep(NOTICED + lasts).await;
                site.proxy.set(Way::Open);
            }
            Self::Refuse => {
                site.proxy.set(Way::Refusing);
                site.proxy.cut();
                sleep(lasts).await;
                site.proxy.set(Way::Open);
            }
            Self::Freeze => {
                site.primary().pause().expect("it runs");
                sleep(lasts).await;
                site.primary().unpause().expect("it runs");
            }
            Self::FreezeWorker => {
                let worker = random.usize(0..crew.count());
                crew.signal(worker, "STOP").await;
                sleep(lasts).await;
                crew.signal(worker, "CONT").await;
            }
            Self::KillWorker => {}
            Self::Forget => {
                site.proxy.set(Way::Refusing);
                site.proxy.cut();
                let (held, restored) = site.restart(false).await;
                books.went_back(&held, &restored);
                sleep(lasts).await;
                site.proxy.set(Way::Open);
            }
            Self::Snapshot => {
                let () = site.ask(&redis::cmd("SAVE")).await;
                crew.listen(books, lasts).await;
                site.proxy.set(Way::Refusing);
                site.proxy.cut();
                let (held, restored) = site.restart(true).await;
                books.went_back(&held, &restored);
                site.proxy.set(Way::Open);
            }
            Self::Restart => {
                site.proxy.set(Way::Refusing);
                site.proxy.cut();
                sleep(Duration::from_millis(50)).await;
                let () = site.ask(&redis::cmd("SAVE")).await;
                let (held, restored) = site.restart(true).await;
                if held != restored {
                    books.wrong("a server that saved and restarted holds something else".to_owned());
                }
                site.proxy.set(Way::Open);
            }
            Self::Demote => {
                site.replica_is_even().await;
                site.proxy.set(Way::Stalled);
                sleep(Duration::from_millis(50)).await;
                site.replica_is_even().await;
                let (held, restored) = site.change_roles().await;
                books.went_back(&held, &restored);
                site.proxy.set(Way::Open);
            }
            Self::Failover => {
                site.replica_is_even().await;
                site.proxy.set(Way::Refusing);
                site.proxy.cut();
                sleep(Duration::from_millis(50)).await;
                site.replica_is_even().await;
                let (held, restored) = site.change_roles().await;
                if held != restored {
                    books.wrong("an even replica holds something else".to_owned());
                }
                sleep(lasts).await;
                site.proxy.set(Way::Open);
            }
            Self::LaggingReplica => {
                site.replica_is_even().await;
                site.lag(lasts, crew, books).await;
            }
            Self::FlushAll => {
                site.proxy.set(Way::Stalled);
                let harm = site.harm(async |site: &Site| site.ask(&redis::cmd("FLUSHALL")).await).await;
                books.went_back(&harm.0, &harm.1);
                site.proxy.set(Way::Open);
            }
            Self::Evict => {
                site.proxy.set(Way::Stalled);
                let keys = site.keys().await;
                let chosen: Vec<String> = keys.into_iter().filter(|_| random.u32(0..4) == 0).collect();
                let evict = async |site: &Site| {
                    if !chosen.is_empty() {
                        let _: i64 = site.ask(redis::cmd("DEL").arg(&chosen)).await;
                    }
                };
                let harm = site.harm(evict).await;
                books.went_back(&harm.0, &harm.1);
                site.proxy.set(Way::Open);
            }
            Self::ScriptFlush => {
                for _ in 0..3 {
                    let () = site.ask(redis::cmd("SCRIPT").arg("FLUSH")).await;
                    sleep(lasts / 3).await;
                }
            }
            Self::ClockBack => site.step_clock(-60),
            Self::ClockForward => site.step_clock(60),
            Self::NoWrites => site.while_set("min-replicas-to-write", "9", "0", lasts).await,
            Self::NoMemory => site.while_set("maxmemory", "1", "0", lasts).await,
            Self::NoRights => {
                let rights = |sign: &str| {
                    redis::cmd("ACL").arg("SETUSER").arg("default").arg(format!("{sign}publish")).to_owned()
                };
                let () = site.ask(&rights("-")).await;
                sleep(lasts).await;
                let () = site.ask(&rights("+")).await;
            }
        }
    }
}

impl Site {
    async fn while_set(&self, name: &str, during: &str, after: &str, lasts: Duration) {
        let set = |value: &str| redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
        let () = self.ask(&set(during)).await;
        sleep(lasts).await;
        let () = self.ask(&set(after)).await;
    }

    /// The replica stops following for a while, and then is promoted.
    async fn lag(&mut self, lasts: Duration, crew: &mut Crew, books: &mut Books) {
        self.stop_following().await;
        crew.listen(books, lasts).await;
        self.proxy.set(Way::Refusing);
        self.proxy.cut();
        sleep(Duration::from_millis(50)).await;
        let (held, restored) = self.change_roles().await;
        books.went_back(&held, &restored);
        self.proxy.set(Way::Open);
    }
}
