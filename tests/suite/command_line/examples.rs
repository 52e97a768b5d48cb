//! The examples are what people begin with, so their habits must survive.

use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, ErrorKind};
use serde_json::json;

use crate::support::{Server, unique_prefix};

#[path = "../../../examples/echo.rs"]
#[expect(dead_code, reason = "an example has a main of its own")]
mod echo;

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
