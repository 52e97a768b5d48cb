//! What stays on the server: nothing but what waits.

use super::Shard;
use crate::support::{Pop, PopReply, Push};

#[tokio::test]
async fn after_all_is_received_and_closed_only_the_schema_and_the_clients_stay() {
    let shard = Shard::new().await;
    let mut clients = [shard.client().await, shard.client().await, shard.client().await];
    shard.push(&Push::to("a", &["m1", "m2", "m3", "m4"]).and("b", &["m5"]).and("c", &["m6"])).await;
    for (number, client) in (0..).zip(&clients) {
        let queues = ["a", "b", "c", "d", "e"];
        let tickets = (1..=4).fold(Pop::new(), |pop, ticket| pop.wait(10 * number + ticket, &queues));
        client.say(&tickets.attempt(99, &queues)).await;
    }
    shard.send("d", &["m7", "m8"]).await;

    for (number, client) in (0..).zip(&mut clients) {
        let mut closing = Pop::new().release(99);
        let wakes = client.wakes().await;
        for ticket in 10 * number + 1..=10 * number + 4 {
            // Some deliver what they were handed, the others give it back.
            let handed = wakes.iter().find(|wake| wake.ticket == ticket);
            closing = match handed {
                Some(wake) => closing.ack(ticket, &wake.entry),
                None => closing.release(ticket),
            };
        }
        assert!(matches!(client.pop_as(1, 0, &closing).await, PopReply::Ok { .. }));
    }
    for queue in ["a", "b", "c", "d", "e"] {
        shard.drain(queue).await;
    }

    let mut expected: Vec<String> = clients.iter().map(|client| format!("c:{}", client.id())).collect();
    expected.push("schema".to_owned());
    assert_eq!(shard.keys().await.into_iter().collect::<Vec<_>>(), expected);
    for client in &clients {
        let mut fields: Vec<String> = shard.ask(redis::cmd("HKEYS").arg(shard.key('c', client.id()))).await;
        fields.sort();
        assert_eq!(fields, ["g", "lease"]);
    }
}

#[tokio::test]
async fn every_key_but_the_schema_has_a_time_to_live() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    shard.send("a", &["m1", "m2"]).await;
    client.ask(1, &["a"]).await.unwrap();
    client.release(1).await;
    client.ask(2, &["x", "y"]).await;
    client.attempt(3, &["a"]).await.unwrap();
    shard.send("b", &["m"]).await;
    client.attempt(4, &["b"]).await.unwrap();
    client.release(4).await;

    let keys = shard.keys().await;
    let kinds: String = keys.iter().map(|key| &key[..1]).collect();
    assert_eq!(kinds, "bcqsww", "one of each: {keys:?}");
    for key in keys.iter().filter(|key| *key != "schema") {
        let left: i64 = shard.ask(redis::cmd("PTTL").arg(format!("{}{key}", shard.prefix()))).await;
        assert!(left > 0, "{key}: {left}");
    }
}

#[tokio::test]
async fn a_message_that_waits_costs_at_most_48_bytes_more_than_its_own() {
    let shard = Shard::new().await;
    let bodies = vec![vec![b'x'; 200]; 1000];
    shard.push(&Push::to("a", &bodies).capacity(1000)).await;
    assert_eq!(shard.length("a").await, 1000);
    let bytes: usize =
        shard.ask(redis::cmd("MEMORY").arg("USAGE").arg(shard.key('q', "a")).arg("SAMPLES").arg(0)).await;
    assert!(bytes <= 1000 * (200 + 48), "{bytes}");
}
