//! `inbox_page.lua`: writes some of an inbox's memberships into it.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::decode;
use crate::name::ChannelName;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::log_entry::Place;
use crate::redis::script::{self, Script};

/// Writes some of the memberships of an inbox into it, for its owner to compare.
pub(in crate::redis) struct InboxPage<'a> {
    pub(in crate::redis) inbox: &'a ChannelName,
    pub(in crate::redis) owner: &'a ClientId,
    pub(in crate::redis) call: u64,
    /// Where the page begins.
    pub(in crate::redis) from: &'a Place,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum InboxPageReply {
    Written {
        /// The server's time.
        now_us: u64,
    },
    /// The inbox is not this client's, or not known.
    Taken,
}

impl Call for InboxPage<'_> {
    type Reply = InboxPageReply;

    fn script() -> &'static Script {
        &script::INBOX_PAGE
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let (mut cmd, inbox) = (evalsha(Self::script(), 3, 512), self.inbox.as_str());
        cmd.arg(keys.inbox(inbox)).arg(keys.groups_of(inbox)).arg(keys.queue(inbox));
        cmd.arg(keys.prefix()).arg(&*keys.names().queue(inbox)).arg(self.owner.as_str()).arg(self.call);
        let end = self.from.end_ms.map(|end| end.to_string()).unwrap_or_default();
        cmd.arg(&*self.from.group).arg(end).arg(&*self.from.address);
        cmd
    }

    fn decode(reply: Value) -> Result<InboxPageReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [Value::Int(now)]) => Some(InboxPageReply::Written { now_us: u64::try_from(*now).ok()? }),
            (b"taken", []) => Some(InboxPageReply::Taken),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_inbox_page_is_read() {
        let written = list([bulk("ok"), Value::Int(17)]);
        assert_eq!(InboxPage::decode(written), Ok(InboxPageReply::Written { now_us: 17 }));
        assert_eq!(InboxPage::decode(list([bulk("taken")])), Ok(InboxPageReply::Taken));
        assert!(InboxPage::decode(list([bulk("ok"), bulk("17")])).is_err());
    }
}
