//! `in-share PROCS PROGRAM ARGUMENTS…`: waits for a line, joins a control group by its file PROCS (`-` for none), prints when, and
//! how much processor time it has had until then, and becomes the program. So what it takes to be started is not in the
//! program's share, and can be told from it.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use aft_bench::{Error, clock, process};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1);
    let (procs, program) = (arguments.next().ok_or("no group")?, arguments.next().ok_or("no program")?);
    let mut command = Command::new(program);
    command.args(arguments);
    io::stdin().read_line(&mut String::new())?;
    if procs != "-" {
        // Zero is who writes it.
        std::fs::write(procs, "0")?;
    }
    let busy = process::processor_time(std::process::id())?.as_nanos();
    writeln!(io::stdout(), "{} {busy}", clock::nanos())?;
    Err(command.exec().into())
}
