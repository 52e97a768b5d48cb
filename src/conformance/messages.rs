//! What a message may hold, and that it arrives as it was sent.

use super::subject::{Settings, Subject};
use super::support::{Client, clients, mailed, plain, receive, soon};
use crate::{ChannelLayerExt, ErrorKind, PackedMessage, Value};

/// One megabyte, the larger one.
const MEGABYTE: usize = 1 << 20;

/// Sends a message, and fails unless it arrives as it was.
async fn round_trip(sender: &Client, receiver: &Client, message: &Value) {
    sender.send("round.trip", message).await.unwrap();
    let (channel, received): (_, Value) = receive(receiver, &["round.trip"]).await;
    assert_eq!(channel, "round.trip");
    assert!(received == *message, "{received:.200} came, not {message:.200}");
}

pub(super) async fn every_type_arrives_as_it_was_sent(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let message = Value::map([
        ("nothing", Value::Nil),
        ("yes", Value::from(true)),
        ("no", Value::from(false)),
        ("integer", Value::from(-7)),
        ("float", Value::from(0.1)),
        ("text", Value::from("text")),
        ("bytes", Value::from(&b"bytes"[..])),
        ("list", Value::from(vec![Value::from(1), Value::from("two")])),
        ("map", Value::map([("key", "value")])),
    ]);
    round_trip(&sender, &receiver, &message).await;
}

pub(super) async fn bytes_and_text_stay_different(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let message = Value::map([
        ("bytes", Value::from(&b"same"[..])),
        ("text", Value::from("same")),
        ("no bytes", Value::from(&b""[..])),
        ("no text", Value::from("")),
    ]);
    sender.send("a", &message).await.unwrap();
    let (_, received): (_, Value) = receive(&receiver, &["a"]).await;
    assert_eq!(received.get("bytes").and_then(Value::as_bytes), Some(&b"same"[..]));
    assert_eq!(received.get("text").and_then(Value::as_str), Some("same"));
    assert_eq!(received.get("no bytes").and_then(Value::as_bytes), Some(&b""[..]));
    assert_eq!(received.get("no text").and_then(Value::as_str), Some(""));
}

pub(super) async fn bytes_may_have_any_value(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let bytes: Vec<u8> = (0..=255).chain([0, 0, 255]).collect();
    round_trip(&sender, &receiver, &Value::from(bytes)).await;
    round_trip(&sender, &receiver, &Value::from(&b"\r\n$-1\r\n+OK\r\n"[..])).await;
}

pub(super) async fn text_may_have_any_character(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    for text in ["\0", "line\r\nline", "\u{e9}\u{4e2d}\u{1f600}", "\u{10ffff}", "\\u0000 %s {} \"'"] {
        round_trip(&sender, &receiver, &Value::from(text)).await;
    }
}

pub(super) async fn integers_of_64_bits_arrive_exactly(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let edges = [0, 1, 127, 128, 255, 256, 1 << 31, (1 << 53) + 1, i64::MAX];
    let integers = edges.iter().flat_map(|edge| [Value::from(*edge), Value::from(-edge - 1)]);
    let message = Value::List(integers.chain([Value::from(u64::MAX)]).collect());
    round_trip(&sender, &receiver, &message).await;
}

pub(super) async fn floating_point_numbers_arrive_exactly(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let floats = [0.0, -0.0, 0.1, -1.0, 1e300, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON, 5e-324];
    sender.send("a", &floats).await.unwrap();
    let (_, received): (_, Vec<Value>) = receive(&receiver, &["a"]).await;
    let bits = |value: &Value| value.as_f64().expect("a float stays one").to_bits();
    assert!(received.iter().map(bits).eq(floats.iter().map(|float| float.to_bits())), "{received:?}");
}

pub(super) async fn lists_and_maps_may_be_nested(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    let mut message = Value::map([("empty list", Value::List(vec![])), ("empty map", Value::Map(vec![]))]);
    for depth in 0..20 {
        message = Value::map([
            ("depth", Value::from(depth)),
            ("inner", Value::from(vec![Value::Nil, message, Value::Map(vec![])])),
        ]);
    }
    round_trip(&sender, &receiver, &message).await;
}

pub(super) async fn a_message_may_be_altered_after_it_was_sent(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    let mut message = vec![1, 2, 3];
    client.send("a", &message).await.unwrap();
    message.clear();
    message.push(9);
    let (_, mut received): (_, Vec<u64>) = receive(&client, &["a"]).await;
    assert_eq!(received, [1, 2, 3]);
    // Nor does one receiver alter what another gets.
    let inbox = client.open_inbox("member").await.unwrap();
    let (mut one, mut two) = (inbox.open_mailbox().unwrap(), inbox.open_mailbox().unwrap());
    for mailbox in [&one, &two] {
        client.group_add("room", mailbox.name()).await.unwrap();
    }
    let _ = client.group_send("room", &received).await.unwrap();
    received.clear();
    let mut copy: Vec<u64> = soon("a copy", one.receive()).await.unwrap();
    copy.push(4);
    assert_eq!(soon("the other copy", two.receive::<Vec<u64>>()).await.unwrap(), [1, 2, 3]);
}

pub(super) async fn a_megabyte_of_text_is_carried(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    // As JSON, with its two quotes.
    round_trip(&sender, &receiver, &Value::from("x".repeat(MEGABYTE - 2))).await;
}

pub(super) async fn a_megabyte_of_json_is_carried_whatever_it_is_made_of(subject: &dyn Subject) {
    let [sender, receiver] = plain(subject).await;
    for (json, value) in [
        ("1", Value::from(1)),
        ("0.5", Value::from(0.5)),
        ("123456789", Value::from(123_456_789)),
        ("null", Value::Nil),
        (r#""a""#, Value::from("a")),
        (r#"{"k":0.5}"#, Value::map([("k", 0.5)])),
    ] {
        // Brackets around elements with a comma between them.
        let count = (MEGABYTE - 1) / (json.len() + 1);
        round_trip(&sender, &receiver, &Value::from(vec![value; count])).await;
    }
}

pub(super) async fn a_megabyte_reaches_a_group_and_a_mailbox(subject: &dyn Subject) {
    let [owner, sender] = plain(subject).await;
    let inbox = owner.open_inbox("member").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    sender.group_add("room", mailbox.name()).await.unwrap();
    let text = "x".repeat(MEGABYTE - 2);
    sender.send(mailbox.name(), &text).await.unwrap();
    let _ = sender.group_send("room", &text).await.unwrap();
    for _ in 0..2 {
        let received: String = soon("the large one", mailbox.receive()).await.unwrap();
        assert_eq!(received.len(), text.len());
    }
    sender.send(mailbox.name(), &1).await.unwrap();
    assert_eq!(mailed(&mut mailbox).await, 1);
}

pub(super) async fn a_larger_message_than_the_layer_carries_is_refused_and_not_sent(subject: &dyn Subject) {
    let settings = Settings { max_message_size: 1000, ..Settings::default() };
    let [client] = clients(subject, &settings).await;
    // A MessagePack string of this length has a 3-byte head.
    let (fits, too_large) = ("x".repeat(997), "x".repeat(998));
    assert_eq!(PackedMessage::pack(&fits).unwrap().len(), 1000);
    client.group_add("room", "a?1").await.unwrap();
    for refused in [
        client.send("a", &too_large).await.unwrap_err(),
        client.send("a?1", &too_large).await.unwrap_err(),
        client.group_send("room", &too_large).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::MessageTooLarge, "{refused}");
        assert!(!refused.perhaps_sent() && !refused.may_retry(), "{refused}");
    }
    let names = ["a", "a?1"];
    assert!(client.try_receive::<Value>(names).await.unwrap().is_none(), "it was refused, and sent");
    client.send("a", &fits).await.unwrap();
    assert_eq!(receive::<String>(&client, &names).await.1, fits);
    let _ = client.group_send("room", &fits).await.unwrap();
    assert_eq!(receive::<String>(&client, &names).await.1, fits);
}

pub(super) async fn a_message_of_another_type_is_given_as_bytes_and_is_taken(subject: &dyn Subject) {
    let [client] = plain(subject).await;
    client.send("a", "text").await.unwrap();
    client.send("a?1", "text").await.unwrap();
    for channel in ["a", "a?1"] {
        let error = soon("it", client.receive::<u64>([channel])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        let bytes = error.undecoded().expect("the bytes of what was taken").clone();
        assert_eq!(PackedMessage::from_bytes(bytes).unpack::<&str>().unwrap(), "text");
        assert!(client.try_receive::<u64>([channel]).await.unwrap().is_none());
    }
}
