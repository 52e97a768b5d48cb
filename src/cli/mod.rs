//! The commands, and what each of them gets: its arguments, the options of every command, and a runtime.
//!
//! All of it uses the public API of the library. From low to high: [`outcome`] has the exit statuses, [`output`] writes,
//! [`json`] turns JSON into messages and back, [`message`] is a message as an argument, [`options`] turns options into a layer,
//! [`signals`] are requests to end, [`notices`] what the layer itself tells meanwhile; above them stands one file for each command, and `demo`.

mod conformance;
mod demo;
mod drain;
mod flush;
mod group;
mod json;
mod manifest;
mod message;
mod new_channel;
mod notices;
mod options;
mod outcome;
mod output;
mod printing;
mod receive;
mod request;
mod scripts;
mod send;
mod shards;
mod signals;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use self::notices::Notices;
use self::options::LayerOptions;
use self::outcome::{EXIT_STATUS, Failure, MORE, Status};

/// Passes messages between programs by name, through Redis.
#[derive(Debug, Parser)]
#[command(name = "asgi-redis", version, after_help = MORE, after_long_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    options: LayerOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run producers and consumers on real messages for some seconds, and count every message.
    ///
    /// It uses the server of --redis, ASGI_REDIS_URL or --config, under a prefix of its own that it cleans up. With
    /// none of them it starts a private redis-server or valkey-server from PATH, and removes it afterwards.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Demo,
    /// Send one message.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Send(send::Send),
    /// Wait for messages, and print each as one line of JSON.
    ///
    /// Each line is {"channel": ..., "message": ...}; `send --help` shows how values without a form in JSON are written.
    /// Bytes that are no message are printed as {"channel": ..., "undecoded": {"$bytes": "<base64>"}}, reported on standard
    /// error, and make the exit status 5. SIGINT, SIGTERM and SIGHUP end the command after a message in flight went back.
    /// A message that cannot be printed, because the reader of the output has gone, is sent again to the end of its channel;
    /// if that cannot be, it stands on standard error, and the exit status is 5. So it is if messages did not open with the
    /// given keys, because the layer has dropped them.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Receive(receive::Receive),
    /// Ask whoever receives requests on a channel, and print the reply as one line of JSON.
    ///
    /// The receiver gets {"message": ..., "reply_channel": ...}, and sends one message to that channel, also with `send`. The request
    /// expires at the end of the timeout, so nobody takes it when nobody waits any more. The exit status is 1 if no reply
    /// came in time.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Request(request::Request),
    /// Print the name of a new single-reader channel.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    NewChannel(new_channel::NewChannel),
    /// Add channels to a group, remove them, list them, and send to all of them.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Group(group::Group),
    /// Remove all messages and groups under the prefix. Receives that wait continue to wait.
    ///
    /// It names servers, prefix and counts, and asks on a terminal. Elsewhere it wants --yes.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Flush(flush::Flush),
    /// Show how each server is, and what waits on it.
    ///
    /// The exit status is 4 if one is down.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Shards(shards::Shards),
    /// Move the waiting messages of a server that is to be taken out to where the new list puts them.
    ///
    /// First give all programs the new list, then drain: a program with the old list would send to the old server again.
    /// A drain that ended early is finished by running it again; nothing is lost, and nothing is moved twice. Messages in
    /// inboxes stay, because the processes that own them read them where they are.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Drain(drain::Drain),
    /// Show the engine's scripts, or load them.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Scripts(scripts::Scripts),
    /// Try whether a client of any language keeps the rules of the contract.
    ///
    /// It runs your client as a program that reads and writes lines of JSON, on servers of its own: a redis-server or
    /// valkey-server from PATH, one for each check. Between them it loses replies, cuts and delays connections, lets servers
    /// forget scripts and data, and kills. Each rule is printed as it holds or not; the exit status is 1 if one is broken.
    /// docs/contract/driver.md describes the lines, and which rule each tier has.
    #[command(after_help = MORE, after_long_help = EXIT_STATUS)]
    Conformance(conformance::Conformance),
}

impl Cli {
    /// Reads the arguments. When they ask for help or the version, that is printed here and the program ends.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::try_parse().map_err(|error| {
            let asked_nothing = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if asked_nothing || !error.use_stderr() {
                error.exit();
            }
            Failure::wrong_use(outcome::one_line(&error.render().to_string()))
        })
    }

    /// Runs the command.
    pub(crate) fn run(self) -> Result<Status, Failure> {
        // More than one thread, so that a layer renews its lease while its caller does something else.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Status::Failed, format!("cannot start the runtime: {error}")))?;
        let ended = runtime.block_on(self.dispatch());
        // Not dropped, because that would wait for a write to a pipe that nobody reads.
        runtime.shutdown_background();
        ended
    }

    async fn dispatch(self) -> Result<Status, Failure> {
        let (options, notices) = (&self.options, Notices::listen());
        match self.command {
            Command::Demo => demo::run(options).await,
            Command::Send(send) => send.run(options).await,
            Command::Receive(receive) => receive.run(options, &notices).await,
            Command::Request(request) => request.run(options).await,
            Command::NewChannel(new_channel) => new_channel.run(options),
            Command::Group(group) => group.run(options).await,
            Command::Flush(flush) => flush.run(options).await,
            Command::Shards(shards) => shards.run(options).await,
            Command::Drain(drain) => drain.run(options).await,
            Command::Scripts(scripts) => scripts.run(options).await,
            Command::Conformance(conformance) => conformance.run(options).await,
        }
    }
}
