//! `group_members.lua`: lists the members of a group with their labels.

use redis::{Cmd, Value};

use super::call::{Call, evalsha};
use super::reply::{ListPlace, read_list, text};
use crate::name::GroupName;
use crate::redis::keys::Keys;
use crate::redis::script::{self, Script};
use crate::seal::Names;

/// Lists the members of a group with their labels, a step at a time.
pub(in crate::redis) struct GroupMembers<'a> {
    pub(in crate::redis) group: &'a GroupName,
    pub(in crate::redis) place: &'a ListPlace,
}

/// A step of the list.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct MembersStep {
    /// Where the next step begins.
    pub(in crate::redis) next: ListPlace,
    /// Channels and their labels. A label is as the server sees it.
    pub(in crate::redis) members: Vec<(String, String)>,
}

impl GroupMembers<'_> {
    /// Reads what names hide. What another key has hidden is not of this layer: a channel is left out, a label is none.
    pub(in crate::redis) fn reveal(
        &self,
        members: Vec<(String, String)>,
        names: &Names,
    ) -> impl Iterator<Item = (String, Option<String>)> {
        let group = names.group(self.group.as_str()).into_owned();
        members.into_iter().filter_map(move |(written, label)| {
            let label = Some(label).filter(|label| !label.is_empty());
            let label = label.and_then(|label| names.reveal_label(&group, &written, &label));
            Some((names.reveal_channel(&written)?, label))
        })
    }
}

impl Call for GroupMembers<'_> {
    type Reply = MembersStep;

    fn script() -> &'static Script {
        &script::GROUP_MEMBERS
    }

    fn command(&self, keys: &Keys) -> Cmd {
        let mut cmd = evalsha(Self::script(), 1, 384);
        cmd.arg(keys.group(self.group)).arg(keys.prefix()).arg(&*keys.names().group(self.group.as_str()));
        cmd.arg(&self.place.name).arg(&self.place.cursor);
        cmd
    }

    fn decode(reply: Value) -> Result<MembersStep, Value> {
        read_list(reply, |parts| match parts {
            [name, cursor, members @ ..] => {
                let members = members.chunks(2).map(|member| match member {
                    [channel, label] => Some((text(channel)?, text(label)?)),
                    _ => None,
                });
                let next = ListPlace::read(name, cursor)?;
                Some(MembersStep { next, members: members.collect::<Option<_>>()? })
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
    fn each_reply_of_group_members_is_read() {
        let end = || [bulk(""), bulk("0")];
        let members = [bulk("chat.7f!ab"), bulk("u7"), bulk("news"), bulk("")];
        let step = GroupMembers::decode(list(end().into_iter().chain(members))).unwrap();
        assert!(step.next.is_start());
        assert_eq!(
            step.members,
            [("chat.7f!ab", "u7"), ("news", "")].map(|(c, l)| (c.to_owned(), l.to_owned()))
        );
        assert!(GroupMembers::decode(list(end().into_iter().chain([bulk("news")]))).is_err());
        assert!(GroupMembers::decode(list([bulk("")])).is_err());
    }
}
