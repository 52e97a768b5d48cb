//! Every requirement of a channel layer, on each of the layers that need a server. The memory layer, which needs none, has
//! the same tests beside its code.

use std::sync::Arc;

use asgi_redis::conformance::{Settings, Subject, tests};
use asgi_redis::{BoxFuture, ChannelLayer, ConfigBuilder, LocalAndRemote, MemoryLayer, glob};
use futures::{StreamExt, stream};

use crate::sealing::watch::watched;
use crate::support::{Proxy, Server, Servers, unique_prefix};

/// The options of a test's layers, without their servers.
fn options(settings: &Settings) -> ConfigBuilder {
    let patterns = settings.channel_capacity.iter();
    ConfigBuilder::new()
        .prefix(unique_prefix("conformance"))
        .expiry(settings.expiry)
        .group_expiry(settings.group_expiry)
        .capacity(settings.capacity)
        .inbox_capacity(settings.capacity)
        .channel_capacity(patterns.map(|(pattern, capacity)| (glob(pattern), *capacity)))
        .max_message_size(settings.max_message_size)
}

/// Redis layers with the same options, on some servers.
async fn connected(
    options: ConfigBuilder,
    servers: &[Arc<Server>],
    clients: usize,
) -> Vec<Arc<dyn ChannelLayer>> {
    let options = options.hosts(servers.iter().map(|server| server.url()).collect::<Vec<_>>());
    let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::new();
    for _ in 0..clients {
        layers.push(Arc::new(options.connect().await.unwrap()));
    }
    layers
}

/// The Redis layer on some servers.
struct OnRedis(Servers);

impl Subject for OnRedis {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        Box::pin(connected(options(settings), self.0.all(), clients))
    }

    fn may_exceed_capacity_while_receiving(&self) -> bool {
        self.0.all().len() > 1
    }
}

/// Normal channels in the memory of one process, all others on a server; each client is a part of that process.
struct InMemoryAndRedis(Arc<Server>);

impl Subject for InMemoryAndRedis {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        Box::pin(async move {
            let options = options(settings).hosts([self.0.url()]);
            let local: MemoryLayer = options.in_memory().unwrap();
            let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::new();
            for _ in 0..clients {
                let remote = options.connect().await.unwrap();
                layers.push(Arc::new(LocalAndRemote::new(local.another_client(), remote)));
            }
            layers
        })
    }

    fn refuses_normal_channels_in_groups(&self) -> bool {
        true
    }
}

/// Normal channels on a server behind a unix socket, all others on another one.
struct OnSocketAndRedis {
    local: Proxy,
    remote: Arc<Server>,
}

impl OnSocketAndRedis {
    fn new() -> Self {
        let servers = Servers::three();
        let [remote, local, ..] = servers.all() else { panic!("there are three servers") };
        Self { local: Proxy::start_on_unix_socket(local), remote: Arc::clone(remote) }
    }
}

impl Subject for OnSocketAndRedis {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        Box::pin(async move {
            let options = options(settings);
            let mut layers: Vec<Arc<dyn ChannelLayer>> = Vec::new();
            for _ in 0..clients {
                let local = options.clone().hosts([self.local.url()]).connect().await.unwrap();
                let remote = options.clone().hosts([self.remote.url()]).connect().await.unwrap();
                layers.push(Arc::new(LocalAndRemote::new(local, remote)));
            }
            layers
        })
    }

    fn refuses_normal_channels_in_groups(&self) -> bool {
        true
    }
}

/// The Redis layer with encryption and hidden names.
struct Sealed(Vec<Arc<Server>>);

impl Subject for Sealed {
    fn layers<'a>(
        &'a self,
        settings: &'a Settings,
        clients: usize,
    ) -> BoxFuture<'a, Vec<Arc<dyn ChannelLayer>>> {
        Box::pin(async move {
            let options = options(settings)
                .symmetric_encryption_keys(["a key of thirty-two bytes or more"])
                .hide_names("a key of names, thirty-two bytes or more");
            connected(options, &self.0, clients).await
        })
    }

    fn may_exceed_capacity_while_receiving(&self) -> bool {
        self.0.len() > 1
    }
}

mod one_redis {
    use super::{OnRedis, Servers};

    asgi_redis::conformance_tests!(OnRedis(Servers::one()));
}

mod three_redis {
    use super::{OnRedis, Servers};

    asgi_redis::conformance_tests!(OnRedis(Servers::three()));
}

mod sealed_redis {
    use super::{Sealed, Servers};

    asgi_redis::conformance_tests!(Sealed(Servers::three().all().to_vec()));
}

/// While the tests run, whoever watches the server sees no message and no name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_the_whole_suite_sees_no_message_and_no_name() {
    const AT_ONCE: usize = 8;
    let server = Arc::new(Server::private());
    let subject = Sealed(vec![Arc::clone(&server)]);
    let all = stream::iter(tests()).map(|test| test.run(&subject));
    let seen = watched(&server, all.buffer_unordered(AT_ONCE).collect()).await;
    seen.assert_all_sealed();
    seen.assert_all_hidden();
}

mod memory_and_redis {
    use super::{InMemoryAndRedis, Server};

    asgi_redis::conformance_tests!(InMemoryAndRedis(Server::shared()));
}

mod socket_and_redis {
    use super::OnSocketAndRedis;

    asgi_redis::conformance_tests!(OnSocketAndRedis::new());
}
