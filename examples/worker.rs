//! Jobs with replies: workers that answer, in any number of processes, and a caller that waits for each answer.
//!
//! `cargo run --example worker` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`, and without one in memory.
//! While it runs, ask it from a shell: `cargo run --features cli -- --prefix example-worker: request square 12`.

mod layer;

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::prelude::*;
use futures::StreamExt;

/// How long a caller waits for an answer, and for a server that is away.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let layer = layer::connect(|options| options.prefix("example-worker:")).await?;
    let worker = tokio::spawn(work(layer.clone()));
    for number in 1..=10 {
        match ask(&layer, number).await {
            Ok(squared) => println!("{number} squared is {squared}"),
            // It may have been done, or not: asked again, a job could be done twice.
            Err(error) => println!("{number}: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    layer.close().await?;
    if worker.await.is_ok() {
        println!("the worker ended with the layer");
    }
    Ok(())
}

/// Asks for one job. What was certainly not sent is asked again until the time is over.
pub(crate) async fn ask(layer: &Arc<dyn ChannelLayer>, number: u64) -> Result<u64> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match layer.request("square", number, PATIENCE).await {
            Err(error) if error.may_retry() && tokio::time::Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

/// Does jobs until the layer is closed. Each goes to one worker.
pub(crate) async fn work(layer: Arc<dyn ChannelLayer>) {
    let mut requests = layer.requests::<u64>("square");
    while let Some(request) = requests.next().await {
        match request {
            Ok(request) => {
                let squared = request.message * request.message;
                // The caller may have gone, or its answer may have come too late; the next job is none the worse for it.
                if let Err(error) = request.reply(&layer, squared).await {
                    eprintln!("a job was not answered: {error}");
                }
            }
            Err(error) => eprintln!("the worker goes on: {error}"),
        }
    }
}
