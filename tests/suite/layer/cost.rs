//! What a call costs in memory that it allocates and copies. Commands are counted in `scripts.rs`, `groups.rs` and `idle.rs`;
//! times are in the benchmark.

use std::mem::size_of_val;

use asgi_redis::{ChannelLayer, ChannelName, PackedMessage};

use super::options;
use crate::support::Server;

const MAX_FUTURE_BYTES: usize = 1_500;

/// The future of each packed call is an allocation, and a future that is given to another one stands in it twice. When that
/// of a send had 8 KB, copying was a third of a send's instructions.
#[tokio::test]
async fn the_futures_of_sends_and_receives_are_small() {
    let server = Server::shared();
    let layer = options(&server, "sizes").connect().await.unwrap();
    let channel: ChannelName = "a".parse().unwrap();
    let channels = std::slice::from_ref(&channel);
    let sizes = [
        ("send", size_of_val(&*layer.send_packed(&channel, PackedMessage::from_bytes("m")))),
        ("receive", size_of_val(&*layer.receive_packed(channels))),
        ("try_receive", size_of_val(&*layer.try_receive_packed(channels))),
    ];
    for (call, bytes) in sizes {
        assert!(bytes <= MAX_FUTURE_BYTES, "{call}: {sizes:?}");
    }
}
