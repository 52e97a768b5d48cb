//! A server as a child process on the loopback interface.

use asgi_redis::test_server::TestServer;

use super::product::Product;
use super::server::{Instance, Setup};

const HOST: &str = "127.0.0.1";

/// Looks for the programs of the products that the run uses; the error names the remedy.
pub(super) fn find() -> Result<(), String> {
    Product::wanted().iter().try_for_each(|product| product.program().map(drop))
}

pub(super) struct Process(TestServer);

impl Process {
    pub(super) fn start_new(setup: &Setup<'_>) -> Self {
        let mut server = TestServer::builder()
            .program(setup.product.program().unwrap_or_else(|why| panic!("{why}")))
            .launcher(setup.launcher.iter().copied())
            .arguments(setup.args.iter().copied());
        for (name, content) in setup.files {
            server = server.file(*name, *content);
        }
        Self(server.start().unwrap())
    }
}

impl Instance for Process {
    fn host(&self) -> &str {
        HOST
    }

    fn port(&self) -> u16 {
        self.0.port().unwrap()
    }

    fn start(&self) {
        self.0.start_again().unwrap();
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn terminate(&self) {
        self.0.terminate().unwrap();
    }

    fn pause(&self) {
        self.0.pause().unwrap();
    }

    fn unpause(&self) {
        self.0.unpause().unwrap();
    }
}
