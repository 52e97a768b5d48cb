//! A layer over the unix socket of a server beside one over TCP on loopback to the same server: what a local half that many
//! processes of a machine share costs, and what it saves.

use super::pairs::{self, Pair};
use crate::Result;
use crate::bench::{Bench, layer_at};
use crate::meter::Slice;
use crate::report::Line;

const BESIDE: &str = "TCP on loopback";

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let pairs = [pair(&bench.sockets.unix).await?, pair(&bench.sockets.tcp).await?];
    let [unix, tcp] = pairs::blocked(bench, &pairs).await?;
    for (figure, share) in [("p50", 0.5), ("p99", 0.99)] {
        let line = bench.line(&format!("blocked receive, unix socket: {figure} µs"), BESIDE);
        lines.push(line.compare(&unix, &tcp, |slice| slice.percentile_us(share)));
    }
    for load in pairs::loads(bench) {
        let [unix, tcp] = pairs::throughput(bench, &pairs, &load).await?;
        let name = format!("send to receive, unix, {} x {}: per s", load.senders, load.receivers);
        lines.push(bench.line(&name, BESIDE).compare(&unix, &tcp, Slice::per_second));
    }
    pairs::close(pairs).await?;
    Ok(lines)
}

async fn pair(url: &str) -> Result<Pair> {
    Ok(Pair { sender: layer_at(url).await?, receiver: layer_at(url).await? })
}
