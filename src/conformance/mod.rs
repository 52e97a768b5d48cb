//! A test for every requirement of a channel layer, to be run on any layer.
//!
//! The author of a layer implements [`Subject`], which makes layers of that kind, and gets a test function for each
//! requirement:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use asgi_redis::conformance::{Settings, Subject};
//! use asgi_redis::{BoxFuture, ChannelLayer, RedisChannelLayer, glob};
//!
//! struct OneServer;
//!
//! impl Subject for OneServer {
//!     fn layers<'a>(
//!         &'a self,
//!         settings: &'a Settings,
//!         clients: usize,
//!     ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
//!         Box::pin(async move {
//!             let patterns = settings.channel_capacity.iter();
//!             let options = RedisChannelLayer::builder()
//!                 .hosts(["redis://127.0.0.1:6380/0"])
//!                 .prefix(asgi_redis::ChannelName::random("test?").unwrap().as_str())
//!                 .expiry(settings.expiry)
//!                 .group_expiry(settings.group_expiry)
//!                 .capacity(settings.capacity)
//!                 .inbox_capacity(settings.capacity)
//!                 .channel_capacity(patterns.map(|(pattern, capacity)| (glob(pattern), *capacity)))
//!                 .max_message_size(settings.max_message_size);
//!             let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::new();
//!             for _ in 0..clients {
//!                 layers.push(Arc::new(options.connect().await.unwrap()));
//!             }
//!             layers
//!         })
//!     }
//! }
//!
//! mod one_server {
//!     # use super::OneServer;
//!     asgi_redis::conformance_tests!(OneServer);
//! }
//! # fn main() {}
//! ```
//!
//! [`tests`] has them all, with the rule that each shows and where it is written: in "Spec 1.0", the channel layer
//! specification of ASGI (`docs/asgi.rst` of Django Channels 1.1.8); in "the asgiref suite", the conformance tests that came
//! with it (asgiref 1.1.2); in "Channels 4", today's specification (`docs/channel_layer_spec.rst`); or in the
//! promises of [`ChannelLayer`](crate::ChannelLayer) ("This crate").
//!
//! # What is not tested
//!
//! What the specifications wish and do not require: the order of normal channels, a success rate, the resilience mode,
//! and statistics. What belongs to Python: the exceptions as attributes of the layer, the list of extensions, the
//! dictionary at the top of a message and its reserved key. And what takes a failure to show, such as the death of a process
//! or of a server, which a test of the layer itself must bring about.

// A requirement that fails is a panic, as in any test.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod bulk;
mod cancel;
mod capacity;
mod close;
mod delivery;
mod events;
mod expiry;
mod flush;
mod groups;
mod inboxes;
mod list;
mod members;
#[cfg(test)]
mod memory;
mod messages;
mod names;
mod order;
mod requests;
mod runtimes;
mod slow;
mod streams;
mod subject;
mod support;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

pub use self::subject::{Settings, Subject};

/// A test under way. It stays on the thread that polls it; the tasks that it spawns do not.
type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A requirement and its test.
pub struct Test {
    name: &'static str,
    source: &'static str,
    requirement: &'static str,
    run: for<'a> fn(&'a dyn Subject) -> Running<'a>,
}

impl Test {
    /// The name of the test, with its subject: `messages::bytes_and_text_stay_different`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The rule that it shows, in short.
    pub fn requirement(&self) -> &'static str {
        self.requirement
    }

    /// Where the rule is written: "Spec 1.0, Capacity".
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Runs the test, on a Tokio runtime with several threads. It takes some seconds at most, unless the machine is very
    /// busy. The future need not be sent to another thread: `block_on` takes it.
    ///
    /// # Panics
    ///
    /// The future panics when the layer breaks the rule.
    pub fn run<'a>(&self, subject: &'a dyn Subject) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        (self.run)(subject)
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a test function for each of [`tests`](crate::conformance::tests), in a module for each of their subjects. The
/// expression makes the [`Subject`](crate::conformance::Subject), anew for each test.
///
/// See [the module](crate::conformance) for an example.
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr $(,)?) => {
        fn __subject() -> impl $crate::conformance::Subject {
            $subject
        }
        $crate::__conformance_list! { __conformance_functions }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_functions {
    ($($subject:ident { $($source:literal, $requirement:literal => $($test:ident),+;)+ })+) => {
        $(mod $subject {
            $($(
                #[test]
                fn $test() {
                    let name = ::core::concat!(::core::stringify!($subject), "::", ::core::stringify!($test));
                    $crate::conformance::__run(name, &super::__subject());
                }
            )+)+
        })+
    };
}

/// A layer may hang where a test does not expect it.
const LONGEST_TEST: Duration = Duration::from_secs(300);

/// Runs the test of this name, on a runtime of its own.
#[doc(hidden)]
#[allow(clippy::missing_panics_doc)] // it is for the macro
pub fn __run(name: &str, subject: &dyn Subject) {
    let test = tests().iter().find(|test| test.name == name).expect("the macro has the names of the list");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(LONGEST_TEST, test.run(subject)).await });
    assert!(outcome.is_ok(), "{name} was not done within {LONGEST_TEST:?}");
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ($($subject:ident { $($source:literal, $requirement:literal => $($test:ident),+;)+ })+) => {
        /// All tests, by requirement.
        ///
        /// | source | requirement | tests |
        /// |---|---|---|
        $($(#[doc = concat!(
            "| ", $source, " | ", $requirement, " | ",
            $("`", stringify!($subject), "::", stringify!($test), "` "),+, "|"
        )])+)+
        pub fn tests() -> &'static [Test] {
            const TESTS: &[Test] = &[$($($(
                Test {
                    name: concat!(stringify!($subject), "::", stringify!($test)),
                    source: $source,
                    requirement: $requirement,
                    run: |subject| Box::pin($subject::$test(subject)),
                },
            )+)+)+];
            TESTS
        }
    };
}

crate::__conformance_list! { __conformance_table }

#[cfg(test)]
mod unit_tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_test_is_listed_once_with_a_rule_and_its_source() {
        let sources = ["Spec 1.0, ", "The asgiref suite", "Channels 4", "This crate"];
        let mut names = BTreeSet::new();
        for test in tests() {
            assert!(names.insert(test.name()), "{} is listed twice", test.name());
            assert!(sources.iter().any(|source| test.source().starts_with(source)), "{}", test.source());
            assert!(!test.requirement().is_empty(), "{test:?}");
        }
    }
}
