//! A server in a container of a Docker engine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use asgi_redis::test_server::free_port;
use testcontainers::core::client::{ClientError, docker_client_instance};
use testcontainers::core::error::TestcontainersError;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};

use super::product::Product;
use super::runtime::block_on;
use super::server::{Instance, Setup};

const DEFAULT_IMAGE: &str = "redis:7.4.2";
const DEFAULT_VALKEY_IMAGE: &str = "valkey/valkey:9.0";
const LOOPBACK: &str = "127.0.0.1";
const FILES: &str = "/files";
const PORT: u16 = 6379;
const READY: &str = "Ready to accept connections";
const PATIENCE: Duration = Duration::from_secs(30);
/// With the value of `TEST_RUN`; by it CI finds and removes the containers of a run that was killed.
const LABEL: &str = "asgi-redis.run";
/// With the name of the test, for the words about a container that was left behind.
const LABEL_OF_TEST: &str = "asgi-redis.test";

/// Whether a Docker engine answers.
pub(super) fn engine_answers() -> Result<(), String> {
    let ask = async {
        let engine = docker_client_instance().await.map_err(|error| error.to_string())?;
        engine.ping().await.map(drop).map_err(|error| error.to_string())
    };
    block_on(async { tokio::time::timeout(Duration::from_secs(5), ask).await })
        .unwrap_or_else(|_| Err("it is silent".to_owned()))
}

pub(super) struct Container {
    container: Option<ContainerAsync<GenericImage>>,
    host: String,
    port: u16,
    /// How often the server has said that it is ready.
    starts: Mutex<usize>,
}

impl Container {
    pub(super) fn start_new(setup: &Setup<'_>) -> Self {
        const ATTEMPTS: usize = 5;
        let (variable, default) = match setup.product {
            Product::Redis => ("REDIS_IMAGE", DEFAULT_IMAGE),
            Product::Valkey => ("VALKEY_IMAGE", DEFAULT_VALKEY_IMAGE),
        };
        let image = std::env::var(variable).ok().filter(|image| !image.is_empty());
        let image = image.as_deref().unwrap_or(default);
        let local = engine_is_local();
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port().unwrap();
            let name = unique_name();
            // Here, on the thread that has the test's name.
            let request = request(image, &name, port, local, setup);
            let result = block_on(async {
                let started = request.start().await;
                if started.is_err() {
                    remove(&name).await;
                }
                let container = started?;
                let host = match local {
                    true => LOOPBACK.to_owned(),
                    false => container.get_host().await?.to_string(),
                };
                Ok(Self { container: Some(container), host, port, starts: Mutex::new(1) })
            });
            match result {
                Ok(container) => return container,
                Err(TestcontainersError::Client(ClientError::PullImage { err, .. })) => panic!(
                    "the image {image} is not on this machine and cannot be pulled ({err}): build one of both \
                     products with `.ci/build-redis-image` and name it in REDIS_IMAGE and VALKEY_IMAGE, or set \
                     TEST_SERVER=process"
                ),
                // Another process may have taken the port.
                Err(error @ TestcontainersError::Client(_)) => failure = error.to_string(),
                Err(error) => panic!("no server in a container of {image}: {error}"),
            }
        }
        panic!("no server in a container of {image}: {failure}")
    }

    fn container(&self) -> &ContainerAsync<GenericImage> {
        self.container.as_ref().expect("the container is there until the drop")
    }

    /// Waits until the log says once more that the server is ready.
    async fn ready_again(&self, starts: usize) -> Result<(), TestcontainersError> {
        loop {
            let log = self.container().stdout_to_vec().await?;
            if String::from_utf8_lossy(&log).matches(READY).count() >= starts {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Instance for Container {
    fn host(&self) -> &str {
        &self.host
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn start(&self) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = *starts + 1;
        let started = block_on(async {
            if self.container().is_running().await? {
                return Ok(false);
            }
            self.container().start().await?;
            let ready = tokio::time::timeout(PATIENCE, self.ready_again(wanted)).await;
            ready.map_err(TestcontainersError::other)?.map(|()| true)
        });
        if started.unwrap_or_else(|error| panic!("the container did not start again: {error}")) {
            *starts = wanted;
        }
    }

    fn kill(&self) {
        block_on(async {
            if self.container().is_running().await.unwrap() {
                let engine = docker_client_instance().await.unwrap();
                engine.kill_container(self.container().id(), None).await.unwrap();
            }
        });
    }

    fn terminate(&self) {
        block_on(self.container().stop_with_timeout(Some(10))).unwrap();
    }

    fn pause(&self) {
        block_on(self.container().pause()).unwrap();
    }

    fn unpause(&self) {
        block_on(self.container().unpause()).unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            // Not left to the container's own drop, which must run inside a runtime and hides a failure.
            if let Err(error) = block_on(container.rm()) {
                eprintln!("a container was not removed: {error}");
            }
        }
    }
}

fn request(
    image: &str,
    name: &str,
    port: u16,
    local: bool,
    setup: &Setup<'_>,
) -> ContainerRequest<GenericImage> {
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    };
    // The port is fixed because a random one changes when the container is started again.
    let mut request = GenericImage::new(repository, tag)
        .with_wait_for(WaitFor::message_on_stdout(READY))
        .with_mapped_port(port, PORT.tcp())
        .with_container_name(name)
        .with_label(LABEL, std::env::var("TEST_RUN").unwrap_or_else(|_| "by hand".to_owned()))
        .with_label(LABEL_OF_TEST, std::thread::current().name().unwrap_or("?"))
        .with_startup_timeout(PATIENCE)
        .with_cmd(
            std::iter::once(setup.product.program_name().to_owned())
                .chain(setup.arguments("0.0.0.0", PORT, FILES)),
        );
    for (name, content) in setup.files {
        request = request.with_copy_to(format!("{FILES}/{name}"), content.to_vec());
    }
    if !local {
        return request;
    }
    request.with_host_config_modifier(|config| {
        for binding in
            config.port_bindings.iter_mut().flat_map(|bindings| bindings.values_mut()).flatten().flatten()
        {
            binding.host_ip = Some(LOOPBACK.to_owned());
        }
    })
}

/// Whether the engine publishes ports on this very machine, so that the loopback interface is enough.
fn engine_is_local() -> bool {
    static LOCAL: LazyLock<bool> = LazyLock::new(|| {
        let name = block_on(async { docker_client_instance().await.ok()?.info().await.ok()?.name });
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        name.is_some() && name.as_deref() == hostname.as_deref().map(str::trim)
    });
    *LOCAL
}

fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("asgi-redis-suite-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes a container that was created but did not become ready.
async fn remove(name: &str) {
    if let Ok(engine) = docker_client_instance().await {
        let _ = engine.kill_container(name, None).await;
        let _ = engine.remove_container(name, None).await;
    }
}
