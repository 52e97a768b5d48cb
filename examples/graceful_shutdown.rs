//! A consumer that ends cleanly on Ctrl-C: it finishes the message in its hands, and what was on its way to it goes to
//! another consumer.
//!
//! `cargo run --example graceful_shutdown` needs a Redis: the one of `ASGI_REDIS_URL`, else `redis://127.0.0.1:6379/0`.
//! Send it something: `cargo run --features cli -- send jobs '{"number": 1}'`.

use std::pin::pin;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ErrorKind, RedisChannelLayer, Result, Value};
use tokio::signal::ctrl_c;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("ASGI_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379/0".to_owned());
    let layer = RedisChannelLayer::builder().hosts([url]).connect().await?;
    println!("waiting for messages on jobs and jobs.urgent; Ctrl-C ends");

    let mut interrupted = pin!(ctrl_c());
    loop {
        // Dropping the receive, as happens here on Ctrl-C, loses no message.
        let received = tokio::select! {
            received = layer.receive::<_, Value>(["jobs.urgent", "jobs"]) => received,
            _ = &mut interrupted => break,
        };
        match received {
            Ok((channel, job)) => println!("{channel}: {job}"),
            Err(error) if error.kind() == ErrorKind::Decode => eprintln!("skipped: {error}"),
            Err(error) => return Err(error),
        }
    }

    layer.close().await?;
    println!("closed; nothing was left behind");
    Ok(())
}
