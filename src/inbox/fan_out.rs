//! The fan-out of a group's message: one copy to each member that an inbox has, whichever layer reads the inbox.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::mailboxes::Mailboxes;
use super::slot::{Posted, Slot, Waiting};
use crate::message::PackedMessage;
use crate::message::decoded::Decoded;

/// After so many copies of one message other tasks get a turn.
const COPIES_A_TURN: usize = 512;
/// So many turns the owners of full mailboxes get to take something, before time passes too.
const TURNS: usize = 16;
/// Then for so long at a time, the shortest that a timer of the runtime knows.
const PAUSE: Duration = Duration::from_millis(1);

/// A member of a group that is to get a copy of a message.
#[derive(Clone, Debug)]
pub(crate) enum Recipient {
    Mailbox(Arc<Slot>),
    /// An address without a mailbox: whoever reads the inbox as a whole gets its copy.
    Address(Arc<str>),
}

impl Recipient {
    /// Returns the member that has this address, and this mailbox if it has one.
    pub(crate) fn new(address: &Arc<str>, mailbox: Option<&Arc<Slot>>) -> Self {
        match mailbox {
            Some(mailbox) => Self::Mailbox(Arc::clone(mailbox)),
            None => Self::Address(Arc::clone(address)),
        }
    }
}

/// Gives each recipient a copy of a message, in turns, so that other tasks do not wait for a large group. The copies share
/// their bytes. Returns the mailboxes that their copies have filled.
///
/// Full mailboxes come last: those whose owners are taking what waits get the time for it, within bounds for each mailbox
/// and for the inbox. Else a burst would be lost that their owners were only not given the processor for.
pub(crate) async fn fan_out(
    mailboxes: &Mailboxes,
    recipients: Vec<Recipient>,
    deadline: Instant,
    message: PackedMessage,
) -> Vec<Arc<Slot>> {
    let mut full = Vec::new();
    let mut copies = Copies::new(mailboxes, deadline, message);
    let mut late = Vec::new();
    for (number, recipient) in (1_usize..).zip(recipients) {
        match recipient {
            Recipient::Mailbox(mailbox) => match copies.offer(&mailbox, true) {
                Posted::NowFull => full.push(mailbox),
                Posted::Later => late.push(mailbox),
                _ => {}
            },
            Recipient::Address(address) => copies.keep_for_whole(address),
        }
        if number % COPIES_A_TURN == 0 {
            yield_now().await;
        }
    }
    let mut turns = 0;
    while !late.is_empty() {
        turns += 1;
        let waits = turns <= TURNS || mailboxes.may_wait();
        let mut awaited = Duration::ZERO;
        if turns <= TURNS {
            yield_now().await;
        } else if waits {
            let began = Instant::now();
            sleep(PAUSE).await;
            awaited = began.elapsed();
            mailboxes.add_awaited(awaited);
        }
        late.retain(|mailbox: &Arc<Slot>| {
            mailbox.add_awaited(awaited);
            let posted = copies.offer(mailbox, waits);
            if posted == Posted::NowFull {
                full.push(Arc::clone(mailbox));
            }
            posted == Posted::Later
        });
    }
    copies.finish();
    full
}

/// Gives each recipient a copy of a message without a pause, for a caller that holds a lock.
pub(crate) fn fan_out_at_once(
    mailboxes: &Mailboxes,
    recipients: Vec<Recipient>,
    deadline: Instant,
    message: PackedMessage,
) {
    let mut copies = Copies::new(mailboxes, deadline, message);
    for recipient in recipients {
        match recipient {
            // Whether that has filled it is not needed here: who calls asks each mailbox before it sends.
            Recipient::Mailbox(mailbox) => {
                copies.offer(&mailbox, false);
            }
            Recipient::Address(address) => copies.keep_for_whole(address),
        }
    }
    copies.finish();
}

/// A message on its way to the recipients in one inbox.
struct Copies<'a> {
    mailboxes: &'a Mailboxes,
    deadline: Instant,
    message: PackedMessage,
    decoded: Decoded,
    /// The addresses whose copies go to whoever reads the inbox as a whole, all in one item.
    without_mailbox: Vec<Arc<str>>,
}

impl<'a> Copies<'a> {
    fn new(mailboxes: &'a Mailboxes, deadline: Instant, message: PackedMessage) -> Self {
        Self { mailboxes, deadline, message, decoded: Decoded::default(), without_mailbox: Vec::new() }
    }

    /// Offers a mailbox its copy.
    fn offer(&self, mailbox: &Slot, waits: bool) -> Posted {
        let copy = Waiting {
            deadline: self.deadline,
            message: self.message.clone(),
            decoded: Some(self.decoded.clone()),
        };
        self.mailboxes.post_from_group(mailbox, copy, waits)
    }

    fn keep_for_whole(&mut self, address: Arc<str>) {
        if self.mailboxes.is_read_whole() {
            self.without_mailbox.push(address);
        }
    }

    fn finish(self) {
        self.mailboxes.post_to_whole(self.without_mailbox, self.deadline, self.message);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::name::ChannelName;

    fn inbox() -> Mailboxes {
        Mailboxes::new(ChannelName::new("chat.1!").unwrap(), 10)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn each_member_gets_one_copy_and_a_mailbox_that_is_full_now_is_noted() {
        let inbox = inbox();
        let [small, large] = [("chat.1!small", 1), ("chat.1!large", 2)]
            .map(|(name, capacity)| inbox.open(ChannelName::new(name).unwrap(), capacity));
        assert!(inbox.try_next().is_none(), "it is read as a whole from now on");
        let recipients =
            [Recipient::new(&"small".into(), Some(&small)), Recipient::new(&"large".into(), Some(&large))];
        let recipients = recipients.into_iter().chain([Recipient::new(&"elsewhere".into(), None)]);
        let message = PackedMessage::pack(&1).unwrap();
        let full = fan_out(&inbox, recipients.collect(), later(), message).await;
        let full: Vec<&str> = full.iter().map(|slot| slot.address()).collect();
        assert_eq!(full, ["small"]);
        assert_eq!([small.len(), large.len()], [1, 1]);
        let (name, message) = inbox.try_next().unwrap().unwrap().into_parts();
        assert_eq!((name.as_str(), message.unpack::<u32>().unwrap()), ("chat.1!elsewhere", 1));
        assert!(inbox.try_next().is_none());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_an_address_without_a_mailbox_while_nobody_reads_the_inbox_as_a_whole() {
        let inbox = inbox();
        let recipient = Recipient::new(&"gone".into(), None);
        let message = PackedMessage::pack(&1).unwrap();
        assert!(fan_out(&inbox, vec![recipient.clone()], later(), message.clone()).await.is_empty());
        fan_out_at_once(&inbox, vec![recipient], later(), message);
        assert!(inbox.try_next().is_none());
    }

    #[tokio::test]
    async fn other_tasks_get_a_turn_while_a_large_group_gets_its_copies() {
        let inbox = inbox();
        let slot = inbox.open(ChannelName::new("chat.1!a").unwrap(), usize::MAX);
        let recipients = vec![Recipient::Mailbox(Arc::clone(&slot)); 3 * COPIES_A_TURN];
        let message = PackedMessage::pack(&1).unwrap();
        let mut fan_out = pin!(fan_out(&inbox, recipients, later(), message));
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while fan_out.as_mut().poll(&mut context).is_pending() {
            seen.push(slot.len());
        }
        assert_eq!(seen, [1, 2, 3].map(|turns| turns * COPIES_A_TURN));
    }
}
