//! A layer: its options, the connection that its first call makes, and the inboxes and mailboxes of this process.
//!
//! Channels names a mailbox when a consumer begins, and never says that the consumer has ended. So the name that Python gets
//! holds a [`MailboxOwner`]: when it dies, the mailbox ends after a while. A receive by a copy of the name keeps it longer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use asgi_redis::{
    ChannelKind, ChannelLayer, ChannelLayerExt, ChannelName, Config, ConfigBuilder, Error, ErrorKind,
    GroupName, GroupReceipt, Inbox, LocalAndRemote, PackedMessage, Pattern, RedisChannelLayer, SharedMailbox,
    Value, matching,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::call::{Answer, Call, Outcome};
use crate::convert::pack;
use crate::fault::{Fault, exception};
use crate::home::{Home, Owned};

/// A mailbox lives for so long after its name died: a copy of it may be on its way.
const GRACE: Duration = Duration::from_secs(10);
/// A receive tries to connect so often while no server can be reached.
const RETRY: Duration = Duration::from_millis(500);
/// So many prefixes of new channels have an inbox each; beyond, that of the prefix that was not used for longest ends with
/// its last mailbox.
const MAX_INBOXES: usize = 64;

/// The options, checked.
struct Blueprint {
    options: ConfigBuilder,
    config: Config,
    kind: Kind,
}

enum Kind {
    Redis,
    Memory,
    /// Normal channels stay with the other layer: in memory without options.
    Local(Option<Box<ConfigBuilder>>),
}

/// A layer that is connected.
struct Connected {
    layer: Arc<dyn ChannelLayer>,
    servers: Vec<RedisChannelLayer>,
}

impl Blueprint {
    async fn connect(&self) -> asgi_redis::Result<Connected> {
        let (layer, servers): (Arc<dyn ChannelLayer>, _) = match &self.kind {
            Kind::Memory => (Arc::new(self.options.in_memory()?), Vec::new()),
            Kind::Redis => {
                let layer = self.options.connect().await?;
                (Arc::new(layer.clone()), vec![layer])
            }
            Kind::Local(None) => {
                let remote = self.options.connect().await?;
                (Arc::new(LocalAndRemote::new(self.options.in_memory()?, remote.clone())), vec![remote])
            }
            Kind::Local(Some(local)) => {
                let local = local.connect().await?;
                let remote = self.options.connect().await?;
                (Arc::new(LocalAndRemote::new(local.clone(), remote.clone())), vec![local, remote])
            }
        };
        Ok(Connected { layer, servers })
    }
}

/// A layer in one process.
pub(crate) struct Inner {
    home: &'static Home,
    blueprint: Arc<Blueprint>,
    connected: OnceCell<Connected>,
    is_closed: AtomicBool,
    inboxes: Mutex<HashMap<String, Prefix>>,
    uses: AtomicU64,
    mailboxes: Mutex<HashMap<ChannelName, Held>>,
}

/// The inbox of the channels that have one prefix.
struct Prefix {
    inbox: Arc<OnceCell<Inbox>>,
    used: u64,
}

/// A mailbox, and who needs it.
struct Held {
    mailbox: SharedMailbox,
    /// The name that Python got lives.
    is_named: bool,
    receives: usize,
    /// How long it lives when nobody needs it.
    until: Instant,
}

impl Inner {
    fn new(home: &'static Home, blueprint: &Arc<Blueprint>) -> Arc<Self> {
        let inner = Arc::new(Self {
            home,
            blueprint: Arc::clone(blueprint),
            connected: OnceCell::new(),
            is_closed: AtomicBool::new(false),
            inboxes: Mutex::default(),
            uses: AtomicU64::new(0),
            mailboxes: Mutex::default(),
        });
        home.remember(Arc::downgrade(&inner));
        inner
    }

    /// Returns the connected layer. The first call has it connected, and others wait for that.
    async fn connected(self: &Arc<Self>) -> Result<&Connected, Fault> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(
                Error::new(ErrorKind::Closed, "the channel layer was closed; make another one").into()
            );
        }
        if self.connected.get().is_none() {
            let inner = Arc::clone(self);
            self.driven(async move {
                inner.connected.get_or_try_init(|| inner.blueprint.connect()).await.map(drop)
            })
            .await?;
        }
        let connected = self.connected.get();
        connected
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a layer that is connected is not there").into())
    }

    /// Lets the runtime drive what calls of several loops wait for: the loop of the first one may stand still meanwhile.
    async fn driven<T: Send + 'static>(
        &self,
        work: impl Future<Output = asgi_redis::Result<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        let ended = |_| Error::new(ErrorKind::Closed, "the runtime of channel layers has ended");
        Ok(self.home.spawn(work).await.map_err(ended)??)
    }

    /// Returns the connected layer, however long its servers cannot be reached.
    async fn connected_at_last(self: &Arc<Self>) -> Result<&Connected, Fault> {
        loop {
            match self.connected().await {
                Err(fault) if fault.is_outage() => sleep(RETRY).await,
                connected => return connected,
            }
        }
    }

    async fn layer(self: &Arc<Self>) -> Result<&dyn ChannelLayer, Fault> {
        Ok(&*self.connected().await?.layer)
    }

    async fn receive(self: Arc<Self>, channel: ChannelName) -> Result<PackedMessage, Fault> {
        if channel.kind() != ChannelKind::ProcessSpecific {
            let layer = &self.connected_at_last().await?.layer;
            return Ok(layer.receive_packed(std::slice::from_ref(&channel)).await?.1);
        }
        let receive = Receive::begin(&self, &channel).ok_or_else(|| {
            Fault::Foreign(format!(
                "channel {channel:?} is not received from here: it is another process's, or its mailbox has ended, which it \
                 does {} s after the name that new_channel() returned is gone",
                GRACE.as_secs()
            ))
        })?;
        Ok(receive.mailbox.receive_packed().await?)
    }

    async fn new_channel(self: Arc<Self>, prefix: String) -> Outcome {
        let connected = self.connected().await?;
        if prefix.ends_with('?') {
            let name = connected.layer.new_channel(&prefix)?;
            return Ok(Answer::Name(OwnName { name, inner: Weak::new() }));
        }
        let inbox = self.inbox_of(&prefix);
        let inbox = match inbox.get() {
            Some(inbox) => inbox.clone(),
            None => {
                let layer = Arc::clone(&connected.layer);
                let open = async move { inbox.get_or_try_init(|| layer.open_inbox(&prefix)).await.cloned() };
                self.driven(open).await?
            }
        };
        // From here on without a pause: whoever drops this call drops the name too.
        let mailbox = inbox.open_mailbox()?.into_shared();
        let name = mailbox.name().clone();
        let held = Held { mailbox, is_named: true, receives: 0, until: Instant::now() };
        self.mailboxes().insert(name.clone(), held);
        Ok(Answer::Name(OwnName { name, inner: Arc::downgrade(&self) }))
    }

    fn inbox_of(&self, prefix: &str) -> Arc<OnceCell<Inbox>> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inboxes.get_mut(prefix) {
            known.used = used;
            return Arc::clone(&known.inbox);
        }
        let oldest = inboxes.iter().min_by_key(|(_, prefix)| prefix.used).map(|(prefix, _)| prefix.clone());
        let ended =
            oldest.filter(|_| inboxes.len() >= MAX_INBOXES).and_then(|oldest| inboxes.remove(&oldest));
        let inbox = Arc::new(OnceCell::new());
        inboxes.insert(prefix.to_owned(), Prefix { inbox: Arc::clone(&inbox), used });
        drop(inboxes);
        drop(ended);
        inbox
    }

    /// The name of a mailbox has died.
    fn released(self: &Arc<Self>, name: &ChannelName) {
        if let Some(held) = self.mailboxes().get_mut(name) {
            held.is_named = false;
            held.until = held.until.max(Instant::now() + GRACE);
            self.end_later(name.clone(), held.until);
        }
    }

    /// Ends a mailbox then, if nobody needs it.
    fn end_later(self: &Arc<Self>, name: ChannelName, until: Instant) {
        let inner = Arc::downgrade(self);
        self.home.spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            let Some(inner) = inner.upgrade() else { return };
            let mut mailboxes = inner.mailboxes();
            let is_over = |held: &Held| !held.is_named && held.receives == 0 && held.until <= Instant::now();
            let ended =
                if mailboxes.get(&name).is_some_and(is_over) { mailboxes.remove(&name) } else { None };
            drop(mailboxes);
            // It leaves its groups.
            drop(ended);
        });
    }

    /// Closes the layer: later calls fail, receives that wait end.
    pub(crate) async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if let Some(connected) = self.connected.get() {
            // What cannot be told to a server ends there with the lease.
            let _ = connected.layer.close().await;
        }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<ChannelName, Held>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One receive from a mailbox, which lives as long.
struct Receive {
    inner: Arc<Inner>,
    mailbox: SharedMailbox,
    /// By a copy of the name, whose reader may come again.
    is_by_copy: bool,
}

impl Receive {
    fn begin(inner: &Arc<Inner>, name: &ChannelName) -> Option<Self> {
        let mut mailboxes = inner.mailboxes();
        let held = mailboxes.get_mut(name)?;
        held.receives += 1;
        Some(Self { inner: Arc::clone(inner), mailbox: held.mailbox.clone(), is_by_copy: !held.is_named })
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        if let Some(held) = self.inner.mailboxes().get_mut(self.mailbox.name()) {
            held.receives -= 1;
            if self.is_by_copy {
                held.until = held.until.max(Instant::now() + self.inner.blueprint.config.expiry().max(GRACE));
            }
            if !held.is_named && held.receives == 0 {
                self.inner.end_later(self.mailbox.name().clone(), held.until);
            }
        }
    }
}

/// The name of a new channel. The mailbox behind it ends a while after this was dropped.
pub(crate) struct OwnName {
    name: ChannelName,
    inner: Weak<Inner>,
}

impl OwnName {
    pub(crate) fn as_str(&self) -> &str {
        self.name.as_str()
    }
}

impl Drop for OwnName {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.released(&self.name);
        }
    }
}

/// What a name in Python holds as long as it lives.
#[pyclass(module = "channels_asgi_redis._core", frozen)]
pub(crate) struct MailboxOwner {
    _name: Mutex<Option<Owned<OwnName>>>,
}

impl MailboxOwner {
    pub(crate) fn new(name: OwnName) -> Self {
        let home = name.inner.upgrade().map(|inner| inner.home);
        Self { _name: Mutex::new(home.map(|home| Owned::new(home, name))) }
    }
}

/// A layer, in whichever process it is used.
#[pyclass(module = "channels_asgi_redis._core", frozen, weakref)]
pub(crate) struct Layer {
    blueprint: Arc<Blueprint>,
    /// Made by the first call in a process.
    inner: Mutex<Option<Owned<Arc<Inner>>>>,
}

impl Layer {
    /// Makes a call of the layer of this process.
    fn call<F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> PyResult<Call>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let known = inner.as_mut().and_then(|owned| owned.get().map(|inner| Arc::clone(inner)));
        let known = match known {
            Some(known) => known,
            None => {
                let home = Home::here()?;
                let made = Inner::new(home, &self.blueprint);
                *inner = Some(Owned::new(home, Arc::clone(&made)));
                made
            }
        };
        drop(inner);
        Ok(Call::new(known.home, work(known)))
    }

    fn send_message(&self, py: Python<'_>, channel: &str, message: PackedMessage) -> PyResult<Call> {
        let channel = channel_name(py, channel)?;
        self.call(|inner| async move {
            inner.layer().await?.send_packed(&channel, message).await?;
            Ok(Answer::Nothing)
        })
    }

    fn receive_message(
        &self,
        py: Python<'_>,
        channel: &str,
        answer: impl FnOnce(PackedMessage) -> Answer + Send + 'static,
    ) -> PyResult<Call> {
        let channel = channel_name(py, channel)?;
        self.call(|inner| async move { Ok(answer(inner.receive(channel).await?)) })
    }
}

#[pymethods]
impl Layer {
    /// `kind` is "redis", "memory" or "local"; patterns are globs, or texts with a function.
    #[new]
    #[pyo3(signature = (kind, options, patterns, local=None))]
    fn new(
        py: Python<'_>,
        kind: &str,
        options: &Bound<'_, PyDict>,
        patterns: Vec<(String, Option<Py<PyAny>>, usize)>,
        local: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let patterns: Vec<(Pattern, usize)> = patterns
            .into_iter()
            .map(|(text, matches, capacity)| match matches {
                None => (text.into(), capacity),
                Some(matches) => (function(text, matches), capacity),
            })
            .collect();
        let read = |options: &Bound<'_, PyDict>| -> PyResult<(ConfigBuilder, Config)> {
            let read = || {
                let value: Value = pack(options)?.unpack().map_err(|error| exception(py, &error))?;
                let options = ConfigBuilder::try_from(value).map_err(|error| exception(py, &error))?;
                let options = options.channel_capacity(patterns.clone());
                let config = options.build().map_err(|error| exception(py, &error))?;
                Ok((options, config))
            };
            read()
        };
        let (options, config) = read(options)?;
        let kind = match (kind, local) {
            ("redis", _) => Kind::Redis,
            ("memory", _) => Kind::Memory,
            ("local", local) => {
                Kind::Local(local.map(|local| Ok::<_, PyErr>(Box::new(read(local)?.0))).transpose()?)
            }
            (other, _) => return Err(PyTypeError::new_err(format!("{other:?} is no kind of layer"))),
        };
        let blueprint = Arc::new(Blueprint { options, config, kind });
        Ok(Self { blueprint, inner: Mutex::new(None) })
    }

    fn send(&self, py: Python<'_>, channel: &str, message: &Bound<'_, PyAny>) -> PyResult<Call> {
        self.send_message(py, channel, pack(message)?)
    }

    fn send_packed(&self, py: Python<'_>, channel: &str, message: &Bound<'_, PyBytes>) -> PyResult<Call> {
        let message = PackedMessage::from_bytes_checked(message.as_bytes().to_vec());
        self.send_message(py, channel, message.map_err(|error| exception(py, &error))?)
    }

    fn receive(&self, py: Python<'_>, channel: &str) -> PyResult<Call> {
        self.receive_message(py, channel, Answer::Message)
    }

    fn receive_packed(&self, py: Python<'_>, channel: &str) -> PyResult<Call> {
        self.receive_message(py, channel, Answer::Packed)
    }

    /// Returns a name and its owner.
    fn new_channel(&self, prefix: String) -> PyResult<Call> {
        self.call(|inner| inner.new_channel(prefix))
    }

    fn group_add(&self, py: Python<'_>, group: &str, channel: &str) -> PyResult<Call> {
        let (group, channel) = (group_name(py, group)?, channel_name(py, channel)?);
        self.call(|inner| async move {
            inner.layer().await?.group_add_packed(&group, &channel).await?;
            Ok(Answer::Nothing)
        })
    }

    fn group_discard(&self, py: Python<'_>, group: &str, channel: &str) -> PyResult<Call> {
        let (group, channel) = (group_name(py, group)?, channel_name(py, channel)?);
        self.call(|inner| async move {
            inner.layer().await?.group_discard_packed(&group, &channel).await?;
            Ok(Answer::Nothing)
        })
    }

    fn group_send(&self, py: Python<'_>, group: &str, message: &Bound<'_, PyAny>) -> PyResult<Call> {
        let (group, message) = (group_name(py, group)?, pack(message)?);
        self.call(|inner| async move {
            Ok(Answer::Receipt(inner.layer().await?.group_send_packed(&group, message, false).await?))
        })
    }

    fn group_len(&self, py: Python<'_>, group: &str) -> PyResult<Call> {
        let group = group_name(py, group)?;
        self.call(|inner| async move { Ok(Answer::Count(inner.layer().await?.group_len(&group).await?)) })
    }

    fn health(&self) -> PyResult<Call> {
        self.call(|inner| async move {
            let mut servers = Vec::new();
            for layer in &inner.connected().await?.servers {
                servers.extend(layer.health().await);
            }
            Ok(Answer::Health(servers))
        })
    }

    fn flush(&self) -> PyResult<Call> {
        self.call(|inner| async move {
            inner.layer().await?.flush().await?;
            Ok(Answer::Nothing)
        })
    }

    fn close(&self) -> PyResult<Call> {
        self.call(|inner| async move {
            inner.close().await;
            Ok(Answer::Nothing)
        })
    }
}

fn channel_name(py: Python<'_>, text: &str) -> PyResult<ChannelName> {
    ChannelName::new(text).map_err(|error| exception(py, &error))
}

fn group_name(py: Python<'_>, text: &str) -> PyResult<GroupName> {
    GroupName::new(text).map_err(|error| exception(py, &error))
}

/// A pattern that asks Python. Capacities are looked up in the step of the task that calls, which holds the GIL already.
fn function(text: String, matches: Py<PyAny>) -> Pattern {
    let matches = Arc::new(matches);
    matching(text, move |name| {
        Python::attach(|py| {
            let matched = matches.bind(py).call1((name,)).and_then(|matched| matched.is_truthy());
            matched.unwrap_or_else(|error| {
                error.write_unraisable(py, Some(matches.bind(py)));
                false
            })
        })
    })
}

/// What became of a message to a group. It counts queues: all channels of one process and prefix share one.
#[pyclass(module = "channels_asgi_redis._core", frozen)]
pub(crate) struct Receipt {
    receipt: GroupReceipt,
}

impl Receipt {
    pub(crate) fn new(receipt: GroupReceipt) -> Self {
        Self { receipt }
    }
}

#[pymethods]
impl Receipt {
    #[getter]
    fn delivered(&self) -> usize {
        self.receipt.delivered()
    }

    #[getter]
    fn full(&self) -> usize {
        self.receipt.full()
    }

    #[getter]
    fn expired(&self) -> usize {
        self.receipt.expired()
    }

    #[getter]
    fn failed(&self) -> usize {
        self.receipt.failed()
    }

    /// The servers that failed while others did not: host, reason, and whether the message was perhaps sent.
    #[getter]
    fn unreached(&self) -> Vec<(String, String, bool)> {
        let unreached = self.receipt.unreached().iter();
        unreached
            .map(|server| (server.host().to_owned(), server.reason().to_owned(), server.perhaps_sent()))
            .collect()
    }

    /// Raises unless the message is with every queue of the group.
    fn reached_all(&self, py: Python<'_>) -> PyResult<()> {
        self.receipt.reached_all().map_err(|error| exception(py, &error))
    }

    fn __repr__(&self) -> String {
        format!(
            "Receipt(delivered={}, full={}, expired={}, failed={}, unreached={})",
            self.receipt.delivered(),
            self.receipt.full(),
            self.receipt.expired(),
            self.receipt.failed(),
            self.receipt.unreached().len()
        )
    }
}
