//! Random lists of keys and arguments, over all scripts: `scripts/fuzz` tries 100,000, the suite some of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use super::snapshot::Snapshot;
use super::{Call, calls, load};
use crate::support::{Server, texts};

/// So many lists are tried in the suite.
const LISTS: u64 = 2_000;
/// After so many the server begins anew, so that what it holds stays small.
const FRESH: u64 = 400;

/// What the calls of a script were answered.
#[derive(Debug, Default)]
struct Answers {
    good: u64,
    errors: u64,
    longest: Duration,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Empties the server, and lets two clients say hello of which one listens.
async fn begin(connection: &mut MultiplexedConnection) {
    let () = redis::cmd("FLUSHALL").query_async(connection).await.unwrap();
    for client in ["me", "deaf"] {
        let keys = [format!("asgi:c:{client}"), "asgi:schema".to_owned()];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Call::new("hello", &keys, &["1", "3600000", "3"]).make(connection).await.unwrap();
    }
}

/// The words of an error that a call was answered.
fn told(reply: &Result<Value, RedisError>) -> Option<String> {
    reply.as_ref().err().map(ToString::to_string)
}

#[tokio::test]
async fn an_error_means_that_nothing_was_done_whatever_a_call_has() {
    let (lists, seed) = (number("FUZZ", LISTS), number("FUZZ_SEED", number("SUITE_SEED", 1)));
    println!("FUZZ={lists} FUZZ_SEED={seed}");
    let server = Server::private();
    let mut connection = server.connection().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("asgi:wake:me").await.unwrap();
    load(&mut connection).await;

    let mut rng = Rng::with_seed(seed);
    let mut answers: BTreeMap<&str, Answers> = BTreeMap::new();
    let mut before = Snapshot::default();
    for list in 0..lists {
        if list % FRESH == 0 {
            begin(&mut connection).await;
            before = Snapshot::take(&mut connection).await;
        }
        let mut call = calls::good(&mut rng);
        if rng.u8(..4) > 0 {
            calls::spoil(&mut call, &mut rng);
        }
        let begun = Instant::now();
        let reply = call.make(&mut connection).await;
        let took = begun.elapsed();
        let after = Snapshot::take(&mut connection).await;
        let answers = answers.entry(call.script).or_default();
        answers.longest = answers.longest.max(took);
        let place = || format!("list {list} of FUZZ_SEED={seed}: {}", call.shown());
        match told(&reply) {
            None => answers.good += 1,
            Some(error) => {
                answers.errors += 1;
                let changes = after.changes(&before);
                assert!(changes.is_empty(), "{} was answered {error}, yet {changes:?}", place());
                // A line of a script is named where it fell over an argument that no check had looked at.
                assert!(!error.contains("user_script"), "{} was answered {error}", place());
                assert!(error.contains(&format!("{}: ", call.script)), "{} was answered {error}", place());
            }
        }
        assert!(
            after.eternal().iter().all(|key| *key == "asgi:schema"),
            "{} left {:?}",
            place(),
            after.eternal()
        );
        before = after;
    }
    println!("{:16} {:>8} {:>8} {:>10}", "script", "good", "errors", "longest ms");
    for (script, Answers { good, errors, longest }) in &answers {
        println!("{script:16} {good:>8} {errors:>8} {:>10.1}", longest.as_secs_f64() * 1000.0);
    }
    assert_eq!(answers.len(), texts::all().len(), "every script is called");
    assert!(answers.values().all(|answers| answers.good > 0 && answers.errors > 0), "{answers:?}");
}
