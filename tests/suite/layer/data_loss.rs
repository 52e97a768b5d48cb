//! A server that loses its data, or is out of reach: rooms come back by themselves.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Inbox, Mailbox, RedisChannelLayer};
use futures::future::join_all;

use super::{Hosts, MOMENT, keys, layers, options, options_at, promptly, proxies, soon, until};
use crate::support::{Proxy, Server, Servers};

const GROUPS: usize = 10;
const MEMBERS: usize = 100;

fn room(number: usize) -> String {
    format!("room-{number}")
}

/// A thousand mailboxes of two processes, a hundred in each of ten groups.
async fn thousand(owners: &[RedisChannelLayer; 2]) -> (Vec<Inbox>, Vec<Vec<Mailbox>>) {
    let mut inboxes = Vec::new();
    for owner in owners {
        inboxes.push(owner.open_inbox("member").await.unwrap());
    }
    let mut rooms = Vec::new();
    for number in 0..GROUPS {
        let members: Vec<Mailbox> =
            (0..MEMBERS).map(|member| inboxes[member % 2].open_mailbox().unwrap()).collect();
        let added = members.iter().map(|member| owners[0].group_add(room(number), member.name()));
        join_all(added).await.into_iter().for_each(Result::unwrap);
        rooms.push(members);
    }
    (inboxes, rooms)
}

/// Waits until all are in their groups again; then each group send must reach each member, once.
async fn all_are_back(sender: &RedisChannelLayer, rooms: &mut [Vec<Mailbox>]) {
    for number in 0..GROUPS {
        until("the members are back", async || matches!(sender.group_len(room(number)).await, Ok(MEMBERS)))
            .await;
    }
    for turn in 0..3 {
        for (number, members) in rooms.iter_mut().enumerate() {
            let sent = (turn * GROUPS + number) as u64;
            let receipt = sender.group_send(room(number), &sent).await.unwrap();
            assert_eq!((receipt.delivered(), receipt.full(), receipt.expired()), (2, 0, 0));
            for member in members {
                assert_eq!(promptly("a copy", member.receive::<u64>()).await.unwrap(), sent);
            }
        }
    }
}

/// Shows R21.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_empty_is_given_a_thousand_members_of_ten_groups_again() {
    let server = Arc::new(Server::private());
    let [one, two, sender] = layers(&options(&server, "restart-members")).await;
    let (inboxes, mut rooms) = thousand(&[one, two]).await;
    all_are_back(&sender, &mut rooms).await;
    for _ in 0..2 {
        server.stop();
        tokio::time::sleep(MOMENT).await;
        server.start();
        // Long before a beat, which by default comes every 20 s.
        all_are_back(&sender, &mut rooms).await;
    }
    assert_eq!(inboxes[0].statistics().unknown, 0);
    assert_eq!(inboxes[1].statistics().missed, 0);
}

/// Shows R21.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_are_lost_without_a_disconnect_are_given_again_by_the_next_beat() {
    let server = Server::private();
    // Long enough for a busy machine, whose tasks come late; a beat comes each second.
    let lease = Duration::from_secs(3);
    let [one, two, sender] =
        layers(&options(&server, "flushed-members").lease(lease).membership_lease(lease)).await;
    let (_inboxes, mut rooms) = thousand(&[one, two]).await;
    let mut admin = server.connection().await;
    for _ in 0..2 {
        let () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
        all_are_back(&sender, &mut rooms).await;
    }
}

/// An owner that is reached through a proxy only, and another process beside it.
async fn behind(proxy: &Proxy, server: &Server, options: ConfigBuilder) -> [RedisChannelLayer; 2] {
    let beside = options.clone().hosts([server.url()]);
    [options.hosts([proxy.url()]).connect().await.unwrap(), beside.connect().await.unwrap()]
}

#[tokio::test]
async fn a_disconnection_shorter_than_the_lease_ends_no_membership_and_loses_no_message() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "short-cut").membership_lease(Duration::from_secs(3));
    let [owner, other] = behind(&proxy, &server, options).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    other.group_add("room", mailbox.name()).await.unwrap();
    for number in 0..5 {
        let _ = other.group_send("room", &number).await.unwrap();
    }
    proxy.refuse();
    proxy.cut();
    for number in 5..15_u64 {
        tokio::time::sleep(Duration::from_millis(70)).await;
        assert_eq!(other.group_len("room").await.unwrap(), 1);
        assert_eq!(other.group_send("room", &number).await.unwrap().delivered(), 1);
    }
    // It joins while its owner cannot be reached.
    let mut late = inbox.open_mailbox().unwrap();
    other.group_add("room", late.name()).await.unwrap();
    let _ = other.group_send("room", &15).await.unwrap();
    proxy.pass();
    for number in 0..16 {
        assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), number);
    }
    assert_eq!(promptly("its first", late.receive::<u64>()).await.unwrap(), 15);
}

/// Shows R20.
#[tokio::test]
async fn an_owner_cut_off_beyond_its_lease_gets_its_memberships_back_when_it_returns() {
    let server = Server::shared();
    let proxy = Proxy::start(&server);
    let options = options_at(&proxy.url(), "long-cut").membership_lease(Duration::from_secs(1));
    let [owner, other] = behind(&proxy, &server, options).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    proxy.refuse();
    proxy.cut();
    until("its lease ends", async || other.group_is_empty("room").await.unwrap()).await;
    let receipt = other.group_send("room", &1).await.unwrap();
    assert_eq!((receipt.delivered(), receipt.expired()), (0, 1));
    assert!(other.group_channels("room").await.unwrap().is_empty());
    proxy.pass();
    until("it is back", async || other.group_len("room").await.unwrap() == 1).await;
    let _ = other.group_send("room", &2).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 2);
}

on_one_and_three_servers!(connections_cut_under_group_sends_lose_and_repeat_nothing);
/// Shows R22.
async fn connections_cut_under_group_sends_lose_and_repeat_nothing(servers: Servers) {
    let proxies = proxies(&servers);
    let options = options(&*proxies, "cut-groups").capacity(10_000);
    let owner = options.connect().await.unwrap();
    let other = options.hosts(servers.urls()).connect().await.unwrap();
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailboxes = [(); 5].map(|()| inbox.open_mailbox().unwrap());
    for mailbox in &mailboxes {
        other.group_add("room", mailbox.name()).await.unwrap();
    }
    for number in 0..1_000_u64 {
        if number % 100 == 50 {
            proxies.iter().for_each(Proxy::cut);
        }
        assert_eq!(other.group_send("room", &number).await.unwrap().delivered(), 1);
        other.send(mailboxes[0].name(), &(number + 10_000)).await.unwrap();
    }
    for (place, mailbox) in mailboxes.iter_mut().enumerate() {
        for number in 0..1_000 {
            assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), number);
            if place == 0 {
                assert_eq!(promptly("its own", mailbox.receive::<u64>()).await.unwrap(), number + 10_000);
            }
        }
    }
    assert_eq!(inbox.statistics().unknown, 0);
}

#[tokio::test]
async fn mailboxes_opened_and_dropped_during_an_outage_are_known_and_gone_afterwards() {
    let server = Arc::new(Server::private());
    let [owner, other] = layers(&options(&server, "outage")).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let (mut stays, goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for mailbox in [&stays, &goes] {
        owner.group_add("room", mailbox.name()).await.unwrap();
    }
    until("the owner knows", async || owner.group_len("room").await.unwrap() == 2).await;
    let _ = owner.group_send("room", &0).await.unwrap();
    assert_eq!(promptly("a copy", stays.receive::<u64>()).await.unwrap(), 0);
    server.stop();
    drop(goes);
    let mut new = inbox.open_mailbox().unwrap();
    tokio::time::sleep(MOMENT).await;
    server.start();
    until("the one that stays is back", async || matches!(other.group_len("room").await, Ok(1))).await;
    other.group_add("room", new.name()).await.unwrap();
    let _ = other.group_send("room", &1).await.unwrap();
    for mailbox in [&mut stays, &mut new] {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 1);
    }
    assert_eq!(inbox.statistics().mailboxes, 2);
}

/// Shows R21 and R39.
#[tokio::test]
async fn memberships_that_were_over_before_the_loss_do_not_come_back_and_others_keep_their_end() {
    let server = Server::private();
    let second = Duration::from_secs(1);
    let long = options(&server, "ends").lease(second).membership_lease(second);
    let short = long.clone().group_expiry(Duration::from_millis(700));
    let [owner, brief] = [long.connect().await.unwrap(), short.connect().await.unwrap()];
    let inbox = owner.open_inbox("member").await.unwrap();
    let (stays, goes) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    owner.group_add("room", stays.name()).await.unwrap();
    brief.group_add("room", goes.name()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let mut admin = server.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
    until("the one is back", async || owner.group_len("room").await.unwrap() > 0).await;
    tokio::time::sleep(second).await;
    let names = owner.group_channels("room").await.unwrap();
    assert_eq!(names, [stays.name().clone()], "{}", goes.name());
    let inbox_name = inbox.name().as_str();
    let members = format!("{}m:room {inbox_name}", long.build().unwrap().prefix());
    let address = stays.name().as_str().strip_prefix(inbox_name).unwrap();
    let end: u64 = redis::cmd("ZSCORE").arg(members).arg(address).query_async(&mut admin).await.unwrap();
    let (now_s, _): (u64, u64) = redis::cmd("TIME").query_async(&mut admin).await.unwrap();
    let left = end - now_s * 1000;
    assert!(left < 86_400_000 - 500, "the membership ends when it would have: {left}");
}

/// Shows R26 and R46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_a_stream_of_joins_leaves_the_groups_as_the_program_left_them() {
    let server = Arc::new(Server::private());
    let [owner, other] = layers(&options(&server, "restart-joins")).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailboxes = Vec::new();
    for number in 0..60 {
        if number == 30 {
            // Behind the joins: a change of others that the owner has not read is lost with the server's data, as any write is.
            let last: &mut Mailbox = mailboxes.last_mut().unwrap();
            other.send(last.name(), &0).await.unwrap();
            assert_eq!(promptly("what came after the joins", last.receive::<u64>()).await.unwrap(), 0);
            let server = Arc::clone(&server);
            tokio::task::spawn_blocking(move || {
                server.stop();
                server.start();
            })
            .await
            .unwrap();
        }
        let mailbox = inbox.open_mailbox().unwrap();
        let adding = async {
            while let Err(error) = other.group_add("room", mailbox.name()).await {
                assert!(error.may_retry() || error.perhaps_sent(), "{error}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("joining", adding).await;
        mailboxes.push(mailbox);
    }
    until("all are in", async || matches!(other.group_len("room").await, Ok(60))).await;
    let _ = other.group_send("room", &1).await.unwrap();
    for mailbox in &mut mailboxes {
        assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 1);
    }
}

/// Shows R47.
#[tokio::test]
async fn many_groups_are_given_again_without_waiting_for_one_answer_after_another() {
    const GROUPS: usize = 300;
    let server = Server::private();
    let lease = Duration::from_secs(3);
    let [owner, other] =
        layers(&options(&server, "heals-at-once").lease(lease).membership_lease(lease)).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let joins = (0..GROUPS).map(|group| other.group_add(room(group), mailbox.name()));
    join_all(joins).await.into_iter().for_each(Result::unwrap);
    other.send(mailbox.name(), &0).await.unwrap();
    assert_eq!(promptly("what came after it had joined", mailbox.receive::<u64>()).await.unwrap(), 0);

    let mut admin = server.connection().await;
    let mut reads = async || -> usize {
        let text: String = redis::cmd("INFO").arg("stats").query_async(&mut admin).await.unwrap();
        let reads = text.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap();
        reads.parse().unwrap()
    };
    let before = reads().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut server.connection().await).await.unwrap();
    let all_are_back = async {
        while other.channel_groups(mailbox.name()).await.unwrap().len() != GROUPS {
            tokio::time::sleep(2 * MOMENT).await;
        }
    };
    soon("the groups", all_are_back).await;
    let reads = reads().await - before;
    // What several callers write at once, the server reads at once.
    assert!(reads < GROUPS / 2, "the server read {reads} times for {GROUPS} groups");
}

/// Shows R21, R47 and R49.
#[tokio::test]
async fn who_joins_while_the_members_are_being_given_again_drives_nobody_out() {
    let server = Server::private();
    let second = Duration::from_secs(1);
    let options = options(&server, "half-healed").lease(second).membership_lease(second);
    let [owner, other] = layers(&options).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let (mut old, mut new) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    // More than are given again at once.
    let names = |kind: &str| (0..80).map(|number| format!("{kind}-{number}")).collect::<Vec<String>>();
    let (rooms, blocked) = (names("room"), names("blocked"));
    for group in rooms.iter().chain(&blocked) {
        other.group_add(group, old.name()).await.unwrap();
    }
    other.send(old.name(), &0).await.unwrap();
    assert_eq!(promptly("a message", old.receive::<u64>()).await.unwrap(), 0);

    // Another program's keys stand in the way, so some groups are not given again.
    let mut admin = server.connection().await;
    let prefix = options.build().unwrap().prefix().to_owned();
    let mut lost = redis::pipe();
    lost.cmd("FLUSHALL");
    for group in &blocked {
        lost.cmd("SET").arg(format!("{prefix}g:{group}")).arg("foreign");
    }
    let () = lost.atomic().query_async(&mut admin).await.unwrap();
    until("the owner has noticed", async || {
        keys(&server, &prefix).await.contains(&format!("{prefix}i:{}", inbox.name()))
    })
    .await;
    for room in &rooms {
        other.group_add(room, new.name()).await.unwrap();
    }
    other.send(new.name(), &1).await.unwrap();
    assert_eq!(promptly("what came after", new.receive::<u64>()).await.unwrap(), 1);
    let () = redis::cmd("DEL")
        .arg(blocked.iter().map(|group| format!("{prefix}g:{group}")).collect::<Vec<_>>())
        .query_async(&mut admin)
        .await
        .unwrap();
    for room in &rooms {
        until("both are in", async || other.group_len(room).await.unwrap() == 2).await;
        let _ = other.group_send(room, &2).await.unwrap();
        for mailbox in [&mut old, &mut new] {
            assert_eq!(promptly("a copy", mailbox.receive::<u64>()).await.unwrap(), 2);
        }
    }
}
