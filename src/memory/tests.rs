//! What is the memory layer's own; what it has in common with others is in the conformance suite.

use std::time::Duration;

use super::*;
use crate::ChannelLayerExt;

fn waiting(layer: &MemoryLayer) -> usize {
    layer.statistics().messages_pending
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_unseen_is_dropped_as_others_come() {
    let layer = MemoryLayer::builder().expiry(Duration::from_secs(1)).in_memory().unwrap();
    let queues = || layer.client.store.with(|state| state.queues.len() + state.inboxes.len());
    for number in 0..5_000 {
        layer.send(format!("reply?{number}"), &number).await.unwrap();
        layer.send(format!("inbox{number}!a"), &number).await.unwrap();
        layer.group_add(format!("group{number}"), format!("reply?{number}")).await.unwrap();
    }
    assert!(queues() >= 10_000);
    tokio::time::advance(Duration::from_secs(2)).await;
    for number in 0..20_000 {
        layer.send(format!("other?{}", number % 100), &number).await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(queues() < 5_000, "{} queues are left", queues());
}

#[tokio::test(start_paused = true)]
async fn memberships_that_have_ended_are_dropped_as_others_come() {
    let layer = MemoryLayer::builder().group_expiry(Duration::from_secs(1)).in_memory().unwrap();
    for number in 0..20_000 {
        layer.group_add(format!("group{number}"), format!("reply?{number}")).await.unwrap();
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let kept = layer.client.store.with(|state| state.groups.len());
    assert!(kept < 10_000, "{kept} are kept, of which a hundred count");
}

#[tokio::test(start_paused = true)]
async fn statistics_count_what_waits_and_what_became_of_the_rest() {
    let layer = MemoryLayer::builder().capacity(2).expiry(Duration::from_secs(10)).in_memory().unwrap();
    for number in 0..3 {
        // The third is refused.
        let _ = layer.send("a", &number).await;
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    layer.send("inbox!x", &0).await.unwrap();
    let expected = MemoryStatistics {
        messages_count: 3,
        messages_pending: 3,
        messages_max_age: Duration::from_secs(3),
        channel_full_count: 1,
    };
    assert_eq!(layer.statistics(), expected);
    let of = |channel: &str| layer.channel_statistics(channel).unwrap().messages_pending;
    assert_eq!((of("a"), of("inbox!y"), of("b")), (2, 1, 0));
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(waiting(&layer), 1, "what has expired does not count");
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_in_an_inbox_read_as_a_whole_stops_no_mailbox() {
    let options = MemoryLayer::builder().capacity(2).expiry(Duration::from_secs(1));
    let layer = options.in_memory().unwrap();
    let lasting = layer.another_client_with(options.expiry(Duration::from_secs(60)).build().unwrap());
    let inbox = layer.open_inbox("a").await.unwrap();
    let address = format!("{}zz", inbox.name());
    assert!(futures::FutureExt::now_or_never(inbox.next_packed()).is_none());
    let mut mailbox = inbox.open_mailbox().unwrap();
    for round in 0..2 {
        for number in 0..2 {
            layer.send(&address, &number).await.unwrap();
        }
        if round == 0 {
            // Sent while there is no room, and received though nothing is sent after it.
            lasting.send(mailbox.name(), &7).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        if round == 1 {
            lasting.send(mailbox.name(), &7).await.unwrap();
        }
        let received = tokio::time::timeout(Duration::from_secs(5), mailbox.receive::<u64>()).await;
        assert_eq!(received.expect("the mailbox's message").unwrap(), 7);
    }
}

#[tokio::test]
async fn a_busy_channel_starves_no_other_whatever_is_received_between() {
    let layer = MemoryLayer::builder().in_memory().unwrap();
    for number in 0..40 {
        layer.send("a", &number).await.unwrap();
        layer.send("b", &number).await.unwrap();
    }
    let mut taken = std::collections::HashMap::new();
    for _ in 0..30 {
        let (channel, _) = layer.try_receive::<u64>(["a", "b"]).await.unwrap().unwrap();
        *taken.entry(channel.to_string()).or_insert(0) += 1;
        assert!(layer.try_receive::<u64>(["c"]).await.unwrap().is_none());
    }
    assert!(taken["a"] >= 10 && taken["b"] >= 10, "{taken:?}");
}

#[tokio::test]
async fn another_client_is_closed_on_its_own_and_may_have_other_options() {
    let layer = MemoryLayer::builder().in_memory().unwrap();
    let small = MemoryLayer::builder().capacity(1).build().unwrap();
    let (other, clone) = (layer.another_client_with(small), layer.clone());
    other.send("a", &1).await.unwrap();
    assert!(other.send("a", &2).await.is_err());
    clone.send("a", &2).await.unwrap();
    layer.close().await.unwrap();
    assert_eq!(clone.send("a", &3).await.unwrap_err().kind(), crate::ErrorKind::Closed);
    assert_eq!(other.receive::<u64>(["a"]).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_loop_of_calls_lets_others_have_a_turn() {
    let layer = MemoryLayer::builder().capacity(1_000_000).in_memory().unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    tokio::spawn({
        let stopped = Arc::clone(&stopped);
        async move { stopped.store(true, Ordering::Relaxed) }
    });
    let mut sends = 0;
    while !stopped.load(Ordering::Relaxed) {
        layer.send("a", &1).await.unwrap();
        sends += 1;
        assert!(sends < 100_000, "the other task never ran");
    }
}

#[test]
fn an_inbox_without_a_runtime_is_a_clear_error() {
    let layer = MemoryLayer::builder().in_memory().unwrap();
    let refused = futures::executor::block_on(layer.open_inbox("a")).unwrap_err();
    assert_eq!(refused.to_string(), "an inbox is opened inside a Tokio runtime, and there is none here");
    // All else needs none.
    let received = futures::executor::block_on(async {
        layer.send("a", &7).await?;
        layer.receive::<u64>(["a"]).await
    });
    assert_eq!(received.unwrap().1, 7);
}

#[tokio::test]
async fn a_layer_that_is_dropped_leaves_no_task_and_ends_its_mailboxes() {
    let layer = MemoryLayer::builder().in_memory().unwrap();
    let inbox = layer.open_inbox("a").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let store = Arc::downgrade(&layer.client.store);
    layer.send(mailbox.name(), &1).await.unwrap();
    drop(layer);
    assert_eq!(mailbox.receive::<u64>().await.unwrap(), 1);
    drop(inbox);
    drop(mailbox);
    while store.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
}
