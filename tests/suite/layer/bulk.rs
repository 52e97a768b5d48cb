//! Many messages in one call share calls to the server.

use asgi_redis::ChannelLayerExt;

use super::{layers, options, soon};
use crate::support::{Server, calls};

#[tokio::test]
async fn many_messages_are_one_call_for_each_128() {
    let server = Server::private();
    let [layer] = layers(&options(&server, "bulk").capacity(1_000)).await;
    layer.send("warm", 1).await.unwrap();
    let mut admin = server.connection().await;
    for (messages, due) in [(2, 1), (100, 1), (128, 1), (300, 3)] {
        let before = calls(&mut admin, "evalsha").await;
        let sent = layer.send_many((0..messages).map(|number| (format!("bulk.{}", number % 3), number)));
        for outcome in soon("sending", sent).await {
            outcome.unwrap();
        }
        assert_eq!(calls(&mut admin, "evalsha").await - before, due, "{messages} messages");
    }
}
