//! Servers of the suite with a faulty network in front of them, or with a clock that a test sets.

use super::clock::Clock;
use super::proxy::Proxy;
use super::server::Server;

impl Proxy {
    /// Starts a proxy on a TCP port of the loopback interface.
    pub(crate) fn start(server: &Server) -> Self {
        Self::before(server.address())
    }

    /// Starts a proxy on a unix socket, so that clients can be tested on one wherever the server runs.
    pub(crate) fn start_on_unix_socket(server: &Server) -> Self {
        Self::on_unix_socket_before(server.address())
    }

    /// Has new connections lead to another server, as when an address moves. The open ones stay where they are.
    pub(crate) fn lead_to(&self, server: &Server) {
        self.lead_to_address(server.address());
    }
}

impl Server {
    /// A server of the test's own, as a process, and its clock.
    pub(crate) fn with_clock(args: &[&str]) -> (Self, Clock) {
        let clock = Clock::new();
        let launcher = clock.launcher();
        (Self::process_launched_by(&launcher.each_ref().map(String::as_str), args), clock)
    }
}
