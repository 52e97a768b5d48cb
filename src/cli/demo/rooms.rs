//! Rooms: groups of mailboxes in several processes. Mailboxes join and leave while messages are sent to the rooms.
//!
//! The operations on one room follow one another: each is awaited before the next begins, in whichever process. So the
//! members of a room are known exactly when a message is sent to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ChannelName, Error, ErrorKind, Mailbox};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::copies::Copies;
use super::random::random_below;
use super::stage::{Layer, PROCESSES};
use super::tasks::outcome;
use crate::cli::outcome::{Failure, Status};

const ROOMS: [&str; 2] = ["demo.room.1", "demo.room.2"];
const MAILBOXES_EACH: usize = 4;
/// The mailbox that is not read before the end. It joins each room first, and stays.
const UNREAD: usize = 0;
/// The time between two operations on a room.
const PAUSE: Duration = Duration::from_millis(4);
/// How many of ten operations are a join or a leave, and not a message.
const MOVES_OF_TEN: usize = 3;
/// How long the last message to a mailbox may take.
const LAST: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    ToRoom {
        number: u64,
        text: String,
    },
    /// The last message to a mailbox, sent to it alone. When it arrives, all earlier messages have arrived.
    Last,
}

/// The mailboxes, and those who read them.
pub(super) struct Rooms {
    layers: [Layer; PROCESSES],
    names: Arc<[ChannelName]>,
    copies: Copies,
    readers: JoinSet<Result<(), Error>>,
    unread: Option<Mailbox>,
}

impl Rooms {
    /// Opens an inbox in each process, and mailboxes in it.
    pub(super) async fn open(layers: &[Layer; PROCESSES], copies: &Copies) -> Result<Self, Error> {
        let mut rooms = Self {
            layers: layers.clone(),
            names: Arc::default(),
            copies: copies.clone(),
            readers: JoinSet::new(),
            unread: None,
        };
        let mut names = Vec::new();
        for layer in layers {
            let inbox = layer.open_inbox("demo.mail").await?;
            for _ in 0..MAILBOXES_EACH {
                let mailbox = inbox.open_mailbox()?;
                let number = names.len();
                names.push(mailbox.name().clone());
                if number == UNREAD {
                    rooms.unread = Some(mailbox);
                } else {
                    rooms.readers.spawn(read(mailbox, number, copies.clone()));
                }
            }
        }
        rooms.names = names.into();
        Ok(rooms)
    }

    /// What happens in each room until a time.
    pub(super) fn plays(
        &self,
        end: Instant,
    ) -> impl Iterator<Item = impl Future<Output = Result<(), Error>> + Send + use<>> {
        let (layers, names, copies) = (self.layers.clone(), Arc::clone(&self.names), self.copies.clone());
        ROOMS.into_iter().map(move |room| play(room, layers.clone(), Arc::clone(&names), end, copies.clone()))
    }

    /// Waits until every mailbox has read what was sent to it, and closes them.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        if let Some(mailbox) = self.unread.take() {
            self.readers.spawn(read(mailbox, UNREAD, self.copies.clone()));
        }
        let [layer, ..] = &self.layers;
        for name in &*self.names {
            layer.send_wait(name.clone(), &Message::Last, LAST).await?;
        }
        let read = async {
            while let Some(ended) = self.readers.join_next().await {
                outcome(ended)?;
            }
            Ok(())
        };
        timeout(LAST, read)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Status::SumsDiffer, "a message to a mailbox was lost")))
    }
}

/// Reads a mailbox to its last message.
async fn read(mut mailbox: Mailbox, member: usize, copies: Copies) -> Result<(), Error> {
    while let Message::ToRoom { number, .. } = mailbox.receive().await? {
        copies.arrived(member, number);
    }
    copies.missed(member, mailbox.missed());
    Ok(())
}

/// Mailboxes join and leave a room, and messages are sent to it, by any of the processes.
async fn play(
    room: &'static str,
    layers: [Layer; PROCESSES],
    names: Arc<[ChannelName]>,
    end: Instant,
    copies: Copies,
) -> Result<(), Error> {
    let mut members = BTreeSet::new();
    let mut next = UNREAD;
    while Instant::now() < end {
        let layer = pick(&layers, random_below(PROCESSES)?)?;
        if members.is_empty() || random_below(10)? < MOVES_OF_TEN {
            let name = pick(&names, next)?;
            if members.remove(&next) {
                layer.group_discard(room, name).await?;
                copies.left();
            } else {
                layer.group_add(room, name).await?;
                members.insert(next);
                copies.joined();
            }
            next = UNREAD + 1 + random_below(names.len() - 1)?;
        } else {
            send_to_room(room, layer, &names, &members, &copies).await?;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns one of some things.
fn pick<T>(of: &[T], index: usize) -> Result<&T, Error> {
    let missing = || Error::new(ErrorKind::Internal, format!("bug in the demo: there is no number {index}"));
    of.get(index).ok_or_else(missing)
}

async fn send_to_room(
    room: &str,
    layer: &Layer,
    names: &[ChannelName],
    members: &BTreeSet<usize>,
    copies: &Copies,
) -> Result<(), Error> {
    let number = copies.attempt();
    let message = Message::ToRoom { number, text: format!("message {number} to all in {room}") };
    let receipt = layer.group_send_naming_full(room, &message).await?;

    let queue_of = |member: &usize| names.get(*member).map(ChannelName::queue);
    let queues: BTreeSet<_> = members.iter().filter_map(queue_of).collect();
    if receipt.delivered() + receipt.full() != queues.len() {
        copies.wrong_receipt();
    }
    let full: BTreeSet<_> = receipt.full_queues().iter().map(ChannelName::as_str).collect();
    let due = members.iter().filter(|member| !queue_of(member).is_some_and(|queue| full.contains(queue)));
    copies.sent(number, due.copied());
    Ok(())
}
