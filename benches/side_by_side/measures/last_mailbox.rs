//! From a send to a group until the last of its mailboxes has it, beside `PUBLISH` to processes that each give the
//! message to as many tasks.

use asgi_redis::{ChannelLayer, GroupName};

use crate::Result;
use crate::bench::{Bench, message};
use crate::compare::median;
use crate::members::Members;
use crate::meter::Slice;
use crate::report::{Goal, Line};
use std::time::Instant;

const PROCESSES: usize = 4;
const MAILBOXES: usize = 10_000;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    const GROUP: &str = "bench.last";
    const CHANNEL: &str = "bench.last.raw";
    let (layer, raw) = (bench.layer().await?, bench.raw.clone());
    let group: GroupName = GROUP.parse()?;
    let message = message();
    let mut members = Members::start(PROCESSES, &bench.url)?;
    bench.meter.count_processes(members.processes());
    let inboxes = members.tell(&format!("join {GROUP} {}", MAILBOXES / PROCESSES)).await?;
    members.tell(&format!("listen {CHANNEL} {}", MAILBOXES / PROCESSES)).await?;

    let [mut ours, mut floor] = [const { Vec::new() }; 2];
    for _ in bench.rounds(60, 5) {
        for inbox in &inboxes {
            raw.until_reader_waits(inbox).await?;
        }
        let send = async {
            let started = Instant::now();
            let _ = layer.group_send_packed(&group, message.clone(), false).await?;
            Ok(vec![members.all_have_it().await?.duration_since(started)])
        };
        ours.push(bench.meter.slice(1, send).await?);
        let publish = async {
            let started = Instant::now();
            raw.publish(CHANNEL, message.as_bytes()).await?;
            Ok(vec![members.all_have_it().await?.duration_since(started)])
        };
        floor.push(bench.meter.slice(1, publish).await?);
    }
    for name in [GROUP, CHANNEL] {
        members.assert_each_got(name, ours.len()).await?;
    }
    bench.meter.count_processes(Vec::new());
    layer.close().await?;
    // The first round warms up.
    ours.remove(0);
    floor.remove(0);
    let ms = |slice: &Slice| slice.mean_us() / 1000.0;
    let name = format!("last of {MAILBOXES} mailboxes: ms");
    Ok(vec![
        bench.line(&name, "PUBLISH, fan-out").compare(&ours, &floor, ms),
        bench.line(&name, "-").ours(median(&ours, ms)).goal(Some(Goal::AtMost(15.0))),
    ])
}
