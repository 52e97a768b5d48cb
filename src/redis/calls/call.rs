//! What a call of a script is, and how its command begins.

use redis::{Cmd, Value};

use crate::redis::keys::{ClientId, Keys};
use crate::redis::script::Script;
use crate::seal::Names;

/// A call of a script, and how its answer is read.
pub(in crate::redis) trait Call {
    /// What the script answers.
    type Reply;
    /// The script.
    fn script() -> &'static Script;
    /// The command that calls it.
    fn command(&self, keys: &Keys) -> Cmd;
    /// Reads the answer; gives back one that it does not know.
    fn decode(reply: Value) -> Result<Self::Reply, Value>;
    /// Puts names as they are where the answer has those that the server sees.
    fn reveal(_reply: &mut Self::Reply, _names: &Names) {}
    /// Whether the script checks the generation, and answers `stale` when it is not the client's current one.
    const IS_FENCED: bool = false;
    /// Whether the answer may be too large for a connection that listens.
    const IS_LARGE: bool = false;
    /// Whether the program may make the call again when its reply was lost; then the error does not tell that it was perhaps
    /// executed. The layer itself repeats none.
    const IS_REPEATABLE: bool = true;

    /// Whether the answer is that nothing was done, because the generation is not the client's current one.
    fn is_stale(reply: &Value) -> bool {
        Self::IS_FENCED
            && matches!(reply, Value::Array(parts) if matches!(parts.as_slice(), [Value::BulkString(tag)] if tag == b"stale"))
    }
}

/// The sender of what must keep its order across reconnections: a client, and the generation of its connection.
pub(in crate::redis) type Fence<'a> = (&'a ClientId, u64);

/// Begins the command that calls a script: so many keys follow, then the arguments; about so many bytes in all.
pub(super) fn evalsha(script: &Script, keys: usize, bytes: usize) -> Cmd {
    let mut cmd = Cmd::with_capacity(keys + 16, bytes);
    cmd.arg("EVALSHA").arg(script.sha()).arg(keys);
    cmd
}

/// A call of a script that takes one step of a scan.
pub(super) fn scan(script: &Script, keys: &Keys, cursor: &str) -> Cmd {
    const KEYS_A_STEP: usize = 1000;
    let mut cmd = evalsha(script, 1, 256);
    cmd.arg(keys.schema()).arg(keys.prefix()).arg(cursor).arg(KEYS_A_STEP);
    cmd
}
