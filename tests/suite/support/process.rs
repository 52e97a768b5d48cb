//! A server as a child process on the loopback interface.

use asgi_redis::test_server::{ServerProgram, TestServer};

use super::server::{Instance, Setup};

const HOST: &str = "127.0.0.1";

/// Looks for a server program on `PATH`; the error names what to install.
pub(super) fn find() -> Result<(), String> {
    ServerProgram::find().map(drop).map_err(|error| {
        format!("the tests need a server: start a Docker engine, or let ./scripts/test install one: {error}")
    })
}

pub(super) struct Process(TestServer);

impl Process {
    pub(super) fn start_new(setup: &Setup<'_>) -> Self {
        let mut server = TestServer::builder().arguments(setup.args.iter().copied());
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
