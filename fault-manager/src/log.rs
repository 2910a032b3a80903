//! Log lines: JSON to standard error, without a time (CloudWatch has one); only our own. Their members are flat, so that a
//! metric filter finds them: `{ $.failed > 0 }`.

use aft_protocol::settings::LogLevel;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at this level.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let ours = Targets::new().with_target("aft_fault_manager", level).with_target("aft_store", level);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).without_time().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(ours).init();
}
