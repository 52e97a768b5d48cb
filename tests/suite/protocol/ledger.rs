//! Random programs: clients that receive, drop, reconnect, lose replies and let leases end, while a ledger keeps every
//! message. In the end each one that was accepted was delivered once, or had expired.

mod book;
mod receiver;

use std::time::Duration;

use super::Shard;
use crate::support::{Push, PushReply, Refusal};
use book::Book;
use receiver::Receiver;

const SEEDS: [u64; 6] = [1, 2, 3, 5, 8, 13];
const STEPS: u32 = 3000;
const NORMAL: [&str; 2] = ["a", "b"];
/// Has one reader at a time, and so an order.
const ORDERED: &str = "body?x";
const CAPACITY: usize = 8;
const SHORT: u64 = 20;

/// A small generator, so that a seed is a program. (SplitMix64.)
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// Shows R9.
#[tokio::test]
async fn whatever_clients_do_each_message_is_delivered_once_or_expires() {
    let runs = SEEDS.map(|seed| async move {
        let mut book = Book::new(seed);
        run(&mut book).await;
        book.close();
    });
    futures::future::join_all(runs).await;
}

async fn run(book: &mut Book) {
    let shard = Shard::new().await;
    let mut dice = Dice(book.seed());
    let mut receivers = Vec::new();
    for name in 0..3 {
        receivers.push(Receiver::new(&shard, name).await);
    }
    let mut reader = 0;
    for step in 0..STEPS {
        // By turns, tickets wait for messages and messages for tickets.
        let hungry = (step / 100) % 3 < 2;
        let who = dice.index(receivers.len());
        match dice.roll(30) {
            0..=1 if hungry => send(&shard, &receivers[who], 1, &mut dice, book).await,
            0..=4 if !hungry => send(&shard, &receivers[who], 3, &mut dice, book).await,
            0..=9 => {
                let ordered = reader == who && !receivers[who].has_open_ticket_for(ORDERED);
                receivers[who].open(&mut dice, &NORMAL, ordered.then_some(ORDERED));
            }
            10..=15 => receivers[who].call(&mut dice, book).await,
            16..=19 => receivers[who].read_wakes(book).await,
            20..=24 => receivers[who].deliver_some(&mut dice, book),
            25 => receivers[who].drop_one(&mut dice, book),
            26 if !receivers[reader].has_ticket_for(ORDERED) => reader = who,
            26 | 27 => receivers[who].say_what_is_old(book).await,
            28 if dice.one_in(4) => receivers[who].end_lease(book).await,
            29 if dice.one_in(3) => receivers[who].reconnect(&shard, &mut dice, book).await,
            _ => tokio::time::sleep(Duration::from_millis(dice.roll(4))).await,
        }
    }

    for receiver in &mut receivers {
        receiver.finish(book).await;
    }
    for queue in NORMAL.into_iter().chain([ORDERED]) {
        while let Some(entry) = shard.take(queue).await {
            book.delivered(&entry, queue, "nobody");
        }
    }
    let keys = shard.keys().await;
    let may_stay = |key: &String| key == "schema" || key.starts_with("c:") || key.starts_with("x:");
    assert!(keys.iter().all(may_stay), "{}: {keys:?}", book.said());
}

/// Sends up to `most` messages to one queue or two; the ordered queue has one writer, which says who it is.
async fn send(shard: &Shard, receiver: &Receiver, most: u64, dice: &mut Dice, book: &mut Book) {
    let expires = dice.one_in(6);
    let ordered = receiver.is_writer() && dice.one_in(2);
    let queues: Vec<&str> = match dice.roll(4) {
        _ if ordered => vec![ORDERED],
        0 => NORMAL.to_vec(),
        _ => vec![NORMAL[dice.index(NORMAL.len())]],
    };
    let mut sent = Vec::new();
    let mut push: Option<Push<'_>> = None;
    for queue in queues {
        let bodies: Vec<String> = (0..=dice.roll(most)).map(|_| book.new_message(queue, expires)).collect();
        push = Some(match push {
            None => Push::to(queue, &bodies),
            Some(push) => push.and(queue, &bodies),
        });
        push = push.map(|push| push.capacity(CAPACITY));
        sent.extend(bodies);
    }
    let push = push.unwrap().expiry(if expires { SHORT } else { 600_000 });
    let reply = if ordered { receiver.push(push).await } else { shard.push(&push).await };
    let PushReply::Sent(refused) = reply else { return book.refused_all(&sent) };
    for (place, body) in (1..).zip(&sent) {
        match refused.iter().find(|(refused, _)| *refused == place) {
            None => book.accepted(body),
            Some((_, Refusal::Full { live })) => book.full(body, *live, CAPACITY),
            Some((_, refusal)) => panic!("{}: {refusal:?}", book.said()),
        }
    }
}
