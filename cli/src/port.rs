//! A port for a process that is about to be started, and that cannot say which one it was given.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock;

/// Below the ports that the kernel gives to outgoing connections, and to listeners that name none: it would give one away
/// between its choice here and the process's listening.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port of the loopback interface that nobody listens on. No two calls in this process get the same one, and processes
/// side by side begin at random, so that they do not meet.
///
/// Whether somebody listens is asked by connecting, not by listening: a listener is in the hands of every process that is
/// being started at that moment, until it becomes another program, and would be in the way of the one that the port is for.
///
/// # Errors
/// If there is none.
pub fn free_port() -> io::Result<u16> {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(clock::random_bits() as u32));
    let size = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let offset = next.fetch_add(1, Ordering::Relaxed) % size;
        let port = PORTS.start + offset as u16;
        match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(port),
            Ok(_) | Err(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("somebody listens on every port of {PORTS:?}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, TcpListener};

    use super::free_port;

    /// Found by the end-to-end tests, as an extension that could not listen now and then: its port had been tried by listening,
    /// and another process, just being started, still held that listener.
    #[test]
    fn a_port_is_free_and_given_once() {
        let ports: Vec<_> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        let listeners: Vec<_> =
            ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap()).collect();
        assert!((0..50).all(|_| !ports.contains(&free_port().unwrap())));
        drop(listeners);
    }
}
