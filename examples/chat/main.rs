//! A chat with rooms and presence: a page in the browser, a websocket to any of several processes, and one Redis behind them.
//!
//! `cargo run --features json --example chat -- 3000` serves <http://127.0.0.1:3000>, and a second one with 3001 the same rooms, on
//! the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`. Without a Redis it runs in memory, as one process.
//!
//! A websocket is a mailbox, and a room is a group. Who is there is told every few seconds, so a process that is killed takes nobody
//! along in the lists of others. While the Redis is away, what is typed waits for up to [`PATIENCE`].

#[path = "../layer/mod.rs"]
mod layer;

use std::sync::Arc;
use std::time::Duration;

use asgi_redis::Json;
use asgi_redis::prelude::*;
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::{Html, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::time::{Instant, interval, sleep};

/// How long a line that was typed waits for a server that is away.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a page tells the others that its user is there. The page forgets who has not done so for three times that.
const PRESENCE: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What pages tell each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told<'a> {
    Said { from: &'a str, text: &'a str },
    Here { from: &'a str },
    Left { from: &'a str },
    Lost { text: &'a str },
}

/// Who a page is.
#[derive(Debug, Deserialize)]
struct Who {
    name: String,
    room: String,
}

/// What all websockets of this process share.
#[derive(Clone)]
struct Chat {
    layer: Arc<dyn ChannelLayer>,
    inbox: Inbox,
}

#[tokio::main]
async fn main() -> std::result::Result<(), Failure> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let layer = layer::connect(|options| options.prefix("example-chat:")).await?;
    tokio::select! {
        served = serve(listener, Arc::clone(&layer)) => served?,
        _ = ctrl_c() => {}
    }
    // All mailboxes leave their rooms.
    Ok(layer.close().await?)
}

/// Serves the page and its websockets.
pub(crate) async fn serve(
    listener: TcpListener,
    layer: Arc<dyn ChannelLayer>,
) -> std::result::Result<(), Failure> {
    let inbox = layer.open_inbox("chat").await?;
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/socket", get(connect))
        .with_state(Chat { layer, inbox });
    Ok(axum::serve(listener, router).await?)
}

async fn connect(State(chat): State<Chat>, Query(who): Query<Who>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |socket| {
        // One websocket ends, and no other; the page connects again by itself.
        if let Err(error) = chat.talk(socket, &who).await {
            eprintln!("{} in {}: {error}", who.name, who.room);
        }
    })
}

impl Chat {
    async fn talk(
        &self,
        mut socket: WebSocket,
        Who { name, room }: &Who,
    ) -> std::result::Result<(), Failure> {
        let mut mailbox = self.inbox.open_mailbox()?;
        self.layer.group_add(room, mailbox.name()).await?;
        let mut presence = interval(PRESENCE);
        loop {
            // Whichever is not the first is dropped, and loses nothing.
            tokio::select! {
                // The text is made once for all websockets of this process.
                told = mailbox.receive_shared::<Json>() => match told {
                    Ok(told) => socket.send(Message::text(told.as_str())).await?,
                    Err(error) if error.kind() == ErrorKind::Decode => eprintln!("skipped: {error}"),
                    Err(error) => return Err(error.into()),
                },
                typed = socket.recv() => match typed {
                    Some(Ok(Message::Text(text))) => {
                        if let Err(error) = self.say(room, Told::Said { from: name, text: &text }).await {
                            eprintln!("{name} in {room}: {error}");
                            let lost = Json::new(&Told::Lost { text: &text })?;
                            socket.send(Message::text(lost.as_str())).await?;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
                _ = presence.tick() => self.tell(room, Told::Here { from: name }).await,
            }
        }
        self.tell(room, Told::Left { from: name }).await;
        Ok(())
    }

    /// Says something to all in the room, the speaker too. A server that has just lost its data has nobody there for a moment, so
    /// what nobody got is said again.
    async fn say(&self, room: &str, said: Told<'_>) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.layer.group_send_within(room, &said, PATIENCE).await?.delivered() == 0 {
            if Instant::now() > until {
                return Err(Error::new(ErrorKind::Timeout, "nobody is in the room"));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Tells what will be told again, or matters little.
    async fn tell(&self, room: &str, told: Told<'_>) {
        if let Err(error) = self.layer.group_send(room, told).await {
            eprintln!("{room}: {error}");
        }
    }
}
