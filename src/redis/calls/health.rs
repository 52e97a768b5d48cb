//! The call of `health`.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::decode;
use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::{self, Script};

/// Looks whether the server and the user's rights allow what the scripts do.
pub(in crate::redis) struct Health<'a> {
    pub(in crate::redis) client: &'a ClientId,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum HealthReply {
    Well {
        /// Whether the user may call INFO.
        may_ask: bool,
    },
    /// The user has no right to this command.
    Denied { command: String },
}

impl Call for Health<'_> {
    type Reply = HealthReply;

    fn script() -> &'static Script {
        &script::HEALTH
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 192);
        cmd.arg(keys.client(self.client)).arg(keys.prefix());
        cmd
    }

    fn decode(reply: Value) -> Result<HealthReply, Value> {
        decode(reply, |tag, rest| match (tag, rest) {
            (b"ok", [Value::Int(_), Value::Int(may_ask)]) => {
                Some(HealthReply::Well { may_ask: *may_ask == 1 })
            }
            (b"denied", [Value::BulkString(command)]) => {
                Some(HealthReply::Denied { command: String::from_utf8_lossy(command).into_owned() })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_of_health_is_read() {
        let bulk = |text: &str| Value::BulkString(text.into());
        for may_ask in [false, true] {
            let reply = vec![bulk("ok"), Value::Int(1), Value::Int(may_ask.into())];
            assert_eq!(Health::decode(Value::Array(reply)), Ok(HealthReply::Well { may_ask }));
        }
        assert_eq!(
            Health::decode(Value::Array(vec![bulk("denied"), bulk("PUBLISH")])),
            Ok(HealthReply::Denied { command: "PUBLISH".to_owned() })
        );
        assert!(Health::decode(Value::Array(vec![bulk("ok")])).is_err());
    }
}
