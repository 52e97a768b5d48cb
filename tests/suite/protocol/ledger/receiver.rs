//! A client that keeps the duties of the contract: it names finished tickets until a reply says that they were heard,
//! asks for all open ones after a new hello, and takes entries from wake-ups and replies alike.

use std::collections::BTreeMap;

use super::super::Shard;
use super::super::client::{Client, Listening, Wake};
use super::Dice;
use super::book::Book;
use crate::support::{Entry, Pop, PopReply, Push, PushReply};

const MOST_OPEN: usize = 6;

pub(super) struct Receiver {
    name: usize,
    client: Client,
    next_ticket: u64,
    open: BTreeMap<u64, Ticket>,
    /// What must be said until a reply to a call that said it arrives.
    finished: BTreeMap<u64, Finished>,
}

#[derive(Clone)]
struct Ticket {
    queues: Vec<&'static str>,
    waits: bool,
    got: Option<(String, Entry)>,
}

#[derive(Clone)]
struct Finished {
    queues: Vec<&'static str>,
    /// What was delivered; else the ticket is released.
    delivered: Option<Entry>,
}

impl Receiver {
    pub(super) async fn new(shard: &Shard, name: usize) -> Self {
        let client = shard.client().await;
        Self { name, client, next_ticket: 1, open: BTreeMap::new(), finished: BTreeMap::new() }
    }

    pub(super) fn is_writer(&self) -> bool {
        self.name == 0
    }

    pub(super) async fn push(&self, push: Push<'_>) -> PushReply {
        self.client.push(push).await
    }

    pub(super) fn has_open_ticket_for(&self, queue: &str) -> bool {
        self.open.values().any(|ticket| ticket.queues.contains(&queue))
    }

    /// Whether the server may still hold something of this queue for this client.
    pub(super) fn has_ticket_for(&self, queue: &str) -> bool {
        self.has_open_ticket_for(queue)
            || self.finished.values().any(|finished| finished.queues.contains(&queue))
    }

    /// Opens a ticket, unless many are open, which the next call tells the server.
    pub(super) fn open(&mut self, dice: &mut Dice, normal: &[&'static str], ordered: Option<&'static str>) {
        if self.open.len() >= MOST_OPEN {
            return;
        }
        let mut queues = match dice.roll(3) {
            0 => normal.to_vec(),
            _ => vec![normal[dice.index(normal.len())]],
        };
        if let Some(ordered) = ordered.filter(|_| !dice.one_in(3)) {
            queues.insert(dice.index(queues.len() + 1), ordered);
            if dice.one_in(2) {
                queues.retain(|queue| *queue == ordered);
            }
        }
        self.open.insert(self.next_ticket, Ticket { queues, waits: !dice.one_in(4), got: None });
        self.next_ticket += 1;
    }

    /// A pop of all finished tickets, and of all open ones or one of them. Now and then its reply is lost.
    pub(super) async fn call(&mut self, dice: &mut Dice, book: &mut Book) {
        let empty: Vec<u64> =
            self.open.iter().filter(|(_, ticket)| ticket.got.is_none()).map(|(number, _)| *number).collect();
        let asked = match dice.roll(3) {
            0 if !empty.is_empty() => vec![empty[dice.index(empty.len())]],
            _ => empty,
        };
        let lost = dice.one_in(5);
        book.note(format_args!(
            "{} finishes {:?}, asks {asked:?}{}",
            self.name,
            self.finished.keys(),
            if lost { ", unheard" } else { "" }
        ));
        if !self.pop(&asked, lost).await {
            self.greet(book).await;
        }
    }

    /// Whether it was understood, as far as the client knows.
    async fn pop(&mut self, asked: &[u64], lost: bool) -> bool {
        let said = self.finished.clone();
        let mut pop = said.iter().fold(Pop::new(), |pop, (ticket, finished)| match &finished.delivered {
            Some(entry) => pop.ack(*ticket, entry),
            None => pop.release(*ticket),
        });
        for number in asked {
            let ticket = &self.open[number];
            pop = match ticket.waits {
                true => pop.wait(*number, &ticket.queues),
                false => pop.attempt(*number, &ticket.queues),
            };
        }
        let reply = self.client.pop(&pop).await;
        if lost {
            return true;
        }
        match reply {
            PopReply::Ok { served, given } => {
                assert_eq!(served, asked.len());
                self.finished.retain(|ticket, _| !said.contains_key(ticket));
                for given in given {
                    let (queue, entry) = given.one();
                    self.arrived(given.ticket, queue, entry);
                }
                true
            }
            PopReply::Stale => false,
        }
    }

    pub(super) async fn read_wakes(&mut self, book: &mut Book) {
        for Wake { ticket, queue, entry } in self.client.wakes().await {
            book.woken(self.name, ticket, &entry);
            self.arrived(ticket, queue, entry);
        }
    }

    fn arrived(&mut self, number: u64, queue: String, entry: Entry) {
        match self.open.get_mut(&number) {
            // The first one counts: the acknowledgement names it, and another goes back.
            Some(ticket) => ticket.got = Some(ticket.got.take().unwrap_or((queue, entry))),
            None => {
                // Delivered or dropped before: whatever the ticket holds now goes back.
                let nothing = || Finished { queues: Vec::new(), delivered: None };
                self.finished.entry(number).or_insert_with(nothing);
            }
        }
    }

    /// Futures that have their message return, most of them.
    pub(super) fn deliver_some(&mut self, dice: &mut Dice, book: &mut Book) {
        let filled: Vec<u64> =
            self.open.iter().filter(|(_, ticket)| ticket.got.is_some()).map(|(number, _)| *number).collect();
        for number in filled {
            if !dice.one_in(4) {
                self.deliver(number, book);
            }
        }
    }

    fn deliver(&mut self, number: u64, book: &mut Book) {
        let ticket = self.open.remove(&number).unwrap();
        let (queue, entry) = ticket.got.unwrap();
        book.delivered(&entry, &queue, &format!("{} by {number}", self.name));
        self.finished.insert(number, Finished { queues: ticket.queues, delivered: Some(entry) });
    }

    /// The caller's future is dropped, with a message or without.
    pub(super) fn drop_one(&mut self, dice: &mut Dice, book: &mut Book) {
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        if !numbers.is_empty() {
            let number = numbers[dice.index(numbers.len())];
            let ticket = self.open.remove(&number).unwrap();
            book.note(format_args!("{} drops {number}", self.name));
            self.finished.insert(number, Finished { queues: ticket.queues, delivered: None });
        }
    }

    pub(super) async fn end_lease(&mut self, book: &mut Book) {
        book.note(format_args!("the lease of {} ends", self.name));
        if !self.client.is_stale().await {
            self.client.end_lease().await;
        }
    }

    /// What an earlier connection sent and was on its way.
    pub(super) async fn say_what_is_old(&mut self, book: &mut Book) {
        let delayed = (1..self.next_ticket)
            .fold(Pop::new(), |pop, ticket| pop.release(ticket))
            .wait(self.next_ticket, &super::NORMAL);
        let reply = self.client.pop_as(self.client.generation() - 1, 60_000, &delayed).await;
        assert_eq!(reply, PopReply::Stale, "{}", book.said());
    }

    /// A new connection: the wake-ups of the old one are lost, or arrive all the same.
    pub(super) async fn reconnect(&mut self, shard: &Shard, dice: &mut Dice, book: &mut Book) {
        book.note(format_args!("{} reconnects", self.name));
        if dice.one_in(2) {
            self.read_wakes(book).await;
        }
        self.client = self.client.connected_again(shard, Listening::Yes).await;
        self.greet(book).await;
    }

    /// Hello, then all that is finished and all that is open and empty.
    async fn greet(&mut self, book: &mut Book) {
        self.client.hello().await;
        let empty: Vec<u64> =
            self.open.iter().filter(|(_, ticket)| ticket.got.is_none()).map(|(number, _)| *number).collect();
        book.note(format_args!(
            "{} says hello, finishes {:?}, asks {empty:?}",
            self.name,
            self.finished.keys()
        ));
        assert!(self.pop(&empty, false).await, "{}stale right after hello", book.said());
    }

    /// Delivers what has come, gives all else back and closes.
    pub(super) async fn finish(&mut self, book: &mut Book) {
        self.read_wakes(book).await;
        self.greet(book).await;
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        for number in numbers {
            match self.open[&number].got {
                Some(_) => self.deliver(number, book),
                None => {
                    let ticket = self.open.remove(&number).unwrap();
                    self.finished.insert(number, Finished { queues: ticket.queues, delivered: None });
                }
            }
        }
        assert!(self.pop(&[], false).await, "{}", book.said());
        assert!(self.finished.is_empty());
        self.client.end_lease().await;
    }
}
