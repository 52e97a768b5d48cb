//! `group_len.lua`: counts the members of a group.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{count, read_list, text};
use crate::name::GroupName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};

/// Counts the members of a group, a step at a time.
pub(in crate::redis) struct GroupLen<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) cursor: &'a str,
    pub(in crate::redis) enough: usize,
}

impl Call for GroupLen<'_> {
    /// Where the next step begins, empty after the last; and how many members this one counted.
    type Reply = (String, usize);

    fn script() -> &'static Script {
        &script::GROUP_LEN
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 384);
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*keys.names().group(self.group.as_str()));
        cmd.arg(self.cursor).arg(self.enough);
        cmd
    }

    fn decode(reply: Value) -> Result<(String, usize), Value> {
        read_list(reply, |parts| match parts {
            [cursor, members] => Some((text(cursor)?, count(members)?)),
            _ => None,
        })
    }
}
