//! Receives go past what does not open: it is taken, counted by its reason, and the next message comes.

use std::pin::pin;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, SealStatistics};

use super::{ALLOWANCE, HEADER, Intruder, KEY, MOMENT, clear, payload_of, prolonged, received, sealed, soon};
use crate::support::{Server, calls};

fn counted(count: impl FnOnce(&mut SealStatistics)) -> SealStatistics {
    let mut statistics = SealStatistics::default();
    count(&mut statistics);
    statistics
}

#[tokio::test]
async fn every_byte_of_an_entry_counts_and_what_was_changed_or_cut_is_gone_past() {
    let server = Server::shared();
    let options = sealed(&server, "tampered").capacity(1_000);
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    layer.send("a", &1).await.unwrap();
    let entry = intruder.take("a").await;
    let payload = payload_of(&entry);
    for place in HEADER..entry.len() {
        let mut tampered = entry.clone();
        tampered[place] ^= 1;
        intruder.put("a", &tampered).await;
    }
    for length in 0..entry.len() {
        intruder.put("a", &entry[..length]).await;
    }
    layer.send("a", &2).await.unwrap();
    assert_eq!(received(&layer, "a").await, 2);
    let SealStatistics { no_key_opens, clear_text, malformed, moved, too_old, sealed, .. } =
        layer.seal_statistics();
    // A mark, a version, a nonce, a tag, and sealed the head, a name and a message of a byte each.
    let head = 1 + 1 + 24 + 16 + 18;
    assert_eq!((entry.len() - payload) as u64, head + 2);
    // One with another mark and an empty one; one of another version, and all that end in the head; the others. Before
    // the payload all cut ones, another kind, and no space at its end: then the next one that there may be counts, and
    // there is something of any kind behind it.
    let before = payload as u64 + 1 + 1;
    assert_eq!(clear_text + malformed, before + 2 + 1 + head - 1);
    assert!((2..=3).contains(&clear_text), "{clear_text}");
    assert_eq!(no_key_opens, head + 2);
    assert_eq!((moved, too_old, sealed), (0, 0, 0));

    intruder.put("a", &entry).await;
    assert_eq!(received(&layer, "a").await, 1, "as it was it opens");
}

#[tokio::test]
async fn the_header_is_the_servers_own_and_whatever_it_says_no_receive_fails() {
    let server = Server::shared();
    let options = sealed(&server, "header").capacity(1_000);
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    layer.send("a", &1).await.unwrap();
    let entry = intruder.take("a").await;
    for place in 0..HEADER {
        let mut tampered = entry.clone();
        tampered[place] ^= 1;
        intruder.put("a", &tampered).await;
    }
    layer.send("a", &2).await.unwrap();
    let mut got = 0;
    while received(&layer, "a").await != 2 {
        got += 1;
    }
    assert!((10..=HEADER).contains(&got), "all but those whose deadline is over: {got}");
    assert_eq!(layer.seal_statistics().total(), 0);
}

#[tokio::test]
async fn a_sealed_message_that_was_moved_to_another_channel_does_not_open() {
    let server = Server::shared();
    let options = sealed(&server, "moved");
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    let mut moved = 0;
    for (from, to) in [("a", "b"), ("a", "a?1"), ("a?1", "a"), ("a?1", "a?2"), ("ab", "a")] {
        layer.send(from, &1).await.unwrap();
        let entry = intruder.take(from).await;
        intruder.put(to, &entry).await;
        // The rest of the name where a script would put an address.
        let head = [&entry[..19], b"b", &entry[19..]].concat();
        intruder.put(to, &head).await;
        layer.send(to, &2).await.unwrap();
        assert_eq!(received(&layer, to).await, 2, "{from} to {to}");
        moved += 2;
        assert_eq!(layer.seal_statistics(), counted(|due| due.moved = moved));
    }
    // A group's message as one to a channel, and as one to another group.
    layer.group_add("room", "a").await.unwrap();
    let _ = layer.group_send("room", &1).await.unwrap();
    let entry = intruder.take("a").await;
    let payload = &entry[payload_of(&entry)..];
    intruder.put("a", &[&entry[..18], b"m ", payload].concat()).await;
    intruder.put("a", &[&entry[..18], b"groom2 ", payload].concat()).await;
    layer.send("a", &2).await.unwrap();
    let direct = intruder.take("a").await;
    assert_eq!(direct, [&entry[..18], b"m ", payload].concat(), "the first of what was put");
    intruder.put("a", &direct).await;
    assert_eq!(received(&layer, "a").await, 2);
    intruder.put("a", &[&entry[..18], b"groom ", payload].concat()).await;
    assert_eq!(received(&layer, "a").await, 1, "as it was it opens");
    assert_eq!(layer.seal_statistics(), counted(|due| due.moved = moved + 2));
}

#[tokio::test]
async fn a_message_that_is_put_there_again_after_its_time_does_not_open() {
    let server = Server::shared();
    let moment = Duration::from_millis(100);
    let options = sealed(&server, "replayed").expiry(moment).response_timeout(moment);
    let patient = options.clone().response_timeout(Duration::from_secs(5));
    let layer = patient.connect().await.unwrap();
    // Its own timeout is how long a seal outlives the expiry, and is short here so that the test is.
    let sender = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    sender.send("a", &1).await.unwrap();
    let entry = intruder.take("a").await;
    intruder.put("a", &prolonged(&entry)).await;
    assert_eq!(received(&layer, "a").await, 1, "in time it opens");

    tokio::time::sleep(2 * moment + ALLOWANCE).await;
    intruder.put("a", &entry).await;
    intruder.put("a", &prolonged(&entry)).await;
    let long = patient.clone().expiry(Duration::from_secs(60)).connect().await.unwrap();
    long.send("a", &2).await.unwrap();
    assert_eq!(received(&layer, "a").await, 2);
    // The one that says itself that it is too late is dropped by the server.
    assert_eq!(layer.seal_statistics(), counted(|due| due.too_old = 1));
}

#[tokio::test]
async fn a_receive_that_waits_long_for_its_turn_judges_by_when_the_message_came() {
    let server = Server::shared();
    let moment = Duration::from_millis(100);
    let options = sealed(&server, "unpolled").expiry(moment).response_timeout(moment);
    let sender = options.connect().await.unwrap();
    let layer = options.response_timeout(Duration::from_secs(5)).connect().await.unwrap();
    let mut receive = pin!(layer.receive::<u64>(["a"]));
    assert!(futures::poll!(&mut receive).is_pending());
    tokio::time::sleep(MOMENT).await;
    sender.send("a", &1).await.unwrap();
    tokio::time::sleep(2 * moment + ALLOWANCE + MOMENT).await;
    assert_eq!(receive.await.unwrap().1, 1);
}

#[tokio::test]
async fn clear_text_is_dropped_by_who_has_keys_and_sealed_text_by_who_has_none() {
    let server = Server::shared();
    let options = clear(&server, "clear_or_sealed");
    let with_keys = options.clone().symmetric_encryption_keys([KEY]).connect().await.unwrap();
    let with_others = options.clone().symmetric_encryption_keys(["another key"]).connect().await.unwrap();
    let without = options.connect().await.unwrap();

    without.send("a", &1).await.unwrap();
    with_keys.send("a", &2).await.unwrap();
    assert_eq!(received(&with_keys, "a").await, 2);
    assert_eq!(with_keys.seal_statistics(), counted(|due| due.clear_text = 1));

    with_keys.send("a", &3).await.unwrap();
    without.send("a", &4).await.unwrap();
    assert_eq!(received(&without, "a").await, 4);
    assert_eq!(without.seal_statistics(), counted(|due| due.sealed = 1));

    with_keys.send("a", &5).await.unwrap();
    with_others.send("a", &6).await.unwrap();
    assert_eq!(received(&with_others, "a").await, 6);
    assert_eq!(with_others.seal_statistics(), counted(|due| due.no_key_opens = 1));
    assert_eq!(with_others.seal_statistics().total(), 1);
}

#[tokio::test]
async fn a_look_at_what_does_not_open_finds_nothing_and_leaves_nothing() {
    let server = Server::private();
    let options = sealed(&server, "try");
    let [layer, other] = [options.connect().await.unwrap(), options.connect().await.unwrap()];
    let clear = options.build().unwrap().prefix().to_owned();
    let clear = asgi_redis::ConfigBuilder::new().hosts([server.url()]).prefix(clear);
    let clear = clear.connect().await.unwrap();
    for number in 0..10 {
        clear.send("a", &number).await.unwrap();
    }
    assert!(layer.try_receive::<u64>(["a"]).await.unwrap().is_none());
    assert_eq!(layer.seal_statistics().clear_text, 10);
    assert!(other.try_receive::<u64>(["a"]).await.unwrap().is_none());
    layer.close().await.unwrap();
    // It has acknowledged them: they do not come back.
    assert!(clear.try_receive::<u64>(["a"]).await.unwrap().is_none());
    assert_eq!(other.seal_statistics().total(), 0);
}

#[tokio::test]
async fn a_look_ends_however_much_there_is_that_does_not_open() {
    let server = Server::shared();
    let options = sealed(&server, "bounded_look");
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    layer.send("a", &7).await.unwrap();
    let entry = intruder.take("a").await;
    let clear = [&entry[..HEADER], b"m \x01"].concat();
    intruder.put_many("a", &clear, 2_500).await;
    intruder.put("a", &entry).await;
    let mut looks = Vec::new();
    loop {
        let got = soon("a look", layer.try_receive::<u64>(["a"])).await.unwrap();
        looks.push(layer.seal_statistics().clear_text);
        if let Some((_, number)) = got {
            assert_eq!(number, 7);
            break;
        }
    }
    assert_eq!(looks, [1_000, 2_000, 2_500]);
}

#[tokio::test]
async fn a_receive_that_has_gone_past_something_can_be_dropped_like_any_other() {
    let server = Server::shared();
    let options = sealed(&server, "dropped");
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    for number in 0..10_u64 {
        layer.send("b?1", &number).await.unwrap();
        let entry = intruder.take("b?1").await;
        {
            let mut receive = pin!(layer.receive::<u64>(["a?1"]));
            assert!(futures::poll!(&mut receive).is_pending());
            intruder.put("a?1", &entry).await;
            // A bare entry wakes nobody; the next message does, and the receive finds the other before it.
            layer.send("a?1", &number).await.unwrap();
            let wait = Duration::from_millis(number * 3);
            if let Ok(got) = tokio::time::timeout(wait, &mut receive).await {
                assert_eq!(got.unwrap().1, number);
                continue;
            }
        }
        assert_eq!(received(&layer, "a?1").await, number, "it was given back");
    }
    assert!(layer.seal_statistics().moved >= 9, "{:?}", layer.seal_statistics());
    assert!(layer.try_receive::<u64>(["a?1"]).await.unwrap().is_none());
}

#[tokio::test]
async fn the_clock_costs_one_command_a_beat_and_only_where_there_are_keys() {
    let server = Server::private();
    let lease = Duration::from_secs(1);
    let mut admin = server.connection().await;
    // What clients send, without what scripts ask: those do not run here.
    for (options, due) in [(clear(&server, "clock"), false), (sealed(&server, "clock"), true)] {
        let layer = options.lease(lease).connect().await.unwrap();
        let before = (calls(&mut admin, "time").await, calls(&mut admin, "evalsha").await);
        tokio::time::sleep(3 * lease).await;
        let after = (calls(&mut admin, "time").await, calls(&mut admin, "evalsha").await);
        // Each pop reads the clock too.
        let (asked, pops) = (after.0 - before.0, after.1 - before.1);
        assert!((6..=10).contains(&pops), "{pops}");
        assert_eq!(asked > pops + pops / 2, due, "{asked} readings, {pops} beats");
        soon("the end", layer.close()).await.unwrap();
    }
}
