//! The proxy before a site: what a fault does to the way to its servers.

use super::proxy;

/// What becomes of bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// All is held back, and goes on afterwards.
    Stalled,
    /// New connections are closed at once.
    Refusing,
    /// All is lost from now on, on every connection that is open or that opens meanwhile, and none is closed.
    Swallowing,
}

pub(crate) struct Proxy {
    url: String,
    proxy: proxy::Proxy,
}

impl Proxy {
    pub(crate) fn start(port: u16) -> Self {
        let proxy = proxy::Proxy::before(address(port));
        Self { url: proxy.url(), proxy }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, way: Way) {
        self.proxy.set(proxy::Network {
            requests_stalled: way == Way::Stalled,
            replies_stalled: way == Way::Stalled,
            refusing: way == Way::Refusing,
            swallowing: way == Way::Swallowing,
        });
    }

    /// Closes all connections that are open.
    pub(crate) fn cut(&self) {
        self.proxy.cut();
    }

    /// Sends connections that open from now on to another server.
    pub(crate) fn retarget(&self, port: u16) {
        self.proxy.lead_to_address(address(port));
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
