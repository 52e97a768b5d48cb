//! A reply that tells of a loss is lost itself: the loss is noticed all the same.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind};

use super::{MOMENT, PATIENCE, keys, options, prefix_of, promptly, until, until_in};
use crate::support::{Direction, Proxy, Server};

const SECOND: Duration = Duration::from_secs(1);

/// Beats come three times a second.
fn hasty(proxy: &Proxy, test: &str) -> ConfigBuilder {
    options([proxy.url()], test).lease(SECOND).membership_lease(SECOND)
}

/// Removes all keys but the records of the clients, which would learn of it before they call.
const LOSE_DATA: &str = "for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do \
    if not string.find(key, ARGV[1] .. 'c:', 1, true) then redis.call('DEL', key) end end";

/// The server loses its data; it executes the owner's next call about its inbox, and the reply is lost.
async fn lose_data_and_the_reply_that_tells_it(server: &Server, proxy: &Proxy, prefix: &str) {
    proxy.stall_only(Direction::Replies);
    server.tell(&["EVAL", LOSE_DATA, "0", prefix]).await;
    until("the owner's sign of life", async || !keys(server, &format!("{prefix}i:")).await.is_empty()).await;
    proxy.cut();
    proxy.pass();
}

/// Shows R21.
#[tokio::test]
async fn members_are_given_again_though_the_reply_that_they_are_lost_was_lost() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let options = hasty(&proxy, "lost-new");
    let prefix = prefix_of(&options);
    let owner = options.connect().await.unwrap();
    let other = options.hosts([server.url()]).connect().await.unwrap();
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    owner.group_add("room", mailbox.name()).await.unwrap();
    tokio::time::sleep(MOMENT).await;
    lose_data_and_the_reply_that_tells_it(&server, &proxy, &prefix).await;
    until("it is a member again", async || other.group_len("room").await.unwrap() == 1).await;
    let _ = other.group_send("room", &1).await.unwrap();
    assert_eq!(promptly("the message", mailbox.receive::<u64>()).await.unwrap(), 1);
}

/// Shows R21.
#[tokio::test]
async fn a_full_mailbox_is_reported_again_though_the_reply_that_tells_the_loss_was_lost() {
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let options = hasty(&proxy, "lost-marks").channel_capacity([("re:^chat!.", 2)]);
    let prefix = prefix_of(&options);
    let owner = options.connect().await.unwrap();
    let other = options.hosts([server.url()]).connect().await.unwrap();
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    let full = async || match other.send(mailbox.name(), &1).await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ChannelFull, "{error}");
            keys(&server, &format!("{prefix}f:")).await.len() == 1
        }
    };
    until("it is full", full).await;
    lose_data_and_the_reply_that_tells_it(&server, &proxy, &prefix).await;
    until("it is marked as full", async || !keys(&server, &format!("{prefix}f:")).await.is_empty()).await;
    assert!(full().await, "senders are refused");
}

/// Shows R45, R48 and R50.
#[tokio::test]
async fn members_are_given_again_though_the_data_and_the_connection_are_lost_again_meanwhile() {
    const GROUPS: usize = 40;
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let options = hasty(&proxy, "lost-again");
    let owner = options.connect().await.unwrap();
    let other = options.hosts([server.url()]).connect().await.unwrap();
    let inbox = owner.open_inbox("chat").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    let room = |number: usize| format!("room-{number}");
    for number in 0..GROUPS {
        owner.group_add(room(number), mailbox.name()).await.unwrap();
    }
    tokio::time::sleep(MOMENT).await;
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..25 {
        if random.bool() {
            server.tell(&["FLUSHALL"]).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(1..60))).await;
        proxy.stall_only(Direction::Replies);
        tokio::time::sleep(Duration::from_millis(random.u64(1..60))).await;
        proxy.cut();
        proxy.pass();
        tokio::time::sleep(Duration::from_millis(random.u64(1..60))).await;
    }
    let mut absent = GROUPS;
    until_in(PATIENCE, "it is in all groups again", async || {
        absent = 0;
        for number in 0..GROUPS {
            absent += usize::from(other.group_is_empty(room(number)).await.unwrap());
        }
        absent == 0
    })
    .await;
}
