//! The clients of one layer and all that they have, by names that are the same in every world: those of inboxes are random.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{
    ChannelLayer, ChannelLayerExt, ChannelName, ErrorKind, GroupName, Inbox, Mailbox, MemoryLayer,
    PackedMessage,
};
use futures::FutureExt;
use tokio::task::{JoinHandle, yield_now};

use super::program::{ADDRESSES, CHANNELS, CLIENTS, GROUPS, Named, Target};

/// How long a world may take to do what it must.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

type Layer = Arc<dyn ChannelLayer>;
type Outcome<T> = Result<T, ErrorKind>;

/// Connects clients of one namespace: with the settings of messages that wait long, or of brief ones.
pub(super) trait Connect {
    async fn connect(&self, briefly: bool) -> Layer;
}

pub(super) struct World<C> {
    factory: C,
    clients: Vec<Client>,
    brief: Layer,
    /// The inbox that is read as a whole, and the one that is not read; of a client that lives to the end.
    whole: Inbox,
    unread: Inbox,
    keeper: Layer,
    mailboxes: Vec<Kept>,
    receives: Vec<Option<Receive>>,
}

struct Client {
    layer: Layer,
    inbox: Inbox,
    /// Read after all that was sent before.
    sentinel: Mailbox,
}

/// A mailbox: open or not, it has a name.
struct Kept {
    owner: usize,
    name: ChannelName,
    mailbox: Option<Mailbox>,
}

/// A receive that waits.
struct Receive {
    client: Option<usize>,
    task: JoinHandle<Outcome<Received>>,
}

/// What was received: the channel by its common name, and the number that was sent.
pub(super) type Received = (String, u64);

impl Client {
    async fn new(layer: Layer) -> Self {
        let inbox = layer.open_inbox("mailboxes").await.unwrap();
        let sentinel = inbox.open_mailbox().unwrap();
        Self { layer, inbox, sentinel }
    }
}

impl<C: Connect> World<C> {
    pub(super) async fn new(factory: C) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Client::new(factory.connect(false).await).await);
        }
        let brief = factory.connect(true).await;
        let keeper = factory.connect(false).await;
        let (whole, unread) =
            (keeper.open_inbox("whole").await.unwrap(), keeper.open_inbox("unread").await.unwrap());
        // From now on what comes for it is kept.
        assert!(whole.next_packed().now_or_never().is_none());
        Self { factory, clients, brief, whole, unread, keeper, mailboxes: Vec::new(), receives: Vec::new() }
    }

    pub(super) fn mailboxes(&self) -> usize {
        self.mailboxes.len()
    }

    pub(super) fn is_open(&self, which: usize) -> bool {
        self.mailboxes.get(which).is_some_and(|kept| kept.mailbox.is_some())
    }

    /// Receives that wait.
    pub(super) fn waiting(&self) -> Vec<usize> {
        (0..self.receives.len()).filter(|which| self.receives[*which].is_some()).collect()
    }

    fn name(&self, target: Target) -> ChannelName {
        match target {
            Target::Channel(which) => CHANNELS[which].parse().unwrap(),
            Target::Mailbox(which) => self.mailboxes[which].name.clone(),
            Target::Whole(which) => format!("{}{}", self.whole.name(), ADDRESSES[which]).parse().unwrap(),
            Target::Unread(which) => format!("{}{}", self.unread.name(), ADDRESSES[which]).parse().unwrap(),
        }
    }

    /// The common name of a channel or inbox.
    fn common(&self, name: &ChannelName) -> String {
        if let Some(which) = self.mailboxes.iter().position(|kept| kept.name == *name) {
            return format!("mailbox {which}");
        }
        let inboxes =
            self.clients.iter().enumerate().map(|(which, client)| (format!("inbox {which}"), &client.inbox));
        let others = [("whole ".to_owned(), &self.whole), ("unread ".to_owned(), &self.unread)];
        for (common, inbox) in inboxes.chain(others) {
            if let Some(address) = name.as_str().strip_prefix(inbox.name().as_str()) {
                return format!("{common}{address}");
            }
        }
        name.to_string()
    }

    fn layer(&self, client: usize) -> &Layer {
        &self.clients[client].layer
    }

    pub(super) async fn send(&self, client: usize, to: Target, number: u64) -> Outcome<()> {
        self.layer(client).send(self.name(to), &number).await.map_err(|error| error.kind())
    }

    pub(super) async fn send_briefly(&self, channel: usize, number: u64) -> Outcome<()> {
        self.brief.send(CHANNELS[channel], &number).await.map_err(|error| error.kind())
    }

    fn named(&self, named: Named) -> Vec<ChannelName> {
        let channels = (0..CHANNELS.len()).filter(|channel| named.channels >> channel & 1 == 1);
        let whole = named.whole.then(|| self.whole.name().clone());
        channels.map(|channel| CHANNELS[channel].parse().unwrap()).chain(whole).collect()
    }

    /// The client that receives: only one process may read the inbox as a whole.
    fn receiver(&self, client: usize, named: Named) -> (&Layer, Option<usize>) {
        if named.whole { (&self.keeper, None) } else { (self.layer(client), Some(client)) }
    }

    pub(super) async fn try_receive(&self, client: usize, named: Named) -> Outcome<Option<Received>> {
        let (layer, _) = self.receiver(client, named);
        let taken = layer.try_receive_packed(&self.named(named)).await.map_err(|error| error.kind())?;
        Ok(taken.map(|taken| self.received(taken)))
    }

    fn received(&self, (channel, message): (ChannelName, PackedMessage)) -> Received {
        (self.common(&channel), message.unpack().unwrap())
    }

    /// Begins a receive that waits; its place among them.
    pub(super) async fn receive(&mut self, client: usize, named: Named) -> usize {
        let (layer, client) = self.receiver(client, named);
        let (layer, channels) = (Arc::clone(layer), self.named(named));
        let whole = self.whole.name().clone();
        let task = tokio::spawn(async move {
            let (channel, message) = layer.receive_packed(&channels).await.map_err(|error| error.kind())?;
            let address = channel.as_str().strip_prefix(whole.as_str());
            let common = address.map_or_else(|| channel.to_string(), |address| format!("whole {address}"));
            Ok((common, message.unpack().unwrap()))
        });
        self.receives.push(Some(Receive { client, task }));
        self.settle_clients([client].into()).await;
        self.receives.len() - 1
    }

    /// What a receive has returned by now.
    pub(super) async fn arrived(&mut self, which: usize) -> Option<Outcome<Received>> {
        let finished = self.receives[which].as_ref().is_some_and(|receive| receive.task.is_finished());
        if finished { Some(self.awaited(which).await) } else { None }
    }

    /// What a receive returns.
    pub(super) async fn awaited(&mut self, which: usize) -> Outcome<Received> {
        let receive = self.receives[which].take().unwrap();
        tokio::time::timeout(PATIENCE, receive.task).await.expect("the receive returns").unwrap()
    }

    pub(super) async fn drop_receive(&mut self, which: usize) {
        let receive = self.receives[which].take().unwrap();
        receive.task.abort();
        let ended = receive.task.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "what had arrived was looked at before");
        self.settle_clients([receive.client].into()).await;
    }

    /// Gives the clients whose receives wait time to do what they have begun, by round trips of their own.
    pub(super) async fn settle(&self) {
        let waiting = self.receives.iter().flatten().map(|receive| receive.client);
        self.settle_clients(waiting.collect()).await;
    }

    async fn settle_clients(&self, clients: BTreeSet<Option<usize>>) {
        // What looks at one source alone first waits on all of them in the second round.
        const ROUNDS: usize = 2;
        for _ in 0..ROUNDS {
            run_others().await;
            for client in &clients {
                let layer = client.map_or(&self.keeper, |client| self.layer(client));
                assert!(layer.try_receive::<u64>(["barrier"]).await.unwrap().is_none());
            }
        }
        run_others().await;
    }

    /// Waits until all that was sent to mailboxes has reached them, and the server knows which of them are full. The second
    /// message is read after the first was acknowledged.
    pub(super) async fn settle_mailboxes(&mut self) {
        for round in 0..2_u64 {
            for client in &mut self.clients {
                client.layer.send_wait(client.sentinel.name(), &round, PATIENCE).await.unwrap();
                let received = tokio::time::timeout(PATIENCE, client.sentinel.receive::<u64>()).await;
                assert_eq!(received.expect("a sentinel's message").unwrap(), round);
            }
        }
    }

    pub(super) fn open_mailbox(&mut self, client: usize) {
        let mailbox = self.clients[client].inbox.open_mailbox().unwrap();
        self.mailboxes.push(Kept { owner: client, name: mailbox.name().clone(), mailbox: Some(mailbox) });
    }

    /// The next message that is in a mailbox.
    pub(super) fn read_mailbox(&mut self, which: usize) -> Option<u64> {
        let mailbox = self.mailboxes[which].mailbox.as_mut().unwrap();
        let message = mailbox.receive_packed().now_or_never()?;
        Some(message.unwrap().unpack().unwrap())
    }

    pub(super) fn missed(&self, which: usize) -> u64 {
        self.mailboxes[which].mailbox.as_ref().unwrap().missed()
    }

    /// Drops a mailbox, and waits until it has left its groups.
    pub(super) async fn drop_mailbox(&mut self, which: usize) {
        drop(self.mailboxes[which].mailbox.take());
        self.until_left(which).await;
    }

    async fn until_left(&self, which: usize) {
        let left = async {
            while !self.brief.channel_groups(&self.mailboxes[which].name).await.unwrap().is_empty() {
                yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, left).await.expect("a mailbox that is gone leaves its groups");
    }

    /// How many messages the program has from the inbox that is read as a whole, and has not taken.
    pub(super) fn whole_waiting(&self) -> usize {
        self.whole.statistics().waiting
    }

    /// The next message for an address of the inbox that is read as a whole, if one is there.
    pub(super) fn next(&self) -> Option<Received> {
        let next = self.whole.next_packed().now_or_never()?;
        Some(self.received(next.unwrap()))
    }

    /// The next message for an address of the inbox that is read as a whole.
    pub(super) async fn awaited_next(&self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.whole.next_packed()).await;
        self.received(next.expect("a message for the inbox as a whole").unwrap())
    }

    pub(super) async fn group_add(&self, client: usize, group: usize, member: Target) -> Outcome<()> {
        self.layer(client).group_add(GROUPS[group], self.name(member)).await.map_err(|error| error.kind())
    }

    pub(super) async fn group_add_briefly(&self, group: usize, channel: usize) {
        self.brief.group_add(GROUPS[group], CHANNELS[channel]).await.unwrap();
    }

    pub(super) async fn group_discard(&self, client: usize, group: usize, member: Target) -> Outcome<()> {
        self.layer(client).group_discard(GROUPS[group], self.name(member)).await.map_err(|error| error.kind())
    }

    pub(super) async fn leave_groups(&self, client: usize, member: Target) -> Outcome<()> {
        self.layer(client).leave_groups(self.name(member)).await.map_err(|error| error.kind())
    }

    /// Sends to a group; how many queues have it, and which were full.
    pub(super) async fn group_send(
        &self,
        client: usize,
        group: usize,
        number: u64,
    ) -> Outcome<(usize, BTreeSet<String>)> {
        let receipt = self.layer(client).group_send_naming_full(GROUPS[group], &number).await;
        let receipt = receipt.map_err(|error| error.kind())?;
        let full: BTreeSet<String> = receipt.full_queues().iter().map(|name| self.common(name)).collect();
        assert_eq!(full.len(), receipt.full());
        Ok((receipt.delivered(), full))
    }

    /// Who is in a group, and how many the layer says that these are.
    pub(super) async fn group_members(&self, client: usize, group: usize) -> BTreeSet<String> {
        let layer = self.layer(client);
        let channels = layer.group_channels(GROUPS[group]).await.unwrap();
        assert_eq!(layer.group_len(GROUPS[group]).await.unwrap(), channels.len());
        assert_eq!(layer.group_is_empty(GROUPS[group]).await.unwrap(), channels.is_empty());
        let members: BTreeSet<String> = channels.iter().map(|channel| self.common(channel)).collect();
        assert_eq!(members.len(), channels.len(), "each is listed once");
        members
    }

    pub(super) async fn groups_of(&self, client: usize, member: Target) -> BTreeSet<GroupName> {
        let groups = self.layer(client).channel_groups(self.name(member)).await.unwrap();
        groups.into_iter().collect()
    }

    pub(super) async fn flush(&mut self, client: usize) {
        self.layer(client).flush().await.unwrap();
        self.settle_mailboxes().await;
    }

    /// Closes a client, and puts another in its place. What its receives returned, by their places, and what its
    /// mailboxes had left.
    pub(super) async fn restart(&mut self, client: usize) -> (Vec<(usize, Outcome<Received>)>, Vec<u64>) {
        self.clients[client].layer.close().await.unwrap();
        let mut ended = Vec::new();
        for which in self.waiting() {
            if self.receives[which].as_ref().is_some_and(|receive| receive.client == Some(client)) {
                ended.push((which, self.awaited(which).await));
            }
        }
        let closed = self.clients[client].layer.send("normal.a", &0).await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        let mut left = Vec::new();
        for which in 0..self.mailboxes.len() {
            if self.mailboxes[which].owner != client || self.mailboxes[which].mailbox.is_none() {
                continue;
            }
            while let Some(number) = self.read_mailbox_to_the_end(which) {
                left.push(number);
            }
            self.mailboxes[which].mailbox = None;
            self.until_left(which).await;
        }
        self.clients[client] = Client::new(self.factory.connect(false).await).await;
        (ended, left)
    }

    /// The next that is left in a mailbox whose layer was closed.
    fn read_mailbox_to_the_end(&mut self, which: usize) -> Option<u64> {
        let mailbox = self.mailboxes[which].mailbox.as_mut().unwrap();
        match mailbox.receive_packed().now_or_never().expect("it has ended") {
            Ok(message) => Some(message.unpack().unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed);
                None
            }
        }
    }
}

/// Lets tasks that can go on do so.
async fn run_others() {
    for _ in 0..4 {
        yield_now().await;
    }
}

/// Clients of a memory layer.
pub(super) struct InMemory {
    pub(super) lasting: MemoryLayer,
    pub(super) brief: asgi_redis::Config,
}

impl Connect for InMemory {
    async fn connect(&self, briefly: bool) -> Layer {
        Arc::new(match briefly {
            false => self.lasting.another_client(),
            true => self.lasting.another_client_with(self.brief.clone()),
        })
    }
}

/// Clients of a Redis layer.
pub(super) struct OnRedis {
    pub(super) lasting: asgi_redis::ConfigBuilder,
    pub(super) brief: asgi_redis::ConfigBuilder,
}

impl Connect for OnRedis {
    async fn connect(&self, briefly: bool) -> Layer {
        let options = if briefly { &self.brief } else { &self.lasting };
        Arc::new(options.connect().await.unwrap())
    }
}
