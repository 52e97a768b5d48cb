//! A server of our own: a process on the loopback interface and a unix socket. It ends with this process.

use asgi_redis::test_server::TestServer;

use crate::Result;
use crate::placement::Cores;

pub(crate) struct Server {
    server: TestServer,
    unix: bool,
}

/// The URLs of one server.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    pub(crate) tcp: String,
    pub(crate) unix: String,
}

impl Server {
    /// Starts one, whose [`Self::url`] names the unix socket if `unix` is set.
    pub(crate) fn start(cores: &Cores, unix: bool) -> Result<Self> {
        Ok(Self { server: TestServer::builder().launcher(cores.of_server()).start()?, unix })
    }

    /// Returns its program and version, such as `redis-server 7.0.15`.
    pub(crate) fn version(&self) -> String {
        let program = self.server.program();
        format!("{} {}", program.name(), program.version())
    }

    pub(crate) fn url(&self) -> String {
        let Sockets { tcp, unix } = self.sockets();
        if self.unix { unix } else { tcp }
    }

    pub(crate) fn sockets(&self) -> Sockets {
        Sockets {
            tcp: format!("{}/0?protocol=resp3", self.server.url()),
            unix: format!("redis+unix://{}?protocol=resp3", self.server.socket().display()),
        }
    }
}
