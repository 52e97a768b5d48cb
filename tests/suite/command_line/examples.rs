//! The examples are what people begin with, so their habits must survive.

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder};
use serde_json::json;

use crate::support::Server;

#[path = "../../../examples/worker.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
mod worker;

#[path = "../../../examples/backpressure.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
#[allow(clippy::duplicate_mod, reason = "each example is a program of its own")]
mod backpressure;

#[tokio::test(flavor = "multi_thread")]
async fn the_producer_of_the_example_goes_on_after_an_outage_and_while_its_channel_is_full() {
    let server = Server::private();
    let options = ConfigBuilder::new().hosts([server.url()]).channel_capacity([("frames.*", 1)]);
    let layer = Arc::new(options.connect().await.unwrap());
    layer.send("frames.camera1", &0_u32).await.unwrap();
    let produced = tokio::spawn({
        let layer = layer.clone();
        async move { backpressure::produce(&layer, 1).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!produced.is_finished(), "the channel is full");
    server.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!produced.is_finished(), "the server is away");
    // It comes back empty, so there is room.
    server.start();
    tokio::time::timeout(Duration::from_secs(20), produced).await.unwrap().unwrap().unwrap();
    let received = layer.receive_timeout::<u32>(["frames.camera1"], Duration::from_secs(20)).await.unwrap();
    assert_eq!(received.map(|(_, number)| number), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_of_the_example_goes_on_after_what_it_cannot_read_or_answer_and_through_an_outage() {
    let server = Server::private();
    let options = ConfigBuilder::new().hosts([server.url()]).channel_capacity([("full?*", 1)]);
    let layer: Arc<dyn ChannelLayer> = Arc::new(options.connect().await.unwrap());
    let working = tokio::spawn(worker::work(Arc::clone(&layer)));

    layer.send("full?1", "there is room for one").await.unwrap();
    for request in [
        json!("no request at all"),
        json!({"message": 2, "reply_channel": "a b"}),
        json!({"message": "no number", "reply_channel": "full?1"}),
    ] {
        layer.send("square", &request).await.unwrap();
    }
    let unanswered = json!({"message": 2, "reply_channel": "full?1"});
    layer.send_with_expiry("square", &unanswered, Duration::from_secs(1)).await.unwrap();
    let within = Duration::from_secs(20);
    assert_eq!(tokio::time::timeout(within, worker::ask(&layer, 7)).await.unwrap().unwrap(), 49);
    server.stop();
    // What is asked before the layer knows of it is perhaps sent, and not asked again.
    while !layer.send("down", 1).await.is_err_and(|error| error.may_retry()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = tokio::spawn({
        let layer = Arc::clone(&layer);
        async move { worker::ask(&layer, 9).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.start();
    assert_eq!(tokio::time::timeout(within, asked).await.unwrap().unwrap().unwrap(), 81);
    layer.close().await.unwrap();
    tokio::time::timeout(within, working).await.unwrap().unwrap();
}
