//! The scripts of groups and inboxes.

use redis::{Cmd, Value};

use super::{Scripts, bytes, evalsha, parts, positive, text};

/// A channel's queue, and its address inside it if that is an inbox.
fn queue_and_address(channel: &str) -> (&str, &str) {
    channel.split_at(channel.find('!').map_or(channel.len(), |mark| mark + 1))
}

impl Scripts {
    /// The server's time in µs.
    pub(crate) async fn group_add(&self, add: &Add<'_>) -> Fenced<u64> {
        self.try_group_add(add).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`group_add`](Self::group_add), for a call that the server may refuse.
    pub(crate) async fn try_group_add(&self, add: &Add<'_>) -> Result<Fenced<u64>, String> {
        let mut command = evalsha("group_add", &[self.key('g', add.group)]);
        command.arg(&self.prefix).arg(add.group);
        fence(&mut command, add.fence);
        command.arg(if add.keep { "keep" } else { "set" });
        for channel in &add.channels {
            let (queue, address) = queue_and_address(channel);
            command.arg(queue).arg(address).arg(add.capacity).arg(add.expiry_ms);
        }
        let reply = self.try_call("group_add", &command).await?;
        Ok(Fenced::read(reply, |rest| match rest {
            [Value::Int(now)] => positive(*now),
            other => panic!("group_add answered {other:?}"),
        }))
    }

    /// How many were in the group.
    pub(crate) async fn group_discard(&self, discard: &Discard<'_>) -> Fenced<u64> {
        let mut command = evalsha("group_discard", &[self.key('g', discard.group)]);
        command.arg(&self.prefix).arg(discard.group);
        fence(&mut command, discard.fence);
        command.arg(if discard.quiet { "quiet" } else { "tell" });
        for channel in &discard.channels {
            let (queue, address) = queue_and_address(channel);
            command.arg(queue).arg(address);
        }
        Fenced::read(self.call("group_discard", &command).await, |rest| match rest {
            [Value::Int(removed)] => positive(*removed),
            other => panic!("group_discard answered {other:?}"),
        })
    }

    /// One step: the next cursor, and how many groups the channel left.
    pub(crate) async fn group_leave_step(
        &self,
        channel: &str,
        by: Option<(&str, u64)>,
        cursor: &str,
    ) -> Fenced<(String, u64)> {
        let (queue, address) = queue_and_address(channel);
        let mut command = evalsha("group_leave", &[self.key('s', queue)]);
        command.arg(&self.prefix).arg(queue).arg(address);
        fence(&mut command, by);
        command.arg(cursor);
        Fenced::read(self.call("group_leave", &command).await, |rest| match rest {
            [Value::BulkString(cursor), Value::Int(removed)] => (text(cursor), positive(*removed)),
            other => panic!("group_leave answered {other:?}"),
        })
    }

    /// One step: the next cursor, and the members it counted.
    pub(crate) async fn group_len_step(&self, group: &str, cursor: &str, enough: u64) -> (String, u64) {
        let mut command = evalsha("group_len", &[self.key('g', group)]);
        command.arg(&self.prefix).arg(group).arg(cursor).arg(enough);
        match &parts(self.call("group_len", &command).await)[..] {
            [Value::BulkString(cursor), Value::Int(members)] => (text(cursor), positive(*members)),
            other => panic!("group_len answered {other:?}"),
        }
    }

    /// One step: the queue and the cursor where the next begins, and channels.
    pub(crate) async fn group_list_step(
        &self,
        group: &str,
        queue: &str,
        cursor: &str,
    ) -> (String, String, Vec<String>) {
        let mut command = evalsha("group_list", &[self.key('g', group)]);
        command.arg(&self.prefix).arg(group).arg(queue).arg(cursor);
        let reply = parts(self.call("group_list", &command).await);
        let mut texts = reply.iter().map(|part| text(bytes(part)));
        (texts.next().unwrap(), texts.next().unwrap(), texts.collect())
    }

    /// One step.
    pub(crate) async fn group_send(&self, send: &GroupSend<'_>) -> Fenced<Receipt> {
        self.try_group_send(send).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`group_send`](Self::group_send), for a call that the server may refuse.
    pub(crate) async fn try_group_send(&self, send: &GroupSend<'_>) -> Result<Fenced<Receipt>, String> {
        let mut command = evalsha("group_send", &[self.key('g', send.group)]);
        command.arg(&self.prefix).arg(send.group).arg(send.expiry_ms);
        fence(&mut command, send.fence);
        let body = [format!("g{} ", send.group).as_bytes(), &send.payload].concat();
        command.arg(&send.cursor).arg(if send.names { "names" } else { "" }).arg(body);
        let reply = self.try_call("group_send", &command).await?;
        Ok(Fenced::read(reply, |rest| match rest {
            [
                Value::BulkString(cursor),
                Value::Int(delivered),
                Value::Int(full),
                Value::Int(expired),
                Value::Int(failed),
                names @ ..,
            ] => Receipt {
                cursor: text(cursor),
                delivered: positive(*delivered),
                full: positive(*full),
                expired: positive(*expired),
                failed: positive(*failed),
                names: names.iter().map(|name| text(bytes(name))).collect(),
            },
            other => panic!("group_send answered {other:?}"),
        }))
    }

    /// One step: the next cursor, and groups.
    pub(crate) async fn channel_groups_step(&self, channel: &str, cursor: &str) -> (String, Vec<String>) {
        let (queue, address) = queue_and_address(channel);
        let mut command = evalsha("channel_groups", &[self.key('s', queue)]);
        command.arg(&self.prefix).arg(queue).arg(address).arg(cursor);
        let reply = parts(self.call("channel_groups", &command).await);
        let mut texts = reply.iter().map(|part| text(bytes(part)));
        (texts.next().unwrap(), texts.collect())
    }

    /// Keeps an inbox for its owner. These mailboxes are full, those have room again.
    pub(crate) async fn inbox_keep(
        &self,
        inbox: &str,
        owner: &str,
        lease_ms: u64,
        full: &[&str],
        roomy: &[&str],
    ) -> Keep {
        let mut command = evalsha("inbox_keep", &[self.key('i', inbox)]);
        command.arg(&self.prefix).arg(inbox).arg(owner).arg(lease_ms).arg(full.len()).arg(full).arg(roomy);
        match &parts(self.call("inbox_keep", &command).await)[..] {
            [Value::BulkString(tag), Value::Int(now)] if tag == b"ok" => Keep::Ok { now: positive(*now) },
            [Value::BulkString(tag), Value::Int(now)] if tag == b"new" => Keep::New { now: positive(*now) },
            [Value::BulkString(tag)] if tag == b"taken" => Keep::Taken,
            other => panic!("inbox_keep answered {other:?}"),
        }
    }

    /// One step.
    pub(crate) async fn inbox_groups_step(&self, inbox: &str, group: &str, cursor: &str) -> InboxGroups {
        let mut command = evalsha("inbox_groups", &[self.key('s', inbox), self.key('i', inbox)]);
        command.arg(&self.prefix).arg(inbox).arg(group).arg(cursor);
        let reply = parts(self.call("inbox_groups", &command).await);
        let [Value::Int(now), Value::BulkString(group), Value::BulkString(cursor), rest @ ..] = &reply[..]
        else {
            panic!("inbox_groups answered {reply:?}")
        };
        let members = rest.chunks(2).map(|pair| match pair {
            [Value::BulkString(name), Value::Array(members)] => {
                let pairs = members.chunks(2);
                let member = |pair: &[Value]| (text(bytes(&pair[0])), text(bytes(&pair[1])).parse().unwrap());
                (text(name), pairs.map(member).collect())
            }
            other => panic!("inbox_groups gave {other:?}"),
        });
        InboxGroups {
            now: positive(*now),
            group: text(group),
            cursor: text(cursor),
            members: members.collect(),
        }
    }

    /// One step: how many groups are left, or nothing if another owns the inbox.
    pub(crate) async fn inbox_close_step(&self, inbox: &str, owner: &str) -> Option<u64> {
        let mut command = evalsha("inbox_close", &[self.key('i', inbox)]);
        command.arg(&self.prefix).arg(inbox).arg(owner);
        match &parts(self.call("inbox_close", &command).await)[..] {
            [Value::Int(left)] => Some(positive(*left)),
            [Value::BulkString(tag)] if tag == b"taken" => None,
            other => panic!("inbox_close answered {other:?}"),
        }
    }
}

fn fence(command: &mut Cmd, by: Option<(&str, u64)>) {
    match by {
        Some((client, generation)) => command.arg(client).arg(generation),
        None => command.arg("").arg(""),
    };
}

/// The reply to a call that a replaced connection may not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fenced<T> {
    Ok(T),
    Stale,
}

impl<T> Fenced<T> {
    fn read(reply: Value, rest: impl FnOnce(&[Value]) -> T) -> Self {
        let parts = parts(reply);
        match &parts[..] {
            [Value::BulkString(tag)] if tag == b"stale" => Self::Stale,
            [Value::BulkString(tag), more @ ..] if tag == b"ok" => Self::Ok(rest(more)),
            other => panic!("a script answered {other:?}"),
        }
    }

    /// What a call that was not stale answered.
    pub(crate) fn unwrap(self) -> T {
        match self {
            Self::Ok(value) => value,
            Self::Stale => panic!("the call was stale"),
        }
    }
}

/// What [`Scripts::group_add`] says. Without further words: capacity 100, for a minute, not fenced, told to owners.
#[derive(Clone)]
pub(crate) struct Add<'a> {
    group: &'a str,
    channels: Vec<&'a str>,
    capacity: usize,
    expiry_ms: u64,
    keep: bool,
    fence: Option<(&'a str, u64)>,
}

impl<'a> Add<'a> {
    pub(crate) fn to(group: &'a str, channels: &[&'a str]) -> Self {
        let channels = channels.to_vec();
        Self { group, channels, capacity: 100, expiry_ms: 60_000, keep: false, fence: None }
    }

    pub(crate) fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    pub(crate) fn expiry(self, expiry_ms: u64) -> Self {
        Self { expiry_ms, ..self }
    }

    /// By the owner, for its own members.
    pub(crate) fn keep(self) -> Self {
        Self { keep: true, ..self }
    }

    pub(crate) fn fence(self, client: &'a str, generation: u64) -> Self {
        Self { fence: Some((client, generation)), ..self }
    }
}

/// What [`Scripts::group_discard`] says. Without further words: not fenced, told to owners.
#[derive(Clone)]
pub(crate) struct Discard<'a> {
    group: &'a str,
    channels: Vec<&'a str>,
    quiet: bool,
    fence: Option<(&'a str, u64)>,
}

impl<'a> Discard<'a> {
    pub(crate) fn from(group: &'a str, channels: &[&'a str]) -> Self {
        Self { group, channels: channels.to_vec(), quiet: false, fence: None }
    }

    /// By the owner, for its own members.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    pub(crate) fn fence(self, client: &'a str, generation: u64) -> Self {
        Self { fence: Some((client, generation)), ..self }
    }
}

/// What [`Scripts::group_send`] says. Without further words: the first step, for a minute, not fenced, no names.
#[derive(Clone)]
pub(crate) struct GroupSend<'a> {
    group: &'a str,
    payload: Vec<u8>,
    expiry_ms: u64,
    cursor: String,
    names: bool,
    fence: Option<(&'a str, u64)>,
}

impl<'a> GroupSend<'a> {
    pub(crate) fn to(group: &'a str, payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref().to_vec();
        Self { group, payload, expiry_ms: 60_000, cursor: String::new(), names: false, fence: None }
    }

    pub(crate) fn expiry(self, expiry_ms: u64) -> Self {
        Self { expiry_ms, ..self }
    }

    /// The step that begins where another said.
    pub(crate) fn at(self, cursor: &str) -> Self {
        Self { cursor: cursor.to_owned(), ..self }
    }

    /// Asks for the names of full queues.
    pub(crate) fn names(self) -> Self {
        Self { names: true, ..self }
    }

    pub(crate) fn fence(self, client: &'a str, generation: u64) -> Self {
        Self { fence: Some((client, generation)), ..self }
    }
}

/// What became of one step of a send to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) cursor: String,
    pub(crate) delivered: u64,
    pub(crate) full: u64,
    pub(crate) expired: u64,
    pub(crate) failed: u64,
    pub(crate) names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The server's time in µs.
    Ok {
        now: u64,
    },
    New {
        now: u64,
    },
    Taken,
}

/// One step of the groups of an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InboxGroups {
    pub(crate) now: u64,
    pub(crate) group: String,
    pub(crate) cursor: String,
    /// Groups, each with some of its members and when they end.
    pub(crate) members: Vec<(String, Vec<(String, u64)>)>,
}
