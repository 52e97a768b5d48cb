//! `fetch.lua`: brings whole what an open ticket was handed and a reply only announced.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::handed::Handed;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Asks for what a ticket was handed.
pub(in crate::redis) struct Fetch<'a> {
    pub(in crate::redis) client: &'a ClientId,
    pub(in crate::redis) generation: u64,
    pub(in crate::redis) ticket: u64,
    /// The queue that was announced.
    pub(in crate::redis) queue: &'a str,
}

impl Call for Fetch<'_> {
    /// Nothing if the ticket holds nothing of this queue any more.
    type Reply = Option<Handed>;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::FETCH
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 2, 256);
        cmd.arg(keys.client(self.client)).arg(keys.queue(self.queue));
        cmd.arg(keys.prefix()).arg(self.generation).arg(self.ticket);
        cmd
    }

    fn decode(reply: Value) -> Result<Option<Handed>, Value> {
        let Value::Array(parts) = reply else { return Err(reply) };
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Value::BulkString(tag)), None, None) if tag == b"ok" => Ok(None),
            (Some(Value::BulkString(tag)), Some(Value::BulkString(queue)), Some(what)) if tag == b"ok" => {
                let queue =
                    String::from_utf8(queue).map_err(|error| Value::BulkString(error.into_bytes()))?;
                Handed::read(queue, what).map(Some)
            }
            (unknown, ..) => Err(unknown.unwrap_or_default()),
        }
    }

    fn reveal(reply: &mut Option<Handed>, names: &Names) {
        if let Some(handed) = reply {
            handed.reveal(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};
    use crate::redis::entry::Entry;

    #[test]
    fn each_reply_of_fetch_is_read() {
        let entry = |text: &'static str| Entry::new(Bytes::from_static(text.as_bytes()));
        assert!(Fetch::is_stale(&list([bulk("stale")])));
        assert_eq!(Fetch::decode(list([bulk("ok")])), Ok(None));
        let one = Handed { queue: "jobs".to_owned(), first: entry("an entry"), more: Vec::new() };
        assert_eq!(Fetch::decode(list([bulk("ok"), bulk("jobs"), bulk("an entry")])), Ok(Some(one)));
        let batch = list([bulk("one"), bulk("two")]);
        let two = Handed { queue: "in!".to_owned(), first: entry("one"), more: vec![entry("two")] };
        assert_eq!(Fetch::decode(list([bulk("ok"), bulk("in!"), batch])), Ok(Some(two)));
        for unknown in [list([]), list([bulk("ok"), bulk("in!"), list([])]), list([bulk("other")])] {
            assert!(Fetch::decode(unknown).is_err());
        }
    }
}
