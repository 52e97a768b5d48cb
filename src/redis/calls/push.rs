//! `push.lua`: sends entries to queues.

use bytes::Bytes;
use redis::{Cmd, Value};

use super::call::{Call, Fence, evalsha};
use super::reply::{decode, lossy};
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Sends entries to queues.
pub(in crate::redis) struct Push<'a> {
    pub(in crate::redis) expiry_ms: u64,
    /// The client and generation, if the order of any of the queues counts.
    pub(in crate::redis) fence: Option<Fence<'a>>,
    pub(in crate::redis) queues: Vec<PushQueue<'a>>,
}

/// The entries of one queue in a [`Push`].
#[derive(Debug)]
pub(in crate::redis) struct PushQueue<'a> {
    pub(in crate::redis) queue: &'a str,
    pub(in crate::redis) capacity: usize,
    pub(in crate::redis) bodies: Vec<Bytes>,
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::redis) enum NotSent {
    /// So many live messages wait already.
    Full { live: u64 },
    /// The mailbox takes no more, though its inbox does.
    MailboxFull,
    /// The inbox holds as many bytes as it may.
    InboxHasBytes,
    /// The queue's key is not what it should be; the server's text.
    Error(String),
}

impl Call for Push<'_> {
    /// All were sent but these: the place of each in the call, from 1, and why.
    type Reply = Vec<(usize, NotSent)>;

    const IS_FENCED: bool = true;

    fn script() -> &'static Script {
        &script::PUSH
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let bytes: usize =
            self.queues.iter().flat_map(|queue| &queue.bodies).map(|body| body.len() + 16).sum();
        let mut cmd = evalsha(Self::script(), self.queues.len(), 256 + 128 * self.queues.len() + bytes);
        for queue in &self.queues {
            cmd.arg(keys.queue(queue.queue));
        }
        cmd.arg(keys.prefix()).arg(self.expiry_ms);
        match self.fence {
            Some((client, generation)) => cmd.arg(client.as_str()).arg(generation),
            None => cmd.arg("").arg(""),
        };
        for queue in &self.queues {
            cmd.arg(queue.capacity).arg(queue.bodies.len());
            for body in &queue.bodies {
                cmd.arg(&**body);
            }
        }
        cmd
    }

    fn decode(reply: Value) -> Result<Vec<(usize, NotSent)>, Value> {
        if matches!(&reply, Value::BulkString(text) if text == b"sent") {
            return Ok(Vec::new());
        }
        decode(reply, |tag, rest| match tag {
            b"sent" => {
                let refused = rest.chunks(2).map(|pair| match pair {
                    [Value::Int(place), Value::Int(-1)] => {
                        Some((usize::try_from(*place).ok()?, NotSent::MailboxFull))
                    }
                    [Value::Int(place), Value::Int(-2)] => {
                        Some((usize::try_from(*place).ok()?, NotSent::InboxHasBytes))
                    }
                    [Value::Int(place), Value::Int(live)] => Some((
                        usize::try_from(*place).ok()?,
                        NotSent::Full { live: u64::try_from(*live).ok()? },
                    )),
                    [Value::Int(place), Value::BulkString(error)] => {
                        Some((usize::try_from(*place).ok()?, NotSent::Error(lossy(error))))
                    }
                    _ => None,
                });
                refused.collect::<Option<_>>()
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::calls::reply::made_up::{bulk, list};

    #[test]
    fn each_reply_of_push_is_read() {
        assert_eq!(Push::decode(bulk("sent")), Ok(Vec::new()));
        assert!(Push::is_stale(&list([bulk("stale")])));
        let refused = [
            Value::Int(2),
            Value::Int(10),
            Value::Int(3),
            bulk("WRONGTYPE Operation"),
            Value::Int(4),
            Value::Int(-1),
            Value::Int(5),
            Value::Int(-2),
        ];
        let refused = list([bulk("sent")].into_iter().chain(refused));
        let expected = vec![
            (2, NotSent::Full { live: 10 }),
            (3, NotSent::Error("WRONGTYPE Operation".to_owned())),
            (4, NotSent::MailboxFull),
            (5, NotSent::InboxHasBytes),
        ];
        assert_eq!(Push::decode(refused), Ok(expected));
    }
}
