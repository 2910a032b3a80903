//! Where the figures come from, and with what: without that they say little.

use std::fs;
use std::process::Command;

use aft_tests::tools::tool;
use serde_json::{Value, json};

/// The machine.
#[must_use]
pub fn machine() -> Value {
    let of = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches([' ', '\t', ':']).into());
        line.map(|value: &str| value.trim().to_owned())
    };
    let kilobytes = of("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": of("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_bytes": kilobytes.map(|kilobytes| kilobytes * 1_024),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
        "load_at_start": load.split(' ').next().and_then(|load| load.parse::<f64>().ok()),
    })
}

/// What is compared, by version; `None` where it does not say.
#[must_use]
pub fn versions() -> Value {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_owned())
    };
    let python = tool("python").join("bin/python").display().to_string();
    let powertools = format!(
        "import sys; sys.path.insert(0, {:?}); from importlib.metadata import version; print(version('aws-lambda-powertools'))",
        tool("powertools")
    );
    let boto = "from importlib.metadata import version; print(version('boto3'))";
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    json!({
        "this project": format!("{} ({})", env!("CARGO_PKG_VERSION"), commit.unwrap_or_else(|| "no commit".to_owned())),
        "rustc": said("rustc", &["--version"]),
        // As tests/tools.sh pins it.
        "DynamoDB Local": "3.3.1",
        "Python": said(&python, &["--version"]),
        "Powertools for AWS Lambda (Python)": said(&python, &["-c", &powertools]),
        "boto3": said(&python, &["-c", boto]),
    })
}
