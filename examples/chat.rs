//! A chat room: each line that you type goes to everybody who is in the room, from any number of terminals.
//!
//! `cargo run --example chat -- NAME [ROOM]` runs on the Redis of `ASGI_REDIS_URL` or of `redis://127.0.0.1:6379/0`. Start it in
//! two terminals. Without a Redis it runs in memory, and you are alone in the room. Ctrl-C, or the end of the input,
//! leaves it.

mod layer;

use std::pin::pin;
use std::time::Duration;

use asgi_redis::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;

/// How long to wait after a failure, such as a server that is away for a moment.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    from: String,
    text: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let from = arguments.next().unwrap_or_else(|| format!("guest{}", std::process::id()));
    let room = arguments.next().unwrap_or_else(|| "lobby".to_owned());
    let layer = layer::connect(|options| options.prefix("example-chat:")).await?;

    // One inbox is enough for a process; a server would open a mailbox in it for each of its websockets.
    let inbox = layer.open_inbox("chat").await?;
    let mut mailbox = inbox.open_mailbox()?;
    layer.group_add(&room, mailbox.name()).await?;
    println!("{from} is in {room} with {} others", layer.group_len(&room).await?.saturating_sub(1));

    let mut typed = lines_of_stdin();
    let mut interrupted = pin!(ctrl_c());
    loop {
        // Whichever is not the first is dropped, and loses nothing.
        tokio::select! {
            line = mailbox.receive::<Line>() => match line {
                Ok(Line { from, text }) => println!("{from}: {text}"),
                Err(error) if error.kind() == ErrorKind::Decode => eprintln!("skipped: {error}"),
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                Err(error) => {
                    eprintln!("going on: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            text = typed.recv() => {
                let Some(text) = text else { break };
                // A mailbox that is full misses the line; nobody else waits for it.
                match layer.group_send(&room, &Line { from: from.clone(), text }).await {
                    Ok(receipt) if receipt.full() > 0 => {
                        eprintln!("{} of the processes in the room were full and did not get that", receipt.full());
                    }
                    Ok(_) => {}
                    // A server that is away for a moment is no reason to leave the room.
                    Err(error) => eprintln!("not sent to all: {error}"),
                }
            }
            _ = &mut interrupted => break,
        }
    }

    if mailbox.missed() > 0 {
        println!("{} lines came too fast for this terminal", mailbox.missed());
    }
    // The mailbox leaves the room.
    layer.close().await
}

/// Reading blocks, so it has a thread of its own, which ends with the process.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::io::Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
