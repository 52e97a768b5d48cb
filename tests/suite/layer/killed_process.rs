//! A process that is killed: the others miss nothing, and its members stop counting within the membership lease.
//!
//! The members are real processes: this program, run again for one function that does nothing in a run of the suite.

use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder};
use futures::future::join_all;

use super::{Hosts, PATIENCE, PROMPTLY};
use crate::support::{Servers, end_with_the_suite, start_child, unique_prefix};

/// Says to a child which prefix and servers it works on.
const ROLE: &str = "ASGI_REDIS_SUITE_MEMBER";
const MAILBOXES: usize = 5;
const LEASE: Duration = Duration::from_secs(1);
const LAST: u64 = 4_000;

fn options(urls: &[impl AsRef<str>], prefix: &str) -> ConfigBuilder {
    ConfigBuilder::new()
        .hosts(urls.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
        .prefix(prefix)
        .membership_lease(LEASE)
        .capacity(10_000)
}

/// What a child does until its standard input ends, and nothing in a run of the suite, where nobody gave it a role: five
/// mailboxes join the room, and each number that one gets is a line of output.
#[tokio::test]
async fn the_part_of_a_member_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    end_with_the_suite();
    let (prefix, urls) = role.split_once(' ').unwrap();
    let layer = options(&urls.split(' ').collect::<Vec<_>>(), prefix).connect().await.unwrap();
    let inbox = layer.open_inbox("member").await.unwrap();
    let mut mailboxes = Vec::new();
    for _ in 0..MAILBOXES {
        let mailbox = inbox.open_mailbox().unwrap();
        layer.group_add("room", mailbox.name()).await.unwrap();
        mailboxes.push(mailbox);
    }
    println!("\nready");
    join_all(mailboxes.iter_mut().enumerate().map(async |(number, mailbox)| {
        while let Ok(got) = mailbox.receive::<u64>().await {
            println!("got {number} {got}");
        }
    }))
    .await;
}

/// A child, and what each of its mailboxes got.
struct Member {
    process: Child,
    got: Arc<Mutex<[Vec<u64>; MAILBOXES]>>,
}

impl Member {
    /// Starts a child; returns when its mailboxes are in the room.
    fn start(urls: &[String], prefix: &str) -> Self {
        let role = format!("{prefix} {}", urls.join(" "));
        let (process, lines) = start_child(module_path!(), "the_part_of_a_member_process", (ROLE, &role));
        let got: Arc<Mutex<[Vec<u64>; MAILBOXES]>> = Arc::default();
        let reading = Arc::clone(&got);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                // The last line of a process that was killed may be cut.
                if let ["got", mailbox, number] = words[..]
                    && let Ok(number) = number.parse()
                {
                    reading.lock().unwrap()[mailbox.parse::<usize>().unwrap()].push(number);
                }
            }
        });
        Self { process, got }
    }

    fn got(&self) -> [Vec<u64>; MAILBOXES] {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

on_one_and_three_servers!(of_four_processes_one_is_killed_and_the_others_miss_nothing, threads);
async fn of_four_processes_one_is_killed_and_the_others_miss_nothing(servers: Servers) {
    let (urls, prefix) = (servers.urls(), unique_prefix("killed"));
    let mut members = [(); 4].map(|()| Member::start(&urls, &prefix));
    let layer = options(&urls, &prefix).connect().await.unwrap();
    assert_eq!(layer.group_len("room").await.unwrap(), 4 * MAILBOXES);
    let mut killed_at = None;
    for number in 0..=LAST {
        let receipt = layer.group_send("room", &number).await.unwrap();
        assert_eq!((receipt.full(), receipt.failed()), (0, 0));
        if number == LAST / 4 {
            members[1].process.kill().unwrap();
            killed_at = Some(Instant::now());
        }
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let killed_at = killed_at.unwrap();
    while layer.group_len("room").await.unwrap() != 3 * MAILBOXES {
        assert!(killed_at.elapsed() < LEASE + PROMPTLY / 10, "the killed process counts beyond its lease");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let receipt = layer.group_send("room", &(LAST + 1)).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.expired()), (3, 1));

    let started = Instant::now();
    for living in [0, 2, 3] {
        while members[living].got().iter().any(|got| got.last() != Some(&(LAST + 1))) {
            assert!(started.elapsed() < PATIENCE, "some of {LAST} never came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for got in members[living].got() {
            assert!(got.iter().copied().eq(0..=LAST + 1), "lost, repeated or out of order: {got:?}");
        }
    }
    for got in members[1].got() {
        let count = u64::try_from(got.len()).unwrap();
        assert!(count > 0 && count < LAST, "{count} before it was killed");
        assert!(got.iter().copied().eq(0..count), "lost, repeated or out of order: {got:?}");
    }
}
