//! Bytes that the server needs for a waiting message beyond its payload.

use asgi_redis::{ChannelLayer, ChannelName};

use super::all_of;
use crate::Result;
use crate::bench::{Bench, message, message_bytes, queue_key};
use crate::meter::count;
use crate::report::{Goal, Line};

const MESSAGES: usize = 1000;

pub(super) async fn measure(bench: &mut Bench) -> Result<Vec<Line>> {
    const CHANNEL: &str = "bench.memory";
    const RAW: &str = "bench.memory.raw";
    if !bench.is_first {
        return Ok(Vec::new());
    }
    let layer = bench.layer().await?;
    let message = message();
    let channel: ChannelName = CHANNEL.parse()?;
    let sends = std::iter::repeat_n((layer.clone(), channel, message.clone()), MESSAGES);
    all_of(sends.map(async |(layer, channel, message)| Ok(layer.send_packed(&channel, message).await?)))
        .await?;
    for _ in 0..MESSAGES {
        bench.raw.push(RAW, message.as_bytes()).await?;
    }
    let key = queue_key(CHANNEL);
    let ours = f64::from(bench.raw.memory_of(&key).await?) / count(MESSAGES) - message_bytes();
    let floor = f64::from(bench.raw.memory_of(RAW).await?) / count(MESSAGES) - message_bytes();
    bench.raw.remove(&[key, RAW.to_owned()]).await?;
    layer.close().await?;
    let line = bench.line("bytes a waiting message beyond payload", "RPUSH").ours(ours).floor(floor);
    Ok(vec![line.goal(Some(Goal::AtMost(48.0)))])
}
