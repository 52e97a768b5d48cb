//! `flush_inboxes.lua`: tells the owners of inboxes to read their groups again.

use redis::{Cmd, Value};

use super::call::{Call, scan};
use super::flush::{FlushReply, decode_scan};
use super::reply::decode;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Tells the owners of inboxes, of one step of a scan, to read their groups again.
pub(in crate::redis) struct FlushInboxes<'a> {
    pub(in crate::redis) cursor: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum FlushInboxesReply {
    Told(FlushReply),
    /// More is to be removed first: the step is to be made again.
    More,
}

impl Call for FlushInboxes<'_> {
    type Reply = FlushInboxesReply;

    fn script() -> &'static Script {
        &script::FLUSH_INBOXES
    }

    fn command(&self, keys: &Keys) -> Cmd {
        scan(Self::script(), keys, self.cursor)
    }

    fn decode(reply: Value) -> Result<FlushInboxesReply, Value> {
        let more =
            decode(reply, |tag, rest| (tag == b"more" && rest.is_empty()).then_some(FlushInboxesReply::More));
        more.or_else(|reply| decode_scan(reply).map(FlushInboxesReply::Told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_flush_inboxes_is_read() {
        let reply = |cursor| list([bulk(cursor), Value::Int(5)]);
        let told = FlushInboxesReply::Told(FlushReply { next: Some("17".to_owned()) });
        assert_eq!(FlushInboxes::decode(reply("17")), Ok(told));
        assert_eq!(FlushInboxes::decode(list([bulk("more")])), Ok(FlushInboxesReply::More));
    }
}
