//! What a server holds: every key, a hash of what is in it, and when it expires.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;

/// Walks over all keys, so it is for a server of a test's own.
const WALK: &str = "
    local found = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        found[#found + 1] = key
        found[#found + 1] = redis.sha1hex(redis.call('DUMP', key) or '')
        found[#found + 1] = '' .. redis.call('PEXPIRETIME', key)
    end
    local time = redis.call('TIME')
    return {string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), found}";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Milliseconds of the server.
    now: i64,
    /// The hash of each key, and the millisecond at which it expires, -1 if it does not.
    pub(super) keys: BTreeMap<String, (String, i64)>,
}

impl Snapshot {
    pub(super) async fn take(connection: &mut MultiplexedConnection) -> Self {
        let (now, found): (String, Vec<Vec<u8>>) =
            redis::cmd("EVAL").arg(WALK).arg(0).query_async(connection).await.unwrap();
        // A name may have any bytes.
        let found: Vec<String> = found.iter().map(|part| part.escape_ascii().to_string()).collect();
        let keys = found.chunks(3).map(|key| (key[0].clone(), (key[1].clone(), key[2].parse().unwrap())));
        // What a server has not removed yet, though it has expired, is no more.
        let keys = keys.filter(|(_, (_, expires))| *expires != -2).collect();
        Self { now: now.parse().unwrap(), keys }
    }

    /// What is another than before, but for what expired meanwhile.
    pub(super) fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (key, held) in &before.keys {
            let expired = held.1 >= 0 && held.1 <= self.now;
            match self.keys.get(key) {
                None if !expired => changes.push(format!("{key:?} is gone")),
                Some(now) if now.0 != held.0 => changes.push(format!("{key:?} holds something else")),
                Some(now) if now.1 != held.1 => changes.push(format!("{key:?} expires at another time")),
                _ => {}
            }
        }
        let added = self.keys.keys().filter(|key| !before.keys.contains_key(*key));
        changes.extend(added.map(|key| format!("{key:?} is new")));
        changes
    }

    /// Which keys stay for ever.
    pub(super) fn eternal(&self) -> Vec<&str> {
        self.keys.iter().filter(|(_, (_, expires))| *expires == -1).map(|(key, _)| &**key).collect()
    }
}
