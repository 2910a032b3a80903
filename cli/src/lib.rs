//! A Lambda host for a developer's machine, as a library: the `aft local` command, the demo and the end-to-end tests.
//!
//! | file | what |
//! |---|---|
//! | [`config`] | what a host is told; the only reader of the environment |
//! | `host` | [`Host`]: the queue, the sandboxes, asynchronous retries |
//! | `sandbox` | one sandbox: starts, serves, ends |
//! | `lifecycle` | a sandbox's state as its processes see it: pure |
//! | `freezer` | freeze and thaw |
//! | `fault` | what breaks a sandbox, and what its caller sees |
//! | `environment` | the variables of the processes |
//! | [`port`] | a free port for a process that is about to be started |
//! | `process` | starting, killing and watching processes; no orphans |
//! | `api`, `runtime_api`, `extensions_api` | Lambda's APIs for processes, one listener a sandbox |
//! | `invoke_api` | Lambda's API for callers |
//! | [`invocation`] | requests, results, limits |
//! | [`log`] | log lines and where they go |
//! | [`embedded`] | DynamoDB over one SQLite file |
//! | `watched`, `clock` | a state to wait on; time and randomness |
//! | `engine`, [`embedded`] | which DynamoDB the processes use; one of our own |
//! | [`arguments`], [`app`], [`console`] | the `aft` command |
//! | [`recover`] | `aft recover`: recovery by hand |
//! | [`history`] | `aft history`: histories, judged and converted |

mod api;
pub mod app;
pub mod arguments;
mod clock;
pub mod config;
pub mod console;
pub mod embedded;
mod engine;
mod environment;
mod error;
mod extensions_api;
mod fault;
mod freezer;
pub mod history;
mod host;
pub mod invocation;
mod invoke_api;
mod lifecycle;
pub mod log;
pub mod port;
mod process;
pub mod recover;
mod runtime_api;
mod sandbox;
mod watched;

pub use config::{ExtensionProgram, HostConfig, Layer, LayerBinaries};
pub use engine::{Connected, Engine, EngineError, Tables};
pub use error::HostError;
pub use host::{Host, Victim};
pub use invocation::{Invocation, InvocationKind, InvokeResult};
pub use log::{LogLine, LogSink, SandboxNumber, Source};
pub use process::{LiveProcess, Program};
