//! Processes whose mailboxes are in groups: this program again, each on the cores of the one that measures. They are told
//! what to do in lines, and answer in lines:
//!
//! - `join <group> <mailboxes>`: opens so many, adds each to the group, and reads them; says the inbox's name.
//! - `listen <channel> <readers>`: subscribes, and gives each message to so many tasks; says the channel's name.
//! - `counts <name>`: says how many messages the one got that got the fewest, and the one that got the most.
//!
//! When all mailboxes of a group, or all readers of a channel, have one more message, it says `all`, unasked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, GroupName, Inbox, Mailbox, RedisChannelLayer};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

use crate::bench::layer_at;
use crate::measures::all_of;
use crate::{Result, floor};

/// Holds the URL of the server.
const ROLE: &str = "ASGI_REDIS_BENCH_MEMBERS";
/// How many channels are being added at once.
const ADDING: usize = 64;
/// For an answer: opening the most mailboxes takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const ENDED: &str = "a process with mailboxes has ended";

// In the program that measures.

/// Further processes. Dropping this ends them.
pub(crate) struct Members {
    processes: Vec<(Child, ChildStdin)>,
    said: mpsc::UnboundedReceiver<Said>,
}

struct Said {
    process: usize,
    line: String,
    at: Instant,
}

impl Members {
    pub(crate) fn start(processes: usize, url: &str) -> Result<Self> {
        let (say, said) = mpsc::unbounded_channel();
        let mut members = Self { processes: Vec::new(), said };
        for process in 0..processes {
            let mut child = Command::new(std::env::current_exe()?)
                .env(ROLE, url)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (stdin, stdout) = (child.stdin.take().ok_or(ENDED)?, child.stdout.take().ok_or(ENDED)?);
            members.processes.push((child, stdin));
            let say = say.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                    let _ = say.send(Said { process, line, at: Instant::now() });
                }
                let _ = say.send(Said { process, line: ENDED.to_owned(), at: Instant::now() });
            });
        }
        Ok(members)
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(|(child, _)| child.id()).collect()
    }

    /// Has each process do something; says what they answered.
    pub(crate) async fn tell(&mut self, what: &str) -> Result<Vec<String>> {
        for (_, stdin) in &mut self.processes {
            writeln!(stdin, "{what}")?;
        }
        Ok(self.one_line_of_each().await?.into_iter().map(|said| said.line).collect())
    }

    /// Waits until all mailboxes, or readers, in all processes have one more message; says when the last one had it.
    pub(crate) async fn all_have_it(&mut self) -> Result<Instant> {
        let said = self.one_line_of_each().await?;
        match said.iter().find(|said| said.line != "all") {
            Some(said) => Err(format!("a process said {:?} while a message was under way", said.line).into()),
            None => Ok(said.iter().map(|said| said.at).max().ok_or(ENDED)?),
        }
    }

    /// Asserts that everyone got so many messages.
    pub(crate) async fn assert_each_got(&mut self, name: &str, messages: usize) -> Result<()> {
        let wanted = format!("{messages} {messages}");
        for counts in self.tell(&format!("counts {name}")).await? {
            if counts != wanted {
                return Err(format!("{name}: got at least and at most {counts}, sent were {messages}").into());
            }
        }
        Ok(())
    }

    async fn one_line_of_each(&mut self) -> Result<Vec<Said>> {
        let mut lines: Vec<Said> = Vec::new();
        while lines.len() < self.processes.len() {
            let said = tokio::time::timeout(PATIENCE, self.said.recv()).await;
            let said = said.map_err(|_| "a process with mailboxes says nothing")?.ok_or(ENDED)?;
            if said.line == ENDED {
                return Err(ENDED.into());
            }
            if lines.iter().any(|other| other.process == said.process) {
                return Err(format!("a process said {:?} too much", said.line).into());
            }
            lines.push(said);
        }
        Ok(lines)
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

// In each of the processes.

/// The server's URL, if this process is one of those.
pub(crate) fn role_from_environment() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Does what it is told until its standard input ends.
pub(crate) fn serve(url: &str) -> Result<()> {
    let (hear, mut heard) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            let _ = hear.send(line);
        }
        // The one who measures is gone.
        std::process::exit(1);
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut member = Member::connect(url).await?;
        while let Some(line) = heard.recv().await {
            let answer = match line.split(' ').collect::<Vec<_>>()[..] {
                ["join", group, mailboxes] => member.join(group, mailboxes.parse()?).await?,
                ["listen", channel, readers] => member.listen(channel, readers.parse()?).await?,
                ["counts", name] => member.counts(name)?,
                _ => return Err(format!("told to do {line:?}").into()),
            };
            println!("{answer}");
        }
        Ok(())
    })
}

struct Member {
    url: String,
    layer: RedisChannelLayer,
    inbox: Inbox,
    counts: HashMap<String, Arc<Counts>>,
    /// Kept open.
    subscribed: Vec<MultiplexedConnection>,
}

/// How many messages each mailbox or reader got, and all of them.
struct Counts {
    each: Vec<AtomicUsize>,
    all: AtomicUsize,
}

impl Counts {
    fn new(readers: usize) -> Arc<Self> {
        let each = std::iter::repeat_with(AtomicUsize::default).take(readers).collect();
        Arc::new(Self { each, all: AtomicUsize::default() })
    }

    fn count(&self, reader: usize) {
        if let Some(each) = self.each.get(reader) {
            each.fetch_add(1, Ordering::Relaxed);
        }
        if (self.all.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.each.len()) {
            println!("all");
        }
    }
}

impl Member {
    async fn connect(url: &str) -> Result<Self> {
        let layer = layer_at(url).await?;
        let inbox = layer.open_inbox("bench.members").await?;
        Ok(Self { url: url.to_owned(), layer, inbox, counts: HashMap::new(), subscribed: Vec::new() })
    }

    async fn join(&mut self, name: &str, mailboxes: usize) -> Result<String> {
        let group: GroupName = name.parse()?;
        let counts = Counts::new(mailboxes);
        self.counts.insert(name.to_owned(), Arc::clone(&counts));
        let opened = (0..mailboxes)
            .map(|_| self.inbox.open_mailbox())
            .collect::<asgi_redis::Result<Vec<Mailbox>>>()?;
        let names: Arc<[_]> = opened.iter().map(|mailbox| mailbox.name().clone()).collect();
        all_of((0..ADDING).map(|first| {
            let (layer, group, names) = (self.layer.clone(), group.clone(), Arc::clone(&names));
            async move {
                for name in names.iter().skip(first).step_by(ADDING) {
                    layer.group_add_packed(&group, name).await?;
                }
                Ok(())
            }
        }))
        .await?;
        for (number, mut mailbox) in opened.into_iter().enumerate() {
            let counts = Arc::clone(&counts);
            tokio::spawn(async move {
                while mailbox.receive_packed().await.is_ok() {
                    counts.count(number);
                }
            });
        }
        Ok(self.inbox.name().to_string())
    }

    async fn listen(&mut self, channel: &str, readers: usize) -> Result<String> {
        let counts = Counts::new(readers);
        self.counts.insert(channel.to_owned(), Arc::clone(&counts));
        let give: Vec<mpsc::UnboundedSender<Bytes>> = (0..readers)
            .map(|number| {
                let (give, mut given) = mpsc::unbounded_channel::<Bytes>();
                let counts = Arc::clone(&counts);
                tokio::spawn(async move {
                    while given.recv().await.is_some() {
                        counts.count(number);
                    }
                });
                give
            })
            .collect();
        let subscribed = floor::subscribe(&self.url, channel, move |message| {
            let message = Bytes::from(message);
            for give in &give {
                let _ = give.send(message.clone());
            }
        });
        self.subscribed.push(subscribed.await?);
        Ok(channel.to_owned())
    }

    fn counts(&self, name: &str) -> Result<String> {
        let counts = self.counts.get(name).ok_or("asked for counts of nothing")?;
        let each = || counts.each.iter().map(|each| each.load(Ordering::Relaxed));
        let (fewest, most) = (each().min().unwrap_or_default(), each().max().unwrap_or_default());
        Ok(format!("{fewest} {most}"))
    }
}
