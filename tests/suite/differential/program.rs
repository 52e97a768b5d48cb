//! Random programs: what some clients do, one step after another.

use proptest::prelude::*;

/// The clients that send messages which wait long.
pub(super) const CLIENTS: usize = 2;
pub(super) const CHANNELS: [&str; 4] = ["normal.a", "normal.b", "single.a?1", "single.b?1"];
pub(super) const GROUPS: [&str; 2] = ["room.a", "room.b"];
/// Addresses in each inbox that has no mailboxes.
pub(super) const ADDRESSES: [&str; 2] = ["x", "y"];

/// Something that messages are sent to. A number that stands for nothing there is in the program is taken modulo.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// One of `CHANNELS`.
    Channel(usize),
    /// One of the mailboxes that were ever opened.
    Mailbox(usize),
    /// An address in the inbox that is read as a whole.
    Whole(usize),
    /// An address in the inbox that is not read.
    Unread(usize),
}

/// What a receive names: some of `CHANNELS`, as bits, and perhaps the inbox that is read as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) channels: u8,
    pub(super) whole: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Send {
        client: usize,
        to: Target,
    },
    /// A message that has expired before the next step, unless a receive waits for it.
    SendBriefly {
        channel: usize,
    },
    Receive {
        client: usize,
        named: Named,
    },
    DropReceive {
        which: usize,
    },
    TryReceive {
        client: usize,
        named: Named,
    },
    OpenMailbox {
        client: usize,
    },
    ReadMailbox {
        which: usize,
    },
    DropMailbox {
        which: usize,
    },
    Next,
    GroupAdd {
        client: usize,
        group: usize,
        member: Target,
    },
    /// A membership that has ended before the next step.
    GroupAddBriefly {
        group: usize,
        channel: usize,
    },
    GroupDiscard {
        client: usize,
        group: usize,
        member: Target,
    },
    LeaveGroups {
        client: usize,
        member: Target,
    },
    GroupSend {
        client: usize,
        group: usize,
    },
    GroupMembers {
        client: usize,
        group: usize,
    },
    GroupsOf {
        client: usize,
        member: Target,
    },
    Flush {
        client: usize,
    },
    /// The client closes, and another takes its place.
    Restart {
        client: usize,
    },
}

pub(super) fn programs(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), steps)
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let group = || 0..GROUPS.len();
    prop_oneof![
        30 => (client(), target()).prop_map(|(client, to)| Step::Send { client, to }),
        6 => (0..CHANNELS.len()).prop_map(|channel| Step::SendBriefly { channel }),
        12 => (client(), named()).prop_map(|(client, named)| Step::Receive { client, named }),
        6 => any::<usize>().prop_map(|which| Step::DropReceive { which }),
        12 => (client(), named()).prop_map(|(client, named)| Step::TryReceive { client, named }),
        4 => client().prop_map(|client| Step::OpenMailbox { client }),
        10 => any::<usize>().prop_map(|which| Step::ReadMailbox { which }),
        2 => any::<usize>().prop_map(|which| Step::DropMailbox { which }),
        4 => Just(Step::Next),
        12 => (client(), group(), target())
            .prop_map(|(client, group, member)| Step::GroupAdd { client, group, member }),
        2 => (group(), 0..CHANNELS.len())
            .prop_map(|(group, channel)| Step::GroupAddBriefly { group, channel }),
        4 => (client(), group(), target())
            .prop_map(|(client, group, member)| Step::GroupDiscard { client, group, member }),
        2 => (client(), target()).prop_map(|(client, member)| Step::LeaveGroups { client, member }),
        12 => (client(), group()).prop_map(|(client, group)| Step::GroupSend { client, group }),
        4 => (client(), group()).prop_map(|(client, group)| Step::GroupMembers { client, group }),
        3 => (client(), target()).prop_map(|(client, member)| Step::GroupsOf { client, member }),
        1 => client().prop_map(|client| Step::Flush { client }),
        1 => client().prop_map(|client| Step::Restart { client }),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        6 => (0..CHANNELS.len()).prop_map(Target::Channel),
        6 => (0..8_usize).prop_map(Target::Mailbox),
        2 => (0..ADDRESSES.len()).prop_map(Target::Whole),
        2 => (0..ADDRESSES.len()).prop_map(Target::Unread),
    ]
}

fn named() -> impl Strategy<Value = Named> {
    (0..1_u8 << CHANNELS.len(), prop::bool::weighted(0.15))
        .prop_map(|(channels, whole)| Named { channels: channels.max(u8::from(!whole)), whole })
}
