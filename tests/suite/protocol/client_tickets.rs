//! client_tickets: what a client learns after its hello of records that an older state of the server brought back.

use std::collections::BTreeSet;

use super::Shard;
use crate::support::Pop;

/// Without it the message would stay with a ticket that nobody has until the lease ends.
/// Shows R31.
#[tokio::test]
async fn a_ticket_that_the_client_does_not_know_is_listed_and_finished_and_its_message_goes_to_the_next() {
    let shard = Shard::new().await;
    let mut client = shard.client().await;
    // Ticket 1 is handed a message, ticket 2 waits: this is what the older state knows.
    shard.send("a", &["m1"]).await;
    assert_eq!(client.ask(1, &["a"]).await.unwrap().text(), "m1");
    assert_eq!(client.ask(2, &["a"]).await, None);

    client.hello().await;
    assert_eq!(client.ask(3, &["a"]).await, None);
    let (cursor, tickets) = shard.client_tickets_step(client.id(), client.generation(), "0").await.unwrap();
    assert_eq!((cursor.as_str(), tickets.into_iter().collect()), ("0", BTreeSet::from([1, 2, 3])));
    client.pop(&Pop::new().release(2).release(1)).await;
    let wake = client.wake().await;
    assert_eq!((wake.ticket, wake.entry.text()), (3, "m1".to_owned()));
}

#[tokio::test]
async fn many_tickets_come_in_steps_and_none_is_missed() {
    let shard = Shard::new().await;
    let client = shard.client().await;
    for first in (0..2_000).step_by(500) {
        let asked = (first..first + 500).fold(Pop::new(), |pop, ticket| pop.wait(ticket, &["a"]));
        client.pop(&asked).await;
    }
    let (mut cursor, mut found, mut steps) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let (next, tickets) =
            shard.client_tickets_step(client.id(), client.generation(), &cursor).await.unwrap();
        found.extend(tickets);
        steps += 1;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert_eq!(found, (0..2_000).collect());
    assert!(steps > 1, "in one step");
}
