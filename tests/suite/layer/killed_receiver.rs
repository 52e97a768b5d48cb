//! A process that is killed while it receives takes with it what it had in hand, and no more.
//!
//! It is a real process: this program, run again for one function that does nothing in a run of the suite.

use std::collections::BTreeSet;
use std::time::Duration;

use asgi_redis::{ChannelLayerExt, ConfigBuilder};
use futures::future::join_all;

use super::{Hosts, soon};
use crate::support::{Servers, end_with_the_suite, start_child, unique_prefix};

/// Says to the child which prefix and servers it works on.
const ROLE: &str = "ASGI_REDIS_SUITE_RECEIVER";
const RECEIVES: usize = 4;
const LEASE: Duration = Duration::from_secs(1);
const COUNT: u64 = 3_000;
/// So many lines of the child are read before it is killed.
const BEFORE: usize = 500;

fn options(urls: &[impl AsRef<str>], prefix: &str) -> ConfigBuilder {
    let urls: Vec<&str> = urls.iter().map(AsRef::as_ref).collect();
    ConfigBuilder::new().hosts(urls).prefix(prefix).lease(LEASE).capacity(10_000)
}

/// What the child does until its standard input ends, and nothing in a run of the suite, where nobody gave it a role: some
/// tasks receive, and each number that one gets is a line of output.
#[tokio::test]
async fn the_part_of_a_receiving_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    end_with_the_suite();
    let (prefix, urls) = role.split_once(' ').unwrap();
    let layer = options(&urls.split(' ').collect::<Vec<_>>(), prefix).connect().await.unwrap();
    println!("\nready");
    let receive = async |_| {
        while let Ok((_, number)) = layer.receive::<u64>(["jobs"]).await {
            println!("got {number}");
        }
    };
    join_all((0..RECEIVES).map(receive)).await;
}

on_one_and_three_servers!(
    a_killed_receiver_takes_one_message_from_each_server_for_each_receive_at_most,
    threads
);
async fn a_killed_receiver_takes_one_message_from_each_server_for_each_receive_at_most(servers: Servers) {
    let (urls, prefix) = (servers.urls(), unique_prefix("killed-receiver"));
    let role = format!("{prefix} {}", urls.join(" "));
    let (mut process, mut lines) =
        start_child(module_path!(), "the_part_of_a_receiving_process", (ROLE, &role));
    let layer = options(&urls, &prefix).connect().await.unwrap();
    let sending = tokio::spawn({
        let layer = layer.clone();
        async move {
            for number in 0..COUNT {
                layer.send("jobs", &number).await.unwrap();
            }
        }
    });
    let mut got = tokio::task::spawn_blocking(move || {
        let number = |line: String| line.strip_prefix("got ")?.parse::<u64>().ok();
        let mut got: Vec<u64> =
            lines.by_ref().map_while(Result::ok).filter_map(number).take(BEFORE).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        // The last line may be cut, and is then no line.
        got.extend(lines.map_while(Result::ok).filter_map(number));
        got
    })
    .await
    .unwrap();
    soon("all sends", sending).await.unwrap();
    let of_the_child = got.len();
    // Longer than the lease of the dead: what its receives stood in the way of comes by then.
    while let Some((_, number)) = layer.receive_timeout::<u64>(["jobs"], 3 * LEASE).await.unwrap() {
        got.push(number);
    }
    let each: BTreeSet<u64> = got.iter().copied().collect();
    assert_eq!(each.len(), got.len(), "nothing came twice");
    assert!(of_the_child >= BEFORE && got.len() > of_the_child);
    // For each receive that was open and each that had just ended, one from each server, and one that was not written yet.
    let in_hand = RECEIVES * (2 * urls.len() + 1);
    let lost = usize::try_from(COUNT).unwrap() - got.len();
    assert!(lost <= in_hand, "{lost} went with the process, which could hold {in_hand}");
}
