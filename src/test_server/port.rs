//! Free ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Returns a port of the loopback interface on which nobody listens, and which no other call of this process returns soon.
///
/// The port lies below the range from which Linux takes the ports of outgoing connections. So no such connection can take
/// it while its server is stopped, and the server can come back at the same address.
///
/// # Errors
///
/// [`Connection`](ErrorKind::Connection) if every port from 20,000 to 29,999 is in use.
pub fn free_port() -> Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::new(ErrorKind::Connection, "no port from 20000 to 29999 of 127.0.0.1 is free"))
}
