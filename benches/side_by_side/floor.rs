//! The raw commands that the layer is set beside, on the same kind of connection as the layer's.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, PushInfo, PushKind, Value};

use crate::Result;
use crate::bench::{CAPACITY, EXPIRY, queue_key};

/// Between two looks at what others do.
const POLL: Duration = Duration::from_micros(200);

/// The least that a script can do to send a message.
const PUSH: &str = "return redis.call('RPUSH', KEYS[1], ARGV[1])";

/// What one writes for a bounded queue whose messages expire, without the layer.
const CHECKED_PUSH: &str = "\
    local time = redis.call('TIME')
    if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
    redis.call('RPUSH', KEYS[1], time[1] .. ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return 1";

/// A connection for raw commands. Clones share it.
#[derive(Clone)]
pub(crate) struct Raw {
    connection: MultiplexedConnection,
    push_sha: Arc<str>,
    checked_push_sha: Arc<str>,
}

impl Raw {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let mut connection = connect(url).await?;
        let [mut push_sha, mut checked_push_sha] = [const { String::new() }; 2];
        for (sha, script) in [(&mut push_sha, PUSH), (&mut checked_push_sha, CHECKED_PUSH)] {
            *sha = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await?;
        }
        Ok(Self { connection, push_sha: push_sha.into(), checked_push_sha: checked_push_sha.into() })
    }

    /// `RPUSH`.
    pub(crate) async fn push(&self, key: &str, message: &[u8]) -> Result<()> {
        let mut command = Cmd::with_capacity(3, 64 + key.len() + message.len());
        command.arg("RPUSH").arg(key).arg(message);
        self.call(&command).await.map(drop)
    }

    /// `EVALSHA` of a script that does `RPUSH`.
    pub(crate) async fn push_by_script(&self, key: &str, message: &[u8]) -> Result<()> {
        let mut command = Cmd::with_capacity(5, 128 + key.len() + message.len());
        command.arg("EVALSHA").arg(&*self.push_sha).arg(1).arg(key).arg(message);
        self.call(&command).await.map(drop)
    }

    /// `EVALSHA` of a script that does what a bounded queue with expiry needs.
    pub(crate) async fn checked_push(&self, key: &str, message: &[u8]) -> Result<()> {
        let mut command = Cmd::with_capacity(7, 160 + key.len() + message.len());
        command.arg("EVALSHA").arg(&*self.checked_push_sha).arg(1).arg(key).arg(message);
        command.arg(CAPACITY).arg(EXPIRY.as_secs() * 1000);
        self.call(&command).await.map(drop)
    }

    /// The commands of both scripts' pushes, for another program.
    pub(crate) fn script_pushes(&self, key: &str, message: &str) -> [Vec<String>; 2] {
        let (capacity, expiry) = (CAPACITY.to_string(), (EXPIRY.as_secs() * 1000).to_string());
        [
            vec!["EVALSHA", &self.push_sha, "1", key, message],
            vec!["EVALSHA", &self.checked_push_sha, "1", key, message, &capacity, &expiry],
        ]
        .map(|arguments| arguments.into_iter().map(str::to_owned).collect())
    }

    /// `BLPOP` of one key, which waits as long as it takes and blocks all else on this connection.
    pub(crate) async fn blocking_pop(&self, key: &str) -> Result<Value> {
        let mut command = Cmd::with_capacity(3, 64 + key.len());
        command.arg("BLPOP").arg(key).arg(0);
        self.call(&command).await
    }

    /// `BLMPOP` of up to so many, which waits as `BLPOP` does; says how many came.
    pub(crate) async fn blocking_pop_many(&self, key: &str, most: usize) -> Result<usize> {
        let mut command = Cmd::with_capacity(7, 64 + key.len());
        command.arg("BLMPOP").arg(0).arg(1).arg(key).arg("LEFT").arg("COUNT").arg(most);
        match self.call(&command).await? {
            Value::Array(parts) => match parts.get(1) {
                Some(Value::Array(messages)) => Ok(messages.len()),
                other => Err(format!("the server answered BLMPOP with {other:?}").into()),
            },
            other => Err(format!("the server answered BLMPOP with {other:?}").into()),
        }
    }

    /// `PUBLISH`.
    pub(crate) async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        let mut command = Cmd::with_capacity(3, 64 + channel.len() + message.len());
        command.arg("PUBLISH").arg(channel).arg(message);
        self.call(&command).await.map(drop)
    }

    /// `ZADD`.
    pub(crate) async fn add_to_set(&self, key: &str, member: &str) -> Result<()> {
        let mut command = Cmd::with_capacity(4, 64 + key.len() + member.len());
        command.arg("ZADD").arg(key).arg(0).arg(member);
        self.call(&command).await.map(drop)
    }

    /// Waits until an inbox is empty and its reader waits.
    pub(crate) async fn until_reader_waits(&self, inbox: &str) -> Result<()> {
        loop {
            let waiting = self.call(redis::cmd("ZCARD").arg(format!("asgi:w:{inbox}"))).await?;
            let length = self.call(redis::cmd("LLEN").arg(queue_key(inbox))).await?;
            if (waiting, length) == (Value::Int(1), Value::Int(0)) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Leaves the first ten messages of a queue.
    pub(crate) async fn shorten(&self, key: &str) -> Result<()> {
        self.call(redis::cmd("LTRIM").arg(key).arg(0).arg(9)).await.map(drop)
    }

    pub(crate) async fn remove(&self, keys: &[String]) -> Result<()> {
        self.call(redis::cmd("UNLINK").arg(keys)).await.map(drop)
    }

    /// Bytes that a key takes in the server.
    pub(crate) async fn memory_of(&self, key: &str) -> Result<u32> {
        match self.call(redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0)).await? {
            Value::Int(bytes) => Ok(u32::try_from(bytes)?),
            other => Err(format!("the server answered MEMORY USAGE {key} with {other:?}").into()),
        }
    }

    async fn call(&self, command: &Cmd) -> Result<Value> {
        match self.connection.clone().send_packed_command(command).await? {
            Value::ServerError(error) => Err(format!("the server refused a raw command: {error:?}").into()),
            reply => Ok(reply),
        }
    }
}

/// A connection like the layer's, but without a limit to the time of an answer.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    connect_with(url, AsyncConnectionConfig::new()).await
}

/// A connection that gives what is published on a channel to a function, in the task that reads the socket.
pub(crate) async fn subscribe(
    url: &str,
    channel: &str,
    give: impl Fn(Vec<u8>) + Send + Sync + 'static,
) -> Result<MultiplexedConnection> {
    let sender = move |push: PushInfo| {
        if let (PushKind::Message, Some(Value::BulkString(message))) =
            (push.kind, push.data.into_iter().nth(1))
        {
            give(message);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let mut connection = connect_with(url, AsyncConnectionConfig::new().set_push_sender(sender)).await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}

async fn connect_with(url: &str, config: AsyncConnectionConfig) -> Result<MultiplexedConnection> {
    const WRITE_QUEUE: usize = 1024;
    let config = config.set_response_timeout(None).set_pipeline_buffer_size(WRITE_QUEUE);
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = url.into_connection_info()?.set_tcp_settings(tcp);
    Ok(Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?)
}
