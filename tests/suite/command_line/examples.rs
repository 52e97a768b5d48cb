//! The examples are what people begin with, so their habits must survive.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind};
use serde_json::json;

use crate::support::{Server, unique_prefix};

#[path = "../../../examples/echo.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
mod echo;

#[path = "../../../examples/backpressure.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
#[allow(clippy::duplicate_mod, reason = "each example is a program of its own")]
mod backpressure;

#[tokio::test(flavor = "multi_thread")]
async fn the_producer_of_the_example_goes_on_after_an_outage_and_while_its_channel_is_full() {
    let server = Server::private();
    let options = ConfigBuilder::new().hosts([server.url()]).channel_capacity([("frames.*", 1)]);
    let layer = std::sync::Arc::new(options.connect().await.unwrap());
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
async fn the_service_of_the_example_goes_on_after_what_it_cannot_read_or_answer() {
    let (server, prefix) = (Server::shared(), unique_prefix("the_service_of_the_example"));
    let options = ConfigBuilder::new().hosts([server.url()]).prefix(prefix);
    let layer = std::sync::Arc::new(options.channel_capacity([("full", 1)]).connect().await.unwrap());
    let service = tokio::spawn(echo::answer(layer.clone()));

    layer.send("full", "there is room for one").await.unwrap();
    let reply_channel = layer.new_channel("reply?").unwrap();
    for question in [
        json!("no question at all"),
        json!({"text": "a name that is none", "reply_channel": "a b"}),
        json!({"text": "nobody has room", "reply_channel": "full"}),
        json!({"text": "hello", "reply_channel": reply_channel.as_str()}),
    ] {
        layer.send("echo", &question).await.unwrap();
    }
    let answer = layer.receive_timeout::<String>([reply_channel], Duration::from_secs(20)).await.unwrap();
    assert_eq!(answer.map(|(_, text)| text).as_deref(), Some("you said: hello"));
    layer.close().await.unwrap();
    assert_eq!(service.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}
