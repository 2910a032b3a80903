//! What the engines and the emulator need to start: tools that `tests/tools.sh` fetches, and ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ephemeral range, so that no outgoing connection takes the port in between.
const PORTS: std::ops::Range<u16> = 10_000..28_000;

/// So many ports can one test process take before it meets those of the next one.
const PORTS_PER_PROCESS: u16 = 40;

/// Where a tool is, fetched if need be. The script prints the path.
pub(crate) fn tool(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh");
    let fetched = Command::new(&script).arg(name).output().expect("tests/tools.sh can be started");
    let errors = String::from_utf8_lossy(&fetched.stderr);
    assert!(fetched.status.success(), "{} {name} failed: {errors}", script.display());
    PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim_end())
}

/// A port that nobody listens on and that no other call in this process is given.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let size = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id() % size * u32::from(PORTS_PER_PROCESS);
    loop {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(taken < PORTS.end - PORTS.start, "no free port on 127.0.0.1 in {PORTS:?}");
        let offset = u16::try_from((first + u32::from(taken)) % size).expect("it is less than the range's size");
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
