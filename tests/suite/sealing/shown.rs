//! Keys are shown nowhere: not in debug output, errors or traces.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asgi_redis::{ChannelLayer, ChannelLayerExt, ChannelLayers, Value};
use tracing_subscriber::fmt::MakeWriter;

use super::{KEY, NAME_KEY, clear, received, sealed, soon};
use crate::support::{Proxy, Server};

/// Where traces are written.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<Vec<u8>>>);

impl Traces {
    /// Takes all traces of this thread, those of other crates too, until the guard is dropped.
    fn of_this_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let traces = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(traces.clone())
            .finish();
        (traces, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }
}

impl<'a> MakeWriter<'a> for Traces {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Traces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A key as text, as a list of its bytes, in hexadecimal, and as the letters of its hash.
fn assert_not_shown(shown: &str) {
    use sha2::Digest;
    for key in [KEY, NAME_KEY] {
        let hash: [u8; 32] = sha2::Sha256::digest(key).into();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let list = |bytes: &[u8]| bytes.iter().map(|b| format!("{b}, ")).collect::<String>();
        let parts = [&key[..8], &list(&key.as_bytes()[..4]), &hex(&key.as_bytes()[..4])];
        let of_hash = [list(&hash[..4]), hex(&hash[..4])];
        for part in parts.into_iter().chain(of_hash.iter().map(|part| &**part)) {
            assert!(!shown.contains(part), "{part} is shown in {shown}");
        }
    }
}

#[tokio::test]
async fn no_key_is_in_debug_output_errors_or_traces() {
    let (traces, _guard) = Traces::of_this_thread();
    let server = Server::private();
    let proxy = Proxy::start(&server);
    let options = sealed(&server, "shown").hide_names(NAME_KEY).hosts([proxy.url()]);
    let options = options.capacity(1).inbox_capacity(1).response_timeout(Duration::from_millis(500));
    let layer = options.connect().await.unwrap();
    let mut shown = format!("{options:?} {options:#?} {:?} {layer:?} {layer:#?}", options.build().unwrap());

    layer.send("jobs", &1).await.unwrap();
    let mut failures = vec![layer.send("jobs", &2).await.unwrap_err()];
    let wrong = layer.receive::<String>(["jobs"]).await.unwrap_err();
    failures.push(wrong);
    let inbox = layer.open_inbox("in").await.unwrap();
    let mailbox = inbox.open_mailbox().unwrap();
    layer.group_add("room", mailbox.name()).await.unwrap();
    let _ = layer.group_send("room", &3).await.unwrap();
    proxy.refuse();
    proxy.cut();
    let down = async {
        loop {
            if let Err(error) = layer.send("jobs", &4).await {
                return error;
            }
        }
    };
    failures.push(soon("an outage", down).await);
    proxy.pass();
    let other = sealed(&server, "").prefix("other:").hide_names(NAME_KEY).connect().await.unwrap();
    let unsealed = clear(&server, "").prefix("other:").connect().await.unwrap();
    unsealed.send("x", &1).await.unwrap();
    assert!(other.try_receive::<u64>(["x"]).await.unwrap().is_none());
    for error in failures {
        shown += &format!("{error} {error:?} {error:#?}");
    }
    for document in [
        format!(r#"{{"symmetric_encryption_keys": ["{KEY}", ""], "hide_names": "{NAME_KEY}"}}"#),
        format!(r#"{{"symmetric_encryption_keys": ["{KEY}", 5], "hide_names": "{NAME_KEY}"}}"#),
        format!(r#"{{"symmetric_encryption_keys": {{"{KEY}": 5}}, "hide_names": "{NAME_KEY}"}}"#),
        format!(r#"{{"symmetric_encryption_keys": [], "hide_names": ["{NAME_KEY}"], "capacity": 0}}"#),
        format!(r#"{{"default": {{"BACKEND": "x", "CONFIG": {{"symmetric_encryption_keys": "{KEY}"}}}}}}"#),
    ] {
        let value: Value = serde_json::from_str(&document).unwrap();
        let error = ChannelLayers::try_from(value)
            .and_then(|mut layers| layers.take("default")?.into_config().build())
            .unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    let panic = std::panic::catch_unwind(|| {
        asgi_redis::ConfigBuilder::new().symmetric_encryption_keys([KEY, ""]).build().unwrap();
    });
    shown += panic.unwrap_err().downcast_ref::<String>().unwrap();
    assert!(traces.text().contains("lost a server"), "traces are taken");
    assert!(shown.len() > 2000, "{shown}");
    assert_not_shown(&shown);
    assert_not_shown(&traces.text());
}

#[tokio::test]
async fn short_keys_are_warned_of_once_and_long_ones_are_not() {
    let (traces, _guard) = Traces::of_this_thread();
    let warned = || traces.count("keys of fewer than 32 bytes may be guessed");
    let new = asgi_redis::ConfigBuilder::new;
    let long = "x".repeat(32);
    new().symmetric_encryption_keys([&"y".repeat(32), KEY]).hide_names(&long).build().unwrap();
    assert_eq!(warned(), 0);
    new().symmetric_encryption_keys(["sh0rt", "sh0rt too", KEY]).hide_names(&long).build().unwrap();
    assert_eq!(warned(), 1);
    new().symmetric_encryption_keys([KEY]).hide_names("sh0rt").build().unwrap();
    assert_eq!(warned(), 2, "another configuration, which has only a short key of names");
    assert!(!traces.text().contains("sh0rt"));
}

#[tokio::test]
async fn a_flood_of_what_does_not_open_is_one_warning() {
    let server = Server::shared();
    let options = sealed(&server, "flood");
    let layer = options.connect().await.unwrap();
    let clear = clear(&server, "").prefix(options.build().unwrap().prefix()).connect().await.unwrap();
    for number in 0..50 {
        clear.send("jobs", &number).await.unwrap();
    }
    layer.send("jobs", &99).await.unwrap();
    let (traces, _guard) = Traces::of_this_thread();
    assert_eq!(received(&layer, "jobs").await, 99);
    assert_eq!(layer.seal_statistics().clear_text, 50);
    assert_eq!(traces.count("dropped a message that does not open"), 1, "{}", traces.text());
    assert!(traces.text().contains("it is in clear text, and the layer has encryption keys"));
}
