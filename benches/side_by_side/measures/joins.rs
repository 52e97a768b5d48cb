//! A deploy: all mailboxes of a process join their groups at once, beside `ZADD`. Meanwhile direct mail goes on; then a
//! group message, and all leave as the process closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asgi_redis::{ChannelLayer, ChannelName, GroupName, Mailbox, RedisChannelLayer};

use super::all_of;
use crate::Result;
use crate::bench::{Bench, message};
use crate::meter::{Slice, microseconds};
use crate::report::{Goal, Line};

const MAILBOXES: usize = 100_000;
const GROUPS: usize = 10_000;
/// How many groups each mailbox is in.
const EACH: usize = 2;
/// How many of the program's tasks join at once.
const AT_ONCE: usize = 1024;
const BETWEEN_MAIL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mailboxes = if bench.quick { MAILBOXES / 10 } else { MAILBOXES };
    let joins = mailboxes * EACH;
    let (owner, other) = (bench.layer().await?, bench.layer().await?);
    let inbox = owner.open_inbox("bench.joins").await?;
    let mut open = (0..mailboxes).map(|_| inbox.open_mailbox()).collect::<asgi_redis::Result<Vec<_>>>()?;
    let names: Arc<[ChannelName]> = open.iter().map(|mailbox| mailbox.name().clone()).collect();
    let groups: Arc<[GroupName]> = (0..GROUPS)
        .map(|number| format!("bench.joins.{number}").parse())
        .collect::<asgi_redis::Result<_>>()?;
    let mut direct = inbox.open_mailbox()?;

    let done = Arc::new(AtomicBool::new(false));
    let mail = tokio::spawn({
        let (other, to, done) = (other.clone(), direct.name().clone(), Arc::clone(&done));
        async move {
            let mut times = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let sent = Instant::now();
                other.send_packed(&to, message()).await?;
                within(direct.receive_packed()).await?;
                times.push(sent.elapsed());
                tokio::time::sleep(BETWEEN_MAIL).await;
            }
            Result::Ok(times)
        }
    });
    let join_all = || join_all(owner.clone(), Arc::clone(&names), Arc::clone(&groups));
    let slice = bench.meter.slice(joins, async { join_all().await.map(|()| Vec::new()) }).await?;
    // The next message to a group, whose members are every so many mailboxes.
    let group = groups.first().ok_or("a group is missing")?;
    let sent = Instant::now();
    other.group_send_packed(group, message(), false).await?.reached_all()?;
    for number in (0..joins).step_by(GROUPS) {
        let mailbox: &mut Mailbox = open.get_mut(number / EACH).ok_or("a mailbox is missing")?;
        within(mailbox.receive_packed()).await?;
    }
    let reached = sent.elapsed();
    // Once more, for the time of each call.
    let calls = bench.meter.times_of_calls("group_change", join_all()).await?;
    let longest = calls.into_iter().max().unwrap_or_default();
    done.store(true, Ordering::Relaxed);
    let mail = mail.await??;
    let worst = mail.iter().max().copied().unwrap_or_default();

    let raw = bench.raw.clone();
    let adding = (0..AT_ONCE).map(|first| {
        let (raw, names) = (raw.clone(), Arc::clone(&names));
        async move {
            for name in names.iter().skip(first).step_by(AT_ONCE) {
                for key in ["bench.joins.raw.1", "bench.joins.raw.2"] {
                    raw.add_to_set(key, name.as_str()).await?;
                }
            }
            Ok(())
        }
    });
    let floor = bench.meter.slice(joins, async { all_of(adding).await.map(|()| Vec::new()) }).await?;
    bench.raw.remove(&["bench.joins.raw.1".to_owned(), "bench.joins.raw.2".to_owned()]).await?;

    let closing = Instant::now();
    inbox.close().await;
    let closed = closing.elapsed();
    drop(open);
    owner.close().await?;
    other.close().await?;

    let name = |figure: &str| format!("{joins} joins at once: {figure}");
    let seconds = |slice: &Slice| slice.elapsed().as_secs_f64();
    let ms = |time: Duration| microseconds(time) / 1000.0;
    let own = |figure: &str, goal: f64| bench.line(&name(figure), "-").goal(Some(Goal::AtMost(goal)));
    let (ours, floor) = (std::slice::from_ref(&slice), std::slice::from_ref(&floor));
    Ok(vec![
        bench.line(&name("server µs a join"), "ZADD").compare(ours, floor, Slice::server_us_per_message),
        own("server µs a join", 25.0).ours(slice.server_us_per_message()),
        bench.line(&name("client µs a join"), "ZADD").compare(ours, floor, Slice::client_us_per_message),
        own("seconds", 10.0).ours(seconds(&slice)),
        own("next group message at all its members, ms", 1_000.0).ours(ms(reached)),
        own("direct mail meanwhile, slowest, ms", 1_000.0).ours(ms(worst)),
        own("longest call of a burst that renews, ms", 5.0).ours(ms(longest)),
        own("closing, ms", 5_000.0).ours(ms(closed)),
    ])
}

/// Each mailbox joins its groups, many at once.
async fn join_all(
    layer: RedisChannelLayer,
    names: Arc<[ChannelName]>,
    groups: Arc<[GroupName]>,
) -> Result<()> {
    let tasks = (0..AT_ONCE).map(|first| {
        let (layer, names, groups) = (layer.clone(), Arc::clone(&names), Arc::clone(&groups));
        async move {
            for (number, name) in names.iter().enumerate().skip(first).step_by(AT_ONCE) {
                for place in 0..EACH {
                    let group = (number * EACH + place) % GROUPS;
                    let group = groups.get(group).ok_or("a group is missing")?;
                    layer.group_add_packed(group, name).await?;
                }
            }
            Ok(())
        }
    });
    all_of(tasks).await
}

async fn within<T>(received: impl Future<Output = asgi_redis::Result<T>>) -> Result<T> {
    Ok(tokio::time::timeout(PATIENCE, received).await??)
}
