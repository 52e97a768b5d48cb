//! What a check is: a rule of a tier, and how it is tried.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use super::stage::Stage;

/// What a client can do. A client names those that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tier {
    Sender,
    Taker,
    Waiter,
    Servers,
    Inbox,
    Sealing,
    Hiding,
}

impl Tier {
    pub(super) const ALL: [Self; 7] =
        [Self::Sender, Self::Taker, Self::Waiter, Self::Servers, Self::Inbox, Self::Sealing, Self::Hiding];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Taker => "taker",
            Self::Waiter => "waiter",
            Self::Servers => "servers",
            Self::Inbox => "inbox",
            Self::Sealing => "sealing",
            Self::Hiding => "hiding",
        }
    }
}

/// What a check found: nothing, or what is not as it must be.
pub(super) type Outcome = Result<(), String>;
pub(super) type Work<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A rule as it is tried.
#[derive(Clone, Copy)]
pub(super) struct Check {
    pub(super) tier: Tier,
    pub(super) rule: &'static str,
    /// What must hold.
    pub(super) says: &'static str,
    pub(super) servers: usize,
    pub(super) run: for<'a> fn(&'a Stage) -> Work<'a>,
}

/// A check of a tier, by its rule, on one server or so many.
macro_rules! check {
    ($tier:ident, $rule:literal, $says:literal, $run:ident) => {
        check!($tier, $rule, $says, $run, 1)
    };
    ($tier:ident, $rule:literal, $says:literal, $run:ident, $servers:literal) => {
        $crate::cli::conformance::check::Check {
            tier: $crate::cli::conformance::check::Tier::$tier,
            rule: $rule,
            says: $says,
            servers: $servers,
            run: |stage| Box::pin($run(stage)),
        }
    };
}
pub(super) use check;
