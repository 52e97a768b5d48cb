//! The scripts that move a server's messages to another.

use redis::Value;

use super::{Entry, Scripts, evalsha, parts, text};

/// What was taken out of a queue: the batch's id, where it goes, and its entries with the ms that each has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) batch: String,
    pub(crate) target: String,
    pub(crate) entries: Vec<(i64, Entry)>,
}

impl Scripts {
    /// One step of a list of queues: the next cursor, how many groups, and the queues with their entries.
    pub(crate) async fn queue_list_step(
        &self,
        cursor: &str,
        count: usize,
    ) -> (String, i64, Vec<(String, i64)>) {
        let (cursor, groups, queues) = self.queue_list_whole_step(cursor, count).await;
        let holding = queues.into_iter().filter(|(_, [entries, ..])| *entries > 0);
        (cursor, groups, holding.map(|(queue, [entries, ..])| (queue, entries)).collect())
    }

    /// As [`queue_list_step`](Self::queue_list_step), with the entries, the live ones, and the receives that wait.
    pub(crate) async fn queue_list_whole_step(
        &self,
        cursor: &str,
        count: usize,
    ) -> (String, i64, Vec<(String, [i64; 3])>) {
        let mut command = evalsha("queue_list", &[format!("{}schema", self.prefix)]);
        command.arg(&self.prefix).arg(cursor).arg(count);
        match &parts(self.call("queue_list", &command).await)[..] {
            [Value::BulkString(cursor), Value::Int(groups), queues @ ..] => {
                let queues = queues.chunks(4).map(|four| match four {
                    [
                        Value::BulkString(queue),
                        Value::Int(entries),
                        Value::Int(live),
                        Value::Int(waiting),
                    ] => (text(queue), [*entries, *live, *waiting]),
                    other => panic!("queue_list listed {other:?}"),
                });
                (text(cursor), *groups, queues.collect())
            }
            other => panic!("queue_list answered {other:?}"),
        }
    }

    pub(crate) async fn drain_take(&self, queue: &str, batch: &str, target: &str) -> Option<Taken> {
        self.try_drain_take(queue, batch, target).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`drain_take`](Self::drain_take), for a call that the server may refuse.
    pub(crate) async fn try_drain_take(
        &self,
        queue: &str,
        batch: &str,
        target: &str,
    ) -> Result<Option<Taken>, String> {
        let mut command = evalsha("drain_take", &[self.key('q', queue), self.key('o', queue)]);
        command.arg(&self.prefix).arg(batch).arg(target);
        match &parts(self.try_call("drain_take", &command).await?)[..] {
            [] => Ok(None),
            [Value::BulkString(batch), Value::BulkString(target), entries @ ..] => {
                let entries = entries.chunks(2).map(|pair| match pair {
                    [Value::Int(left), Value::BulkString(entry)] => (*left, Entry(entry.clone())),
                    other => panic!("drain_take gave {other:?}"),
                });
                Ok(Some(Taken { batch: text(batch), target: text(target), entries: entries.collect() }))
            }
            other => panic!("drain_take answered {other:?}"),
        }
    }

    /// How many entries had not expired; nothing if the batch was put before.
    pub(crate) async fn drain_put(&self, queue: &str, taken: &Taken) -> Option<i64> {
        self.try_drain_put(queue, taken).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`drain_put`](Self::drain_put), for a call that the server may refuse.
    pub(crate) async fn try_drain_put(&self, queue: &str, taken: &Taken) -> Result<Option<i64>, String> {
        let mut command = evalsha("drain_put", &[self.key('q', queue), self.key('p', &taken.batch)]);
        command.arg(&self.prefix);
        for (left, entry) in &taken.entries {
            command.arg(left).arg(&entry.0);
        }
        match &parts(self.try_call("drain_put", &command).await?)[..] {
            [Value::BulkString(tag), Value::Int(put)] if tag == b"put" => Ok(Some(*put)),
            [Value::BulkString(tag)] if tag == b"again" => Ok(None),
            other => panic!("drain_put answered {other:?}"),
        }
    }

    /// How many entries were forgotten.
    pub(crate) async fn drain_done(&self, queue: &str, batch: &str) -> i64 {
        let mut command = evalsha("drain_done", &[self.key('o', queue)]);
        command.arg(batch);
        match &parts(self.call("drain_done", &command).await)[..] {
            [Value::Int(forgotten)] => *forgotten,
            other => panic!("drain_done answered {other:?}"),
        }
    }
}
