//! The call of `client_tickets`.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{decode, text};
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};

/// Lists the tickets of a client that the server has a record of, a step at a time.
pub(in crate::redis) struct ClientTickets<'a> {
    pub(in crate::redis) client: &'a ClientId,
    pub(in crate::redis) generation: u64,
    pub(in crate::redis) cursor: &'a str,
}

/// Where the next step begins, `None` after the last; and tickets.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct ClientTicketsReply {
    pub(in crate::redis) next: Option<String>,
    pub(in crate::redis) tickets: Vec<u64>,
}

impl Call for ClientTickets<'_> {
    type Reply = ClientTicketsReply;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::CLIENT_TICKETS
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 192);
        cmd.arg(keys.client(self.client)).arg(self.generation).arg(self.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<ClientTicketsReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [cursor, tickets @ ..]) => {
                let tickets = tickets.iter().map(|ticket| text(ticket)?.parse().ok());
                Some(ClientTicketsReply {
                    next: text(cursor).map(|cursor| (cursor != "0").then_some(cursor))?,
                    tickets: tickets.collect::<Option<_>>()?,
                })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_of_client_tickets_is_read() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let step =
            |parts: &[&str]| ClientTickets::decode(Value::Array(parts.iter().map(|it| bulk(it)).collect()));
        let more = ClientTicketsReply { next: Some("17".to_owned()), tickets: vec![3, 12] };
        assert_eq!(step(&["ok", "17", "3", "12"]), Ok(more));
        assert_eq!(step(&["ok", "0"]), Ok(ClientTicketsReply { next: None, tickets: Vec::new() }));
        assert!(ClientTickets::is_stale(&Value::Array(vec![bulk("stale")])));
        assert!(step(&["ok", "0", "x"]).is_err());
    }
}
