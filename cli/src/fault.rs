//! What can break a sandbox, and what the caller of the invocation that it was serving gets to see.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use aft_protocol::id::RequestId;

use crate::invocation::Answer;

/// Why a sandbox cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the runtime process ended: {}", describe(*.status))]
    RuntimeExited { status: Option<ExitStatus> },
    #[error("the extension {name} ended: {}", describe(*.status))]
    ExtensionExited { name: String, status: Option<ExitStatus> },
    #[error("the runtime reported that it could not start")]
    RuntimeInit { document: Answer },
    #[error("the extension {name} gave up: {error_type}")]
    ExtensionReported { name: String, error_type: String },
    #[error("{program} could not be started")]
    NotStarted {
        program: String,
        #[source]
        source: Arc<io::Error>,
    },
}

impl Fault {
    /// The answer to the invocation that the sandbox was serving, in the platform's words.
    pub(crate) fn answer(&self, request: &RequestId) -> Answer {
        let error =
            |kind: &str, text: &str| Answer::platform_error(kind, &format!("RequestId: {request} Error: {text}"));
        match self {
            Self::RuntimeExited { status } if status.is_some_and(|status| status.success()) => {
                error("Runtime.ExitError", "Runtime exited without providing a reason")
            }
            Self::RuntimeExited { status } => {
                error("Runtime.ExitError", &format!("Runtime exited with error: {}", describe(*status)))
            }
            Self::ExtensionExited { status, .. } => error("Extension.Crash", &describe(*status)),
            Self::RuntimeInit { document } => document.clone(),
            Self::ExtensionReported { error_type, .. } => error(error_type, &self.to_string()),
            Self::NotStarted { source, .. } => error("Runtime.InvalidEntrypoint", &format!("{self}: {source}")),
        }
    }
}

/// "exit status 1" or "signal: killed", as Lambda says it.
fn describe(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    let Some(status) = status else { return "status unknown".to_owned() };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, Some(6)) => "signal: aborted".to_owned(),
        (None, Some(11)) => "signal: segmentation fault".to_owned(),
        (None, Some(signal)) => format!("signal: {signal}"),
        (None, None) => "status unknown".to_owned(),
    }
}
