//! What waits costs next to nothing, and is woken by push.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder};
use futures::future::{FutureExt, select_all};

use super::{layers, options, soon};
use crate::support::{Server, calls};

/// Commands that the layer's scripts were called with in a while.
async fn calls_during(server: &Server, time: Duration) -> u64 {
    let mut admin = server.connection().await;
    let before = calls(&mut admin, "evalsha").await;
    tokio::time::sleep(time).await;
    calls(&mut admin, "evalsha").await - before
}

/// Shows R7.
#[test]
fn the_beat_comes_three_times_a_lease_of_60_seconds() {
    assert_eq!(ConfigBuilder::new().build().unwrap().lease(), Duration::from_secs(60));
}

/// Shows R7.
#[tokio::test]
async fn an_idle_receive_on_30_channels_costs_one_command_a_beat() {
    let server = Server::private();
    let [receiver, sender] = layers(&options(&server, "idle").lease(Duration::from_secs(3))).await;
    let names: Vec<String> = (0..30).map(|number| format!("channel-{number}")).collect();
    let receive = tokio::spawn({
        let names = names.clone();
        async move { receiver.receive::<u64>(names).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The sender's own beats are three too: each layer stands for a process.
    let commands = calls_during(&server, Duration::from_millis(3300)).await;
    assert!((2..=8).contains(&commands), "{commands} commands in 3.3 s, which are three beats of two layers");
    sender.send(&names[17], &1).await.unwrap();
    assert_eq!(soon("the message", receive).await.unwrap().unwrap().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_receives_share_a_few_commands_and_any_of_them_is_woken_by_push() {
    let server = Server::private();
    let lease = Duration::from_secs(9);
    let [receiver, sender] = layers(&options(&server, "idle-many").lease(lease)).await;
    let mut receives: Vec<_> = (0..10_000)
        .map(|number| {
            let receiver = receiver.clone();
            tokio::spawn(async move { receiver.receive::<u64>([format!("channel-{number}")]).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // One and a half beats: at most two. By default a beat comes every 20 s, here every 3 s.
    let commands = calls_during(&server, Duration::from_millis(4500)).await;
    assert!((20..=60).contains(&commands), "{commands} commands for two beats");

    let mut admin = server.connection().await;
    let before = calls(&mut admin, "publish").await;
    for wanted in [0, 5_000, 9_999] {
        let sent = u64::try_from(wanted).unwrap();
        sender.send(format!("channel-{wanted}"), &sent).await.unwrap();
        let receive = &mut receives[wanted];
        // Long before the next beat could find it.
        let received = tokio::time::timeout(Duration::from_secs(2), receive).await.unwrap().unwrap();
        assert_eq!(received.unwrap().1, sent);
    }
    assert_eq!(calls(&mut admin, "publish").await - before, 3, "each was pushed");
    let waiting = receives.iter().filter(|receive| !receive.is_finished()).count();
    assert_eq!(waiting, 9_997);
    assert!(
        select_all(receives.iter_mut().filter(|receive| !receive.is_finished())).now_or_never().is_none()
    );
}

#[tokio::test]
async fn an_idle_inbox_with_a_thousand_mailboxes_in_a_group_costs_four_commands_a_beat() {
    let server = Server::private();
    let three = Duration::from_secs(3);
    let [owner, sender] = layers(&options(&server, "idle-inbox").lease(three).membership_lease(three)).await;
    let inbox = owner.open_inbox("websocket.send").await.unwrap();
    let mut mailboxes: Vec<_> = (0..1_000).map(|_| inbox.open_mailbox().unwrap()).collect();
    for mailbox in &mailboxes {
        sender.group_add("room", mailbox.name()).await.unwrap();
    }
    let _ = sender.group_send("room", &0).await.unwrap();
    for mailbox in &mut mailboxes {
        assert_eq!(soon("a copy", mailbox.receive::<u64>()).await.unwrap(), 0);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Three beats of the owner's tickets and three of the sender; and three of the inbox, each a sign of life, and a page of
    // its memberships, which is asked for and taken. By default each comes every 20 s.
    let commands = calls_during(&server, Duration::from_millis(3300)).await;
    assert!((12..=21).contains(&commands), "{commands} commands in 3.3 s");
    let mut admin = server.connection().await;
    let before = calls(&mut admin, "publish").await;
    sender.send(mailboxes[500].name(), &1).await.unwrap();
    let received = tokio::time::timeout(Duration::from_millis(500), mailboxes[500].receive::<u64>()).await;
    assert_eq!(received.expect("it is woken by push").unwrap(), 1);
    assert_eq!(calls(&mut admin, "publish").await - before, 1);
}
