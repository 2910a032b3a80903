//! A port for the extension, whose listener is not this process's own.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use crate::clock;

/// Below the ports that the kernel gives to outgoing connections, and to listeners that name none: it would give one away
/// between its choice here and the extension's listening.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PORT_TRIES: u32 = 100;

/// A port that is free now. Chosen at random and anew at every start, so that hosts side by side do not meet.
pub(crate) fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let port = PORTS.start + (clock::random_bits() % u128::from(PORTS.end - PORTS.start)) as u16;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
