//! Processor time of a process, as Linux counts it.

use std::fs;
use std::io;

/// User and system time of all threads of a process, in microseconds; it is counted in ticks of mostly ten milliseconds.
///
/// # Errors
/// If there is no such process.
pub fn micros(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have spaces and brackets in it; what follows its last bracket has not.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(|| io::Error::other("not what proc(5) says"))?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    #[test]
    fn who_works_has_used_time() {
        let before = super::micros(std::process::id()).unwrap();
        let start = Instant::now();
        while super::micros(std::process::id()).unwrap() < before + 30_000 {
            assert!(start.elapsed().as_secs() < 60, "a thread that spins gets some of a processor");
        }
    }
}
