//! A layer over several servers beside one over a single one: what a normal channel costs when it lives on all of them.
//!
//! The servers share the core of the one: what more of them could do at once is not seen here, what they cost is.

use super::pairs::{self, Pair};
use crate::Result;
use crate::bench::Bench;
use crate::compare::Compared;
use crate::meter::Slice;
use crate::report::{Goal, Line};

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let pairs = [pair(bench, 1).await?, pair(bench, 2).await?, pair(bench, 8).await?];
    let [one, two, eight] = pairs::blocked(bench, &pairs).await?;
    pairs::close(pairs).await?;
    for (hosts, slices) in [(2, &two), (8, &eight)] {
        for (figure, share, goal) in [("p50", 0.5, None), ("p99", 0.99, Some(Goal::AtMost(1.5)))] {
            let name = format!("blocked receive, {hosts} hosts: {figure} µs");
            let compared = Compared::new(slices, &one, |slice| slice.percentile_us(share));
            lines.push(line(bench, &name, &compared).goal(goal));
        }
    }
    for load in pairs::loads(bench) {
        let name = format!("send to receive, 2 hosts, {} x {}: per s", load.senders, load.receivers);
        let pairs = [pair(bench, 1).await?, pair(bench, 2).await?];
        let [one, two] = pairs::throughput(bench, &pairs, &load).await?;
        pairs::close(pairs).await?;
        lines.push(line(bench, &name, &Compared::new(&two, &one, Slice::per_second)));
    }
    Ok(lines)
}

async fn pair(bench: &Bench, hosts: usize) -> Result<Pair> {
    Ok(Pair { sender: bench.layer_over(hosts).await?, receiver: bench.layer_over(hosts).await? })
}

/// Without what it costs, which is counted on one server only.
fn line(bench: &Bench, name: &str, compared: &Compared) -> Line {
    bench.line(name, "1 host").ours(compared.ours).floor(compared.floor).ratio(compared.ratio)
}
