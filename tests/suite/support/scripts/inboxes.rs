//! The scripts of inboxes.

use redis::{RedisResult, Value};

use super::{Scripts, evalsha, parts, positive};

impl Scripts {
    /// Keeps an inbox for an owner that knows its last change. These mailboxes are full, those have room again.
    pub(crate) async fn inbox_keep(
        &self,
        inbox: &str,
        owner: &str,
        lease_ms: u64,
        full: &[&str],
        roomy: &[&str],
    ) -> Keep {
        let mut last = redis::cmd("HMGET");
        last.arg(self.key('i', inbox)).arg("n").arg("by");
        let last: RedisResult<(Option<u64>, Option<String>)> =
            last.query_async(&mut self.connection.clone()).await;
        let (n, by) = last.unwrap_or_default();
        let keep = InboxKeep::of(inbox, owner).lease(lease_ms).full(full).roomy(roomy);
        self.keep(&keep.knows(n.unwrap_or(0), by.as_deref().unwrap_or(":"))).await
    }

    pub(crate) async fn keep(&self, keep: &InboxKeep) -> Keep {
        self.try_keep(keep).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`keep`](Self::keep), for a call that the server may refuse.
    pub(crate) async fn try_keep(&self, keep: &InboxKeep) -> Result<Keep, String> {
        let inbox = &keep.inbox;
        let mut command =
            evalsha("inbox_keep", &[self.key('i', inbox), self.key('s', inbox), self.key('f', inbox)]);
        command
            .arg(&self.prefix)
            .arg(inbox)
            .arg(&keep.owner)
            .arg(&keep.generation)
            .arg(&keep.lease)
            .arg(&keep.bytes)
            .arg(&keep.call);
        command.arg(&keep.last_n).arg(&keep.last_tag).arg(&keep.marks);
        command.arg(keep.count.clone().unwrap_or_else(|| keep.full.len().to_string()));
        command.arg(&keep.full).arg(&keep.roomy);
        match &parts(self.try_call("inbox_keep", &command).await?)[..] {
            [Value::BulkString(tag), Value::Int(now), Value::Int(groups), Value::Int(marks)]
                if tag == b"ok" =>
            {
                Ok(Keep::Ok { now: positive(*now), groups: positive(*groups), marks: positive(*marks) })
            }
            [Value::BulkString(tag)] if tag == b"taken" => Ok(Keep::Taken),
            [Value::BulkString(tag)] if tag == b"stale" => Ok(Keep::Stale),
            other => panic!("inbox_keep answered {other:?}"),
        }
    }

    /// Writes a page into the inbox: the server's time in µs, or nothing if another owns it.
    pub(crate) async fn inbox_page(&self, inbox: &str, owner: &str, call: u64, from: &Place) -> Option<u64> {
        let written = self.try_inbox_page(inbox, owner, &call.to_string(), from).await;
        written.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`inbox_page`](Self::inbox_page), for a call that the server may refuse.
    pub(crate) async fn try_inbox_page(
        &self,
        inbox: &str,
        owner: &str,
        call: &str,
        from: &Place,
    ) -> Result<Option<u64>, String> {
        let mut command =
            evalsha("inbox_page", &[self.key('i', inbox), self.key('s', inbox), self.key('q', inbox)]);
        command.arg(&self.prefix).arg(inbox).arg(owner).arg(call);
        command.arg(&from.group).arg(&from.end).arg(&from.address);
        match &parts(self.try_call("inbox_page", &command).await?)[..] {
            [Value::BulkString(tag), Value::Int(now)] if tag == b"ok" => Ok(Some(positive(*now))),
            [Value::BulkString(tag)] if tag == b"taken" => Ok(None),
            other => panic!("inbox_page answered {other:?}"),
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

/// What [`Scripts::keep`] says. Without further words: for ten minutes, in call 1, of an inbox without a change, no reports.
#[derive(Clone, Debug)]
pub(crate) struct InboxKeep {
    inbox: String,
    owner: String,
    generation: String,
    lease: String,
    bytes: String,
    call: String,
    last_n: String,
    last_tag: String,
    marks: String,
    count: Option<String>,
    full: Vec<String>,
    roomy: Vec<String>,
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and texts, as they read best in a test")]
impl InboxKeep {
    pub(crate) fn of(inbox: &str, owner: &str) -> Self {
        Self {
            inbox: inbox.to_owned(),
            owner: owner.to_owned(),
            generation: String::new(),
            lease: "600000".to_owned(),
            bytes: "67108864".to_owned(),
            call: "1".to_owned(),
            last_n: "0".to_owned(),
            last_tag: ":".to_owned(),
            marks: "some".to_owned(),
            count: None,
            full: Vec::new(),
            roomy: Vec::new(),
        }
    }

    /// On a connection of this generation.
    pub(crate) fn generation(self, generation: u64) -> Self {
        Self { generation: generation.to_string(), ..self }
    }

    pub(crate) fn lease(self, ms: impl ToString) -> Self {
        Self { lease: ms.to_string(), ..self }
    }

    /// How many bytes it may have.
    pub(crate) fn bytes(self, bytes: impl ToString) -> Self {
        Self { bytes: bytes.to_string(), ..self }
    }

    pub(crate) fn call(self, call: impl ToString) -> Self {
        Self { call: call.to_string(), ..self }
    }

    /// The last change that the owner has read.
    pub(crate) fn knows(self, n: impl ToString, tag: &str) -> Self {
        Self { last_n: n.to_string(), last_tag: tag.to_owned(), ..self }
    }

    /// The owner is not sure of the last change.
    pub(crate) fn unsure(self) -> Self {
        Self { last_n: String::new(), ..self }
    }

    /// What becomes of earlier marks.
    pub(crate) fn marks(self, marks: &str) -> Self {
        Self { marks: marks.to_owned(), ..self }
    }

    /// Another count of full mailboxes than there are.
    pub(crate) fn count(self, count: &str) -> Self {
        Self { count: Some(count.to_owned()), ..self }
    }

    pub(crate) fn full(self, addresses: &[&str]) -> Self {
        Self { full: addresses.iter().map(|&address| address.to_owned()).collect(), ..self }
    }

    pub(crate) fn roomy(self, addresses: &[&str]) -> Self {
        Self { roomy: addresses.iter().map(|&address| address.to_owned()).collect(), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Ok {
        /// The server's time in µs.
        now: u64,
        groups: u64,
        marks: u64,
    },
    Taken,
    Stale,
}

/// A place between memberships, as it stands in calls and entries; empty at the beginning and at the end of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) end: String,
    pub(crate) address: String,
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and texts, as they read best in a test")]
impl Place {
    pub(crate) fn new(group: &str, end: impl ToString, address: &str) -> Self {
        Self { group: group.to_owned(), end: end.to_string(), address: address.to_owned() }
    }
}
