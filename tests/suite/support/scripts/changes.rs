//! The scripts that change memberships.

use std::collections::BTreeMap;

use redis::Value;

use super::groups::{fence, queue_and_address};
use super::{Fenced, Scripts, bytes, evalsha, positive, text};

/// So many operations are in a call at most.
const OPERATIONS: usize = 200;

impl Scripts {
    pub(crate) async fn change(&self, change: &Change) -> Fenced<Changed> {
        self.try_change("group_change", change).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// By the script that a full server takes too.
    pub(crate) async fn discard(&self, change: &Change) -> Fenced<Changed> {
        self.try_change("group_discard", change).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`change`](Self::change) or [`discard`](Self::discard), for a call that the server may refuse.
    pub(crate) async fn try_change(&self, script: &str, change: &Change) -> Result<Fenced<Changed>, String> {
        let queue = &change.queue;
        let mut command =
            evalsha(script, &[self.key('i', queue), self.key('q', queue), self.key('s', queue)]);
        command.arg(&self.prefix).arg(queue);
        fence(&mut command, change.by.as_ref().map(|(client, generation)| (&**client, *generation)));
        command.arg(&change.call).arg(&change.capacity).arg(&change.operations);
        let reply = self.try_call(script, &command).await?;
        Ok(Fenced::read(reply, |rest| match rest {
            [Value::Int(now), Value::Int(n), Value::Int(left), failed @ ..] => Changed {
                now: positive(*now),
                n: positive(*n),
                left: positive(*left),
                failures: failed
                    .chunks(2)
                    .map(|failure| match failure {
                        [Value::Int(place), why] => (positive(*place), text(bytes(why))),
                        other => panic!("{script} failed with {other:?}"),
                    })
                    .collect(),
            },
            other => panic!("{script} answered {other:?}"),
        }))
    }

    /// The server's time in µs, of the last call.
    pub(crate) async fn group_add(&self, add: &Add<'_>) -> Fenced<u64> {
        self.try_group_add(add).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`group_add`](Self::group_add), for a call that the server may refuse, or of which something may fail.
    pub(crate) async fn try_group_add(&self, add: &Add<'_>) -> Result<Fenced<u64>, String> {
        let mut last = Fenced::Stale;
        for change in changes(&add.channels, add.fence, |change, address| {
            change.capacity(add.capacity).join(add.group, address, add.expiry_ms)
        }) {
            match self.try_change("group_change", &change).await? {
                Fenced::Ok(Changed { now, failures, .. }) => {
                    if let Some((place, why)) = failures.first() {
                        return Err(format!("operation {place}: {why}"));
                    }
                    last = Fenced::Ok(now);
                }
                Fenced::Stale => return Ok(Fenced::Stale),
            }
        }
        Ok(last)
    }

    /// How many were in the group.
    pub(crate) async fn group_discard(&self, discard: &Discard<'_>) -> Fenced<u64> {
        let mut all = 0;
        for change in
            changes(&discard.channels, discard.fence, |change, address| change.leave(discard.group, address))
        {
            let Fenced::Ok(changed) = self.discard(&change).await else { return Fenced::Stale };
            assert_eq!(changed.failures, []);
            all += changed.left;
        }
        Fenced::Ok(all)
    }

    /// One step: the next cursor, and how many groups the channel left.
    pub(crate) async fn group_leave_step(
        &self,
        channel: &str,
        by: Option<(&str, u64)>,
        cursor: &str,
    ) -> Fenced<(String, u64)> {
        let call = if by.is_some() { "1" } else { "" };
        match self.try_group_leave(channel, by, call, cursor).await.unwrap_or_else(|error| panic!("{error}"))
        {
            Fenced::Ok(step) => Fenced::Ok((step.cursor, step.left)),
            Fenced::Stale => Fenced::Stale,
        }
    }

    /// One step of a call that the server may refuse.
    pub(crate) async fn try_group_leave(
        &self,
        channel: &str,
        by: Option<(&str, u64)>,
        call: &str,
        cursor: &str,
    ) -> Result<Fenced<LeaveStep>, String> {
        let (queue, address) = queue_and_address(channel);
        let mut command =
            evalsha("group_leave", &[self.key('s', queue), self.key('i', queue), self.key('q', queue)]);
        command.arg(&self.prefix).arg(queue).arg(address);
        fence(&mut command, by);
        command.arg(call).arg(cursor);
        let reply = self.try_call("group_leave", &command).await?;
        Ok(Fenced::read(reply, |rest| match rest {
            [Value::BulkString(cursor), Value::Int(left), Value::Int(now), Value::Int(n)] => LeaveStep {
                cursor: text(cursor),
                left: positive(*left),
                now: positive(*now),
                n: positive(*n),
            },
            other => panic!("group_leave answered {other:?}"),
        }))
    }
}

/// One change for each queue, in the order in which they are named first; several for one that has many channels.
fn changes(
    channels: &[&str],
    by: Option<(&str, u64)>,
    operation: impl Fn(Change, &str) -> Change,
) -> Vec<Change> {
    let mut queues: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut places = BTreeMap::new();
    for channel in channels {
        let (queue, address) = queue_and_address(channel);
        let place = *places.entry(queue).or_insert_with(|| {
            queues.push((queue, Vec::new()));
            queues.len() - 1
        });
        queues[place].1.push(address);
    }
    let mut all = Vec::new();
    for (queue, addresses) in queues {
        for some in addresses.chunks(OPERATIONS) {
            let mut change = Change::of(queue);
            if let Some((client, generation)) = by {
                change = change.by(client, generation, 1);
            }
            all.push(some.iter().fold(change, |change, address| operation(change, address)));
        }
    }
    all
}

/// What [`Scripts::change`] says. Without further words: nobody's, for a queue that holds 100.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    queue: String,
    by: Option<(String, u64)>,
    call: String,
    capacity: String,
    operations: Vec<String>,
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and texts, as they read best in a test")]
impl Change {
    pub(crate) fn of(queue: &str) -> Self {
        let (queue, capacity) = (queue.to_owned(), "100".to_owned());
        Self { queue, by: None, call: String::new(), capacity, operations: Vec::new() }
    }

    /// By a client, in its call of this number.
    pub(crate) fn by(self, client: &str, generation: u64, call: u64) -> Self {
        Self { by: Some((client.to_owned(), generation)), call: call.to_string(), ..self }
    }

    /// With a text in place of the call's number.
    pub(crate) fn call(self, call: &str) -> Self {
        Self { call: call.to_owned(), ..self }
    }

    pub(crate) fn capacity(self, capacity: impl ToString) -> Self {
        Self { capacity: capacity.to_string(), ..self }
    }

    /// Further arguments; four are an operation.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.operations.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub(crate) fn join(self, group: &str, address: &str, ms: u64) -> Self {
        self.arguments(&["+", group, address, &ms.to_string()])
    }

    pub(crate) fn join_labelled(self, group: &str, address: &str, ms: u64, label: &str) -> Self {
        self.arguments(&["+", group, address, &format!("{ms} ={label}")])
    }

    pub(crate) fn leave(self, group: &str, address: &str) -> Self {
        self.arguments(&["-", group, address, ""])
    }

    /// A repair: joins until an end, unless it is in. Its owner has read all.
    pub(crate) fn join_unless_in(self, group: &str, address: &str, end: u64) -> Self {
        self.join_unless_flushed(group, address, end, 999_999_999_999_999)
    }

    /// A repair: joins until an end, unless it is in, or a flush came after the last change that its owner read.
    pub(crate) fn join_unless_flushed(self, group: &str, address: &str, end: u64, read: u64) -> Self {
        self.arguments(&["a", group, address, &format!("{end} {read}")])
    }

    /// A repair: stays until an end, if its membership ends when it was seen to.
    pub(crate) fn set_end(self, group: &str, address: &str, end: u64, seen: u64) -> Self {
        self.arguments(&["s", group, address, &format!("{end} {seen}")])
    }

    /// A repair: leaves, if its membership ends then.
    pub(crate) fn leave_if(self, group: &str, address: &str, end: u64) -> Self {
        self.arguments(&["x", group, address, &end.to_string()])
    }

    /// The owner begins to count anew.
    pub(crate) fn begin(self) -> Self {
        self.arguments(&["e", "", "", ""])
    }
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The server's time in µs.
    pub(crate) now: u64,
    pub(crate) n: u64,
    /// How many were in that left.
    pub(crate) left: u64,
    /// The operations that failed, counted from 1, and why.
    pub(crate) failures: Vec<(u64, String)>,
}

/// What a step of leaving all groups did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaveStep {
    pub(crate) cursor: String,
    pub(crate) left: u64,
    /// The server's time in µs.
    pub(crate) now: u64,
    pub(crate) n: u64,
}

/// What [`Scripts::group_add`] says. Without further words: capacity 100, for a minute, nobody's.
#[derive(Clone)]
pub(crate) struct Add<'a> {
    group: &'a str,
    channels: Vec<&'a str>,
    capacity: usize,
    expiry_ms: u64,
    fence: Option<(&'a str, u64)>,
}

impl<'a> Add<'a> {
    pub(crate) fn to(group: &'a str, channels: &[&'a str]) -> Self {
        Self { group, channels: channels.to_vec(), capacity: 100, expiry_ms: 60_000, fence: None }
    }

    pub(crate) fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    pub(crate) fn expiry(self, expiry_ms: u64) -> Self {
        Self { expiry_ms, ..self }
    }

    pub(crate) fn fence(self, client: &'a str, generation: u64) -> Self {
        Self { fence: Some((client, generation)), ..self }
    }
}

/// What [`Scripts::group_discard`] says. Without further words: nobody's.
#[derive(Clone)]
pub(crate) struct Discard<'a> {
    group: &'a str,
    channels: Vec<&'a str>,
    fence: Option<(&'a str, u64)>,
}

impl<'a> Discard<'a> {
    pub(crate) fn from(group: &'a str, channels: &[&'a str]) -> Self {
        Self { group, channels: channels.to_vec(), fence: None }
    }

    pub(crate) fn fence(self, client: &'a str, generation: u64) -> Self {
        Self { fence: Some((client, generation)), ..self }
    }
}
