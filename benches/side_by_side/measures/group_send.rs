//! What a send to a group costs the server: a group of very many mailboxes beside a group of one in each of the same
//! processes.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, GroupName};

use crate::Result;
use crate::bench::{Bench, message};
use crate::compare::Ratio;
use crate::members::Members;
use crate::meter::{count, microseconds};
use crate::report::{Goal, Line};

const PROCESSES: usize = 4;
const MAILBOXES: usize = 100_000;
const FEW_MAILBOXES: usize = 10_000;

const LARGE: &str = "bench.group.large";
const SMALL: &str = "bench.group.small";

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    // The server's time does not depend on where the programs run.
    if !bench.is_first {
        return Ok(Vec::new());
    }
    let mailboxes = if bench.quick { FEW_MAILBOXES } else { MAILBOXES };
    let (layer, raw) = (bench.layer().await?, bench.raw.clone());
    let mut members = Members::start(PROCESSES, &bench.url)?;
    members.tell(&format!("join {SMALL} 1")).await?;
    let inboxes = members.tell(&format!("join {LARGE} {}", mailboxes / PROCESSES)).await?;
    for (group, wanted) in [(SMALL, PROCESSES), (LARGE, mailboxes)] {
        let there = layer.group_len(group).await?;
        if there != wanted {
            return Err(format!("group {group} has {there} members, {wanted} were added").into());
        }
    }

    let [mut large, mut small] = [const { Vec::new() }; 2];
    let mut sent = 0;
    for _ in bench.rounds(60, 5) {
        for (group, times) in [(LARGE, &mut large), (SMALL, &mut small)] {
            let group: GroupName = group.parse()?;
            for inbox in &inboxes {
                raw.until_reader_waits(inbox).await?;
            }
            let send = async {
                let receipt = layer.group_send_packed(&group, message(), false).await?;
                if receipt.delivered() != PROCESSES {
                    return Err(format!("a group send said {receipt:?}").into());
                }
                members.all_have_it().await.map(drop)
            };
            times.push(bench.meter.times_of_calls("group_send", send).await?);
        }
        sent += 1;
    }
    for inbox in &inboxes {
        raw.until_reader_waits(inbox).await?;
    }
    for group in [SMALL, LARGE] {
        members.assert_each_got(group, sent).await?;
    }
    layer.close().await?;

    // The first round warms up.
    let calls = count(large.iter().skip(1).map(Vec::len).sum()) / count(large.len() - 1);
    let [large, small] = [large, small].map(|rounds| {
        let time = |calls: &Vec<Duration>| microseconds(calls.iter().sum());
        rounds.iter().skip(1).map(time).collect::<Vec<f64>>()
    });
    let ratio = Ratio::new(large.iter().zip(&small).map(|(large, small)| large / small).collect());
    let name = format!("group_send to {mailboxes} mailboxes");
    let line = bench.line(&format!("{name}: server µs"), &format!("to {PROCESSES} mailboxes"));
    let line = line.ours(Ratio::new(large).median).floor(Ratio::new(small).median).ratio(ratio);
    Ok(vec![
        line.goal(Some(Goal::AtMost(2.0))),
        bench.line(&format!("{name}: round trips"), "-").ours(calls).goal(Some(Goal::AtMost(1.0))),
        // That each got each message once was asserted above.
        bench.line(&format!("{name}: copies each got"), "a send").ours(1.0),
    ])
}
