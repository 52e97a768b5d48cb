//! The clock of a server is set while it runs, or a server takes over whose clock differs.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt};

use super::{BACK, MOMENT, got_in, options, owner_and_other, promptly, until_in};
use crate::support::{Direction, Proxy, Server};

const MINUTE: Duration = Duration::from_secs(60);

/// Shows R23.
#[tokio::test]
async fn who_leaves_after_the_clock_was_set_back_gets_no_more() {
    let (server, clock) = Server::with_clock(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "back-leave")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 1);
    clock.behind(MINUTE);
    other.group_discard("room", mailbox.name()).await.unwrap();
    // The other member keeps the inbox in the group.
    let stays = inbox.open_mailbox().unwrap();
    owner.group_add("room", stays.name()).await.unwrap();
    let _ = other.group_send("room", &2).await.unwrap();
    other.send(mailbox.name(), &3).await.unwrap();
    assert_eq!(promptly("what is for it", mailbox.receive::<u64>()).await.unwrap(), 3);
}

/// Shows R23.
#[tokio::test]
async fn who_joins_after_the_clock_was_set_back_gets_what_comes_and_who_was_in_stays_in() {
    let (server, clock) = Server::with_clock(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "back-join")).await;
    let [mut old, mut new] = [inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap()];
    other.group_add("room", old.name()).await.unwrap();
    other.group_discard("room", new.name()).await.unwrap();
    other.group_add("room", new.name()).await.unwrap();
    other.group_discard("room", new.name()).await.unwrap();
    other.send(new.name(), &0).await.unwrap();
    assert_eq!(promptly("a message", new.receive::<u64>()).await.unwrap(), 0);
    clock.behind(10 * MINUTE);
    owner.group_add("room", new.name()).await.unwrap();
    let _ = other.group_send("room", &1).await.unwrap();
    for mailbox in [&mut old, &mut new] {
        assert_eq!(promptly("its copy", mailbox.receive::<u64>()).await.unwrap(), 1);
    }
}

/// Shows R54.
#[tokio::test]
async fn a_mailbox_keeps_what_it_accepted_after_the_clock_was_set_back_by_more_than_a_message_lives() {
    let (server, clock) = Server::with_clock(&[]);
    let (_owner, inbox, other) = owner_and_other(&options([server.url()], "back-drop")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    clock.behind(2 * MINUTE);
    other.send(mailbox.name(), &1).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
}

/// Shows R54.
#[tokio::test]
async fn a_mailbox_keeps_what_it_accepted_of_a_server_that_took_over_with_a_clock_that_is_behind() {
    let old = Server::replicating();
    let (new, clock) = Server::with_clock(&["--repl-diskless-sync-delay", "0"]);
    clock.behind(2 * MINUTE);
    new.follow(&old).await;
    let proxy = Proxy::start(&old);
    let options = options([proxy.url()], "behind-failover");
    let owner = options.connect().await.unwrap();
    let (mut inboxes, mut mailboxes) = (Vec::new(), Vec::new());
    // Each has a reader of its own, which may meet a message first or the new connection.
    for _ in 0..8 {
        let inbox = owner.open_inbox("chat").await.unwrap();
        let mailbox = inbox.open_mailbox().unwrap();
        owner.group_add("room", mailbox.name()).await.unwrap();
        inboxes.push(inbox);
        mailboxes.push(mailbox);
    }
    tokio::time::sleep(MOMENT).await;
    new.caught_up_with(&old).await;
    new.lead().await;
    old.stop();
    // They wait for the owner when it comes to the new server.
    let other = options.hosts([new.url()]).connect().await.unwrap();
    for mailbox in &mailboxes {
        other.send(mailbox.name(), &1).await.unwrap();
    }
    let _ = other.group_send("room", &2).await.unwrap();
    proxy.lead_to(&new);
    for mailbox in &mut mailboxes {
        assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
        assert_eq!(promptly("the copy", mailbox.receive::<u64>()).await.unwrap(), 2);
        other.send(mailbox.name(), &3).await.unwrap();
        assert_eq!(promptly("the next message", mailbox.receive::<u64>()).await.unwrap(), 3);
    }
}

/// Shows R23.
#[tokio::test]
async fn the_order_of_an_inbox_is_that_of_its_list_though_the_clock_was_set_back_within_it() {
    let (server, clock) = Server::with_clock(&[]);
    let proxy = Proxy::start(&server);
    let options = options([proxy.url()], "back-order");
    let (owner, inbox, _) = owner_and_other(&options).await;
    let other = options.hosts([server.url()]).connect().await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    // The messages come in few batches, in which time goes back.
    proxy.stall_only(Direction::Replies);
    for number in 0..30 {
        if number % 10 == 5 {
            clock.behind(MINUTE * (number / 10 + 1));
        }
        if number % 2 == 0 {
            other.send(mailbox.name(), &u64::from(number)).await.unwrap();
        } else {
            let _ = other.group_send("room", &u64::from(number)).await.unwrap();
        }
    }
    proxy.cut();
    proxy.pass();
    let got = got_in(2 * BACK, &mut mailbox).await;
    assert_eq!(got, (0..30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_was_received_does_not_come_again_after_the_clock_was_set_back() {
    let (server, clock) = Server::with_clock(&[]);
    let (_owner, inbox, other) = owner_and_other(&options([server.url()], "back-again")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    for number in 0..40_u32 {
        clock.behind(number * Duration::from_secs(5));
        other.send(mailbox.name(), &u64::from(number)).await.unwrap();
    }
    assert_eq!(got_in(BACK, &mut mailbox).await, (0..40).collect::<Vec<u64>>());
}

/// Shows R55.
#[tokio::test]
async fn a_receive_that_waits_is_woken_promptly_after_the_clock_was_set_forward() {
    let (server, clock) = Server::with_clock(&[]);
    let options = options([server.url()], "forward-wake");
    let [receiver, sender] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let receive = tokio::spawn(async move { receiver.receive::<u64>(["jobs"]).await });
    tokio::time::sleep(MOMENT).await;
    clock.ahead(10 * MINUTE);
    sender.send("jobs", &1).await.unwrap();
    assert_eq!(promptly("the message", receive).await.unwrap().unwrap().1, 1);
}

/// Shows R52 and R55.
#[tokio::test]
async fn members_are_in_their_groups_soon_after_the_clock_was_set_forward() {
    let (server, clock) = Server::with_clock(&[]);
    let (owner, inbox, other) = owner_and_other(&options([server.url()], "forward-groups")).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    clock.ahead(10 * MINUTE);
    // What the owner sees of the step.
    other.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 1);
    until_in(BACK, "it counts again", async || other.group_len("room").await.unwrap() == 1).await;
    let _ = other.group_send("room", &2).await.unwrap();
    assert_eq!(promptly("the copy", mailbox.receive::<u64>()).await.unwrap(), 2);
}

/// Shows R52.
#[tokio::test]
async fn a_membership_that_the_step_ended_is_begun_again_with_the_time_that_it_had_left() {
    let (server, clock) = Server::with_clock(&[]);
    // The server itself removes all that it knows of the owner, who learns of it with the next beat: here each second.
    let three = Duration::from_secs(3);
    let options = options([server.url()], "forward-days").lease(three).membership_lease(three);
    let (owner, inbox, other) = owner_and_other(&options).await;
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    // Longer than a membership lasts: the server itself removes the keys.
    clock.ahead(3 * 1440 * MINUTE);
    other.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(promptly("a message", mailbox.receive::<u64>()).await.unwrap(), 1);
    until_in(BACK, "it is in again", async || other.group_len("room").await.unwrap() == 1).await;
}

/// Both processes know the clock from before the step; a third one meets it after it.
async fn sealed_across_a_step(step: impl Fn(&crate::support::Clock)) {
    let (server, clock) = Server::with_clock(&[]);
    let options = options([server.url()], "sealed-step").symmetric_encryption_keys(["key"]);
    let before = options.connect().await.unwrap();
    let inbox = before.open_inbox("chat").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    tokio::time::sleep(MOMENT).await;
    step(&clock);
    let after = options.connect().await.unwrap();
    after.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(promptly("what is sealed by the new clock", mailbox.receive::<u64>()).await.unwrap(), 1);
    before.send("jobs", &2).await.unwrap();
    let received = promptly("what is sealed by who knew the old one", after.receive::<u64>(["jobs"])).await;
    assert_eq!(received.unwrap().1, 2);
}

#[tokio::test]
async fn sealed_messages_open_after_the_clock_was_set_back() {
    sealed_across_a_step(|clock| clock.behind(5 * MINUTE)).await;
}

#[tokio::test]
async fn sealed_messages_open_after_the_clock_was_set_forward() {
    sealed_across_a_step(|clock| clock.ahead(5 * MINUTE)).await;
}
