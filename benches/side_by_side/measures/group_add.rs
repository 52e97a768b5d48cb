//! Adding channels to a group, one at a time and many at once, beside `ZADD`.

use std::sync::Arc;
use std::time::Instant;

use asgi_redis::{ChannelLayer, ChannelName, GroupName};

use super::all_of;
use crate::Result;
use crate::bench::Bench;
use crate::meter::Slice;
use crate::report::Line;

const MEMBERS: usize = 256;
const AT_ONCE: usize = 64;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    const KEY: &str = "bench.add.raw";
    let (layer, owner, raw) = (bench.layer().await?, bench.layer().await?, bench.raw.clone());
    let inbox = owner.open_inbox("bench.add").await?;
    let mailboxes = (0..MEMBERS).map(|_| inbox.open_mailbox()).collect::<asgi_redis::Result<Vec<_>>>()?;
    let mailbox_names: Arc<[ChannelName]> = mailboxes.iter().map(|mailbox| mailbox.name().clone()).collect();
    let normal: Arc<[ChannelName]> = (0..MEMBERS)
        .map(|number| format!("bench.add.{number}").parse())
        .collect::<asgi_redis::Result<_>>()?;

    let [mut of_mailbox, mut again, mut of_normal, mut zadd, mut at_once, mut zadd_at_once] =
        [const { Vec::new() }; 6];
    for round in bench.rounds(12, 2) {
        let groups = ["one", "normal", "many"].map(|name| format!("bench.add.{name}.{round}").parse());
        let [one, of_normals, many]: [asgi_redis::Result<GroupName>; 3] = groups;
        let (one, of_normals, many) = (one?, of_normals?, many?);
        for (group, members, slices) in [
            (&one, &mailbox_names, &mut of_mailbox),
            (&one, &mailbox_names, &mut again),
            (&of_normals, &normal, &mut of_normal),
        ] {
            let adds = async {
                let mut latencies = Vec::with_capacity(MEMBERS);
                for member in members.iter() {
                    let started = Instant::now();
                    layer.group_add_packed(group, member).await?;
                    latencies.push(started.elapsed());
                }
                Ok(latencies)
            };
            slices.push(bench.meter.slice(MEMBERS, adds).await?);
            bench.raw.until_reader_waits(inbox.name().as_str()).await?;
        }
        let adds = async {
            let mut latencies = Vec::with_capacity(MEMBERS);
            for member in mailbox_names.iter() {
                let started = Instant::now();
                raw.add_to_set(KEY, member.as_str()).await?;
                latencies.push(started.elapsed());
            }
            Ok(latencies)
        };
        zadd.push(bench.meter.slice(MEMBERS, adds).await?);
        bench.raw.remove(&[KEY.to_owned()]).await?;

        let adds = (0..AT_ONCE).map(|first| {
            let (layer, group, members) = (layer.clone(), many.clone(), Arc::clone(&mailbox_names));
            async move {
                for member in members.iter().skip(first).step_by(AT_ONCE) {
                    layer.group_add_packed(&group, member).await?;
                }
                Ok(())
            }
        });
        at_once.push(bench.meter.slice(MEMBERS, async { all_of(adds).await.map(|()| Vec::new()) }).await?);
        bench.raw.until_reader_waits(inbox.name().as_str()).await?;
        let adds = (0..AT_ONCE).map(|first| {
            let (raw, members) = (raw.clone(), Arc::clone(&mailbox_names));
            async move {
                for member in members.iter().skip(first).step_by(AT_ONCE) {
                    raw.add_to_set(KEY, member.as_str()).await?;
                }
                Ok(())
            }
        });
        zadd_at_once
            .push(bench.meter.slice(MEMBERS, async { all_of(adds).await.map(|()| Vec::new()) }).await?);
        bench.raw.remove(&[KEY.to_owned()]).await?;
    }
    inbox.close().await;
    layer.close().await?;
    owner.close().await?;

    // The first round warms up.
    for slices in [&mut of_mailbox, &mut again, &mut of_normal, &mut zadd, &mut at_once, &mut zadd_at_once] {
        slices.remove(0);
    }
    let mut lines = Vec::new();
    for (what, ours, floor) in [
        ("group_add of a mailbox", &of_mailbox, &zadd),
        ("group_add of a member", &again, &zadd),
        ("group_add of a normal channel", &of_normal, &zadd),
        ("64 group_adds at once", &at_once, &zadd_at_once),
    ] {
        let line = |figure: &str| bench.line(&format!("{what}: {figure}"), "ZADD");
        lines.push(line("server µs").compare(ours, floor, Slice::server_us_per_message));
        lines.push(line("script µs").ours(crate::compare::median(ours, Slice::script_us_per_message)));
    }
    Ok(lines)
}
