//! Real processes that come and go under load.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use asgi_redis::{ChannelLayerExt, ConfigBuilder};
use serde_json::Value;

use super::{PATIENCE, end, program_on, signal, start};
use crate::support::{Ledger, Sent, Server, unique_prefix};

/// A receiving process, whose lines go into the ledger until it ends.
struct Receiver {
    process: Child,
    reading: JoinHandle<()>,
}

impl Receiver {
    fn start(server: &Server, prefix: &str, ledger: &Arc<Ledger>) -> Self {
        let mut process = start(program_on(server, prefix).args(["receive", "work", "more", "--count", "0"]));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ledger = Arc::clone(ledger);
        let reading = thread::spawn(move || {
            for line in lines {
                let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
                ledger.received(line["message"].as_u64().unwrap());
            }
        });
        Self { process, reading }
    }

    /// Asks the process to end, and reads what it printed to the last line.
    fn stop(self) {
        signal(&self.process, "TERM");
        assert_eq!(end(self.process).err, "");
        self.reading.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_restarts_of_one_of_four_receiving_processes_under_load_lose_and_repeat_nothing() {
    let (server, prefix) = (Server::shared(), unique_prefix("fifty-processes"));
    let ledger = Arc::new(Ledger::default());
    let layer = ConfigBuilder::new().hosts([server.url()]).prefix(&*prefix).connect().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let number = ledger.number();
                let channel = if number % 3 == 0 { "more" } else { "work" };
                layer.send_wait(channel, &number, PATIENCE).await.unwrap();
                ledger.sent(number, Sent::Accepted);
            }
        }
    });

    let restarting = tokio::task::spawn_blocking({
        let ledger = Arc::clone(&ledger);
        move || {
            let steady = [(); 3].map(|()| Receiver::start(&server, &prefix, &ledger));
            for _ in 0..50 {
                let restarted = Receiver::start(&server, &prefix, &ledger);
                thread::sleep(Duration::from_millis(60));
                restarted.stop();
            }
            (server, steady)
        }
    });
    let (_server, steady) = restarting.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    sending.await.unwrap();
    let (sent, _) = ledger.accepted_and_refused();
    ledger.wait_for_received(u64::try_from(sent).unwrap()).await;
    tokio::task::spawn_blocking(|| steady.map(Receiver::stop)).await.unwrap();
    ledger.balance();
    assert!(sent > 300, "only {sent} messages were on their way meanwhile");
}
