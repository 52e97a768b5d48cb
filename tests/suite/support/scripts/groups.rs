//! The scripts that send to groups and list them, and replies that may be stale.

use redis::{Cmd, Value};

use super::{Scripts, bytes, evalsha, parts, positive, text};

/// A channel's queue, and its address inside it if that is an inbox.
pub(super) fn queue_and_address(channel: &str) -> (&str, &str) {
    channel.split_at(channel.find('!').map_or(channel.len(), |mark| mark + 1))
}

impl Scripts {
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

    /// All members of a group with their labels, in order of their names.
    pub(crate) async fn group_members(&self, group: &str) -> Vec<(String, String)> {
        self.group_members_in_steps(group).await.0
    }

    /// The same, and how many each step listed.
    pub(crate) async fn group_members_in_steps(&self, group: &str) -> (Vec<(String, String)>, Vec<usize>) {
        let (mut queue, mut cursor) = (String::new(), "0".to_owned());
        let (mut members, mut steps) = (Vec::new(), Vec::new());
        loop {
            let mut command = evalsha("group_members", &[self.key('g', group)]);
            command.arg(&self.prefix).arg(group).arg(&queue).arg(&cursor);
            let reply = parts(self.call("group_members", &command).await);
            let texts: Vec<String> = reply.iter().map(|part| text(bytes(part))).collect();
            let [next_queue, next_cursor, listed @ ..] = &texts[..] else { panic!("{reply:?}") };
            members.extend(listed.chunks(2).map(|member| (member[0].clone(), member[1].clone())));
            steps.push(listed.len() / 2);
            (queue, cursor) = (next_queue.clone(), next_cursor.clone());
            if queue.is_empty() && cursor == "0" {
                members.sort();
                members.dedup();
                return (members, steps);
            }
        }
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
}

pub(super) fn fence(command: &mut Cmd, by: Option<(&str, u64)>) {
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
    pub(super) fn read(reply: Value, rest: impl FnOnce(&[Value]) -> T) -> Self {
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
