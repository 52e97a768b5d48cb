//! `group_list.lua`: lists the members of a group.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{ListPlace, read_list, reveal_all, text};
use crate::name::GroupName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Lists the members of a group, a step at a time.
pub(in crate::redis) struct GroupList<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) place: &'a ListPlace,
}

impl Call for GroupList<'_> {
    /// Where the next step begins, and channels.
    type Reply = (ListPlace, Vec<String>);

    fn script() -> &'static Script {
        &script::GROUP_LIST
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 384);
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*keys.names().group(self.group.as_str()));
        cmd.arg(&self.place.name).arg(&self.place.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<(ListPlace, Vec<String>), Value> {
        read_list(reply, |parts| match parts {
            [name, cursor, channels @ ..] => {
                Some((ListPlace::read(name, cursor)?, channels.iter().map(text).collect::<Option<_>>()?))
            }
            _ => None,
        })
    }

    fn reveal((_, channels): &mut (ListPlace, Vec<String>), names: &Names) {
        reveal_all(channels, |channel| names.reveal_channel(channel));
    }
}
