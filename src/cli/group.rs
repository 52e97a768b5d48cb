//! `group`: who is in a group, and messages to all of them.

use asgi_redis::{ChannelLayer, ChannelName, Error, GroupMember, GroupName, GroupReceipt, Label};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::message::Message;
use super::options::LayerOptions;
use super::outcome::{EXIT_STATUS, Failure, MORE, Status, tell};
use super::output;

#[derive(Args, Debug)]
pub(crate) struct Group {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add channels to a group, or renew their memberships.
    ///
    /// They stay for `group_expiry` of --config, by default a day. An address inside an inbox counts while the process
    /// of that inbox lives. Channels of any kind may be added, in use or not.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Add(Add),
    /// Remove channels from a group, and print those that were in it, one on each line.
    ///
    /// A channel that is not in it is no error.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Discard(Members),
    /// Print the channels in a group, one on each line, in order of their names.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    List(List),
    /// Print how many channels are in a group.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Len(Named),
    /// Send one message to all channels in a group, and print what became of it.
    ///
    /// The counts are of queues: all addresses inside one inbox share one. `delivered` queues have the message; `full` ones
    /// had no room for it, and make the exit status 3 although the others have it; `expired` ones had no member any more;
    /// in place of `failed` ones another program has keys, and they make it 5. A group without members is no error.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Send(Send),
}

#[derive(Args, Debug)]
struct Named {
    /// The group.
    group: String,
}

#[derive(Args, Debug)]
struct Members {
    /// The group.
    group: String,

    /// The channels.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
}

#[derive(Args, Debug)]
struct Add {
    #[command(flatten)]
    members: Members,

    /// Label the channels, for example with the id of a user: up to 128 bytes without white space. Without it they have none, also
    /// those that had one.
    #[arg(long)]
    label: Option<String>,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    named: Named,

    /// Print each channel's label behind it, if it has one.
    #[arg(long)]
    labels: bool,
}

#[derive(Args, Debug)]
struct Send {
    /// The group.
    group: String,

    #[command(flatten)]
    message: Message,

    /// Print also the names of the queues that were full, one on each line.
    #[arg(long)]
    names: bool,
}

#[derive(Serialize)]
struct Added<'a> {
    group: &'a str,
    added: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

#[derive(Serialize)]
struct Discarded<'a> {
    group: &'a str,
    discarded: Vec<&'a str>,
    /// Those that had not been in the group.
    not_in_it: Vec<&'a str>,
}

#[derive(Serialize)]
struct Listed<'a> {
    group: &'a str,
    channels: Vec<&'a str>,
}

#[derive(Serialize)]
struct ListedMembers<'a> {
    group: &'a str,
    members: Vec<ListedMember<'a>>,
}

#[derive(Serialize)]
struct ListedMember<'a> {
    channel: &'a str,
    label: Option<&'a str>,
}

#[derive(Serialize)]
struct Counted<'a> {
    group: &'a str,
    channels: usize,
}

#[derive(Serialize)]
struct Receipt<'a> {
    group: &'a str,
    delivered: usize,
    full: usize,
    expired: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_queues: Option<Vec<&'a str>>,
}

impl Group {
    pub(crate) async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        match self.command {
            Command::Add(add) => add.run(options).await,
            Command::Discard(members) => discard(&members, options).await,
            Command::List(list) => list.run(options).await,
            Command::Len(named) => len(&named, options).await,
            Command::Send(send) => send.run(options).await,
        }
    }
}

impl Add {
    async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let (group, channels) = self.members.names()?;
        let label = self.label.as_deref().map(Label::new).transpose()?;
        let add = async |layer: &dyn ChannelLayer| {
            for channel in &channels {
                match &label {
                    Some(label) => layer.group_add_labelled_packed(&group, channel, label).await?,
                    None => layer.group_add_packed(&group, channel).await?,
                }
            }
            Ok(())
        };
        options.with_layer(add).await?;
        if options.json {
            let label = label.as_ref().map(Label::as_str);
            output::json(&Added { group: group.as_str(), added: texts(&channels), label })?;
        }
        Ok(Status::Done)
    }
}

impl List {
    async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        if !self.labels {
            return list(&self.named, options).await;
        }
        let group = GroupName::new(&self.named.group)?;
        let list = async |layer: &dyn ChannelLayer| Ok(layer.group_members_packed(&group).await?);
        let mut members = options.with_layer(list).await?;
        members.sort_unstable();
        let members: Vec<ListedMember<'_>> = members.iter().map(ListedMember::of).collect();
        if options.json {
            output::json(&ListedMembers { group: group.as_str(), members })?;
        } else {
            output::text(&members.iter().map(ListedMember::line).collect::<String>())?;
        }
        Ok(Status::Done)
    }
}

impl<'a> ListedMember<'a> {
    fn of(member: &'a GroupMember) -> Self {
        Self { channel: member.channel().as_str(), label: member.label().map(Label::as_str) }
    }

    fn line(&self) -> String {
        match self.label {
            Some(label) => format!("{} {label}\n", self.channel),
            None => format!("{}\n", self.channel),
        }
    }
}

async fn discard(members: &Members, options: &LayerOptions) -> Result<Status, Failure> {
    let (group, channels) = members.names()?;
    let discard = async |layer: &dyn ChannelLayer| {
        let members = layer.group_channels_packed(&group).await?;
        for channel in &channels {
            layer.group_discard_packed(&group, channel).await?;
        }
        Ok(members)
    };
    let members = options.with_layer(discard).await?;
    let (discarded, not_in_it): (Vec<_>, Vec<_>) =
        channels.into_iter().partition(|channel| members.contains(channel));
    let (discarded, not_in_it) = (texts(&discarded), texts(&not_in_it));
    if options.json {
        output::json(&Discarded { group: group.as_str(), discarded, not_in_it })?;
    } else {
        output::text(&lines(&discarded))?;
    }
    Ok(Status::Done)
}

async fn list(named: &Named, options: &LayerOptions) -> Result<Status, Failure> {
    let group = GroupName::new(&named.group)?;
    let list = async |layer: &dyn ChannelLayer| Ok(layer.group_channels_packed(&group).await?);
    let mut channels = options.with_layer(list).await?;
    channels.sort_unstable();
    let channels = texts(&channels);
    if options.json {
        output::json(&Listed { group: group.as_str(), channels })?;
    } else {
        output::text(&lines(&channels))?;
    }
    Ok(Status::Done)
}

async fn len(named: &Named, options: &LayerOptions) -> Result<Status, Failure> {
    let group = GroupName::new(&named.group)?;
    let count = async |layer: &dyn ChannelLayer| Ok(layer.group_len_packed(&group, usize::MAX).await?);
    let channels = options.with_layer(count).await?;
    if options.json {
        output::json(&Counted { group: group.as_str(), channels })?;
    } else {
        output::line(&channels.to_string())?;
    }
    Ok(Status::Done)
}

impl Members {
    /// Checks all names before anything is done.
    fn names(&self) -> Result<(GroupName, Vec<ChannelName>), Error> {
        let channels = self.channels.iter().map(|name| ChannelName::new(name));
        Ok((GroupName::new(&self.group)?, channels.collect::<Result<_, _>>()?))
    }
}

impl Send {
    async fn run(self, options: &LayerOptions) -> Result<Status, Failure> {
        let group = GroupName::new(&self.group)?;
        let message = self.message.pack()?;
        let send =
            async |layer: &dyn ChannelLayer| Ok(layer.group_send_packed(&group, message, self.names).await?);
        let receipt = options.with_layer(send).await?;
        let (delivered, full) = (receipt.delivered(), receipt.full());
        let (expired, failed) = (receipt.expired(), receipt.failed());
        let names = texts(receipt.full_queues());
        if options.json {
            let full_queues = self.names.then_some(names);
            let group = group.as_str();
            output::json(&Receipt { group, delivered, full, expired, failed, full_queues })?;
        } else {
            let counts = format!("delivered {delivered}, full {full}, expired {expired}, failed {failed}\n");
            output::text(&(counts + &lines(&names)))?;
        }
        Ok(outcome(&group, &receipt))
    }
}

/// How a send that did not reach all ends: with the exit status of what kept it from the others.
fn outcome(group: &GroupName, receipt: &GroupReceipt) -> Status {
    let queues = receipt.delivered() + receipt.full() + receipt.failed();
    let (missing, why, status) = match (receipt.failed(), receipt.full()) {
        (0, 0) => return Status::Done,
        (0, full) => (full, "were full", Status::ChannelFull),
        (failed, _) => {
            (failed, "could not be written to, other programs' keys stand in their place", Status::Failed)
        }
    };
    tell(&format!("group {group:?}: {missing} of {queues} queues {why}"));
    status
}

fn texts(channels: &[ChannelName]) -> Vec<&str> {
    channels.iter().map(ChannelName::as_str).collect()
}

fn lines(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}
