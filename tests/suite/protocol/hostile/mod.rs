//! Calls that no honest client makes: whatever keys and arguments a script is given, an error means that nothing was done,
//! and the server serves on.

mod bounded;
mod calls;
mod fuzz;
mod largest;
mod refused;
mod rights;
mod snapshot;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};

use crate::support::texts;

/// How long a call may take at most, on a busy machine; one that hangs takes for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// A call of a script: its keys and its arguments.
#[derive(Clone, Debug)]
struct Call {
    script: &'static str,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    fn new(script: &'static str, keys: &[&str], arguments: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self { script, keys: owned(keys), arguments: owned(arguments) }
    }

    /// As someone would type it, for the message of a test.
    fn shown(&self) -> String {
        let shown = |texts: &[Vec<u8>]| {
            texts.iter().map(|text| format!(" {:?}", String::from_utf8_lossy(text))).collect::<String>()
        };
        format!("{} {}{}{}", self.script, self.keys.len(), shown(&self.keys), shown(&self.arguments))
    }

    async fn make(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(texts::sha(self.script)).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        match tokio::time::timeout(PATIENCE, command.query_async(connection)).await {
            Ok(reply) => reply,
            Err(_) => panic!("it hangs: {}", self.shown()),
        }
    }
}

/// Gives all scripts to the server.
async fn load(connection: &mut MultiplexedConnection) {
    for text in texts::all() {
        let mut load = redis::cmd("SCRIPT");
        let _: String = load.arg("LOAD").arg(&text.source).query_async(connection).await.unwrap();
    }
}
