//! What every figure of a process starts from: the programs, an embedded engine, the configuration of a host.

use std::path::{Path, PathBuf};

use aft_cli::{Connected, Engine, HostConfig, Layer, LayerBinaries, Program, Tables};
use aft_protocol::settings;
use tokio::process::{Child, Command};

use crate::Error;
use crate::lambda::Lambda;

/// The programs that are measured.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The layer, as it is shipped.
    pub layer: LayerBinaries,
    /// `bin/hello.rs`.
    pub hello: PathBuf,
    /// `bin/empty-runtime.rs`.
    pub runtime: PathBuf,
}

/// The programs, a host's configuration with AFT's layer in it, and the engine that its processes use, in memory.
#[derive(Debug)]
pub struct Setup {
    /// The programs.
    pub programs: Programs,
    /// The configuration.
    pub config: HostConfig,
    engine: Connected,
}

impl Setup {
    /// Starts the engine, on the threads of the runtime that this runs in.
    ///
    /// # Errors
    /// If a binary of the layer is missing, or the engine does not start.
    pub async fn new(programs: Programs) -> Result<Self, Error> {
        let mut config = HostConfig::new(Program::new(&programs.runtime))?;
        config.layer = Some(Layer::aft(&programs.layer)?);
        let engine = Engine::Memory.connect(&mut config, &Tables::default()).await?;
        Ok(Self { programs, config, engine })
    }

    /// Where the engine listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.engine.endpoint().to_string()
    }

    /// Ends the engine.
    ///
    /// # Errors
    /// If it had failed.
    pub async fn stop(self) -> Result<(), Error> {
        Ok(self.engine.stop().await?)
    }

    /// The extension by itself, with this socket for the shim that it has not; killed when dropped. Not yet started.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn extension(&self, lambda: &Lambda, control_socket: &Path) -> Result<Command, Error> {
        let layer = self.layer()?;
        let program = &layer.extensions.first().ok_or("the layer has no extension")?.program;
        let mut command = self.command(program, lambda, control_socket)?;
        command.env(settings::PORT.name, aft_cli::port::free_port()?.to_string());
        Ok(command)
    }

    /// The shim with the runtime under it, for an extension with this socket; killed when dropped. Not yet started.
    ///
    /// # Errors
    /// If the layer has no shim.
    pub fn shim(&self, lambda: &Lambda, control_socket: &Path) -> Result<Command, Error> {
        let shim = self.layer()?.wrapper.as_ref().ok_or("the layer has no shim")?;
        self.command(&self.config.command.wrapped_in(shim), lambda, control_socket)
    }

    fn layer(&self) -> Result<&Layer, Error> {
        Ok(self.config.layer.as_ref().ok_or("the configuration has no layer")?)
    }

    fn command(&self, program: &Program, lambda: &Lambda, control_socket: &Path) -> Result<Command, Error> {
        let mut command = Command::new(&program.executable);
        command
            .args(&program.arguments)
            .env_clear()
            .envs(&self.config.inherited)
            .envs(&self.layer()?.settings)
            .env("AWS_REGION", &self.config.region)
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.config.function_name)
            .env("AWS_LAMBDA_RUNTIME_API", lambda.address().to_string())
            .env(settings::CONTROL_SOCKET.name, control_socket)
            .kill_on_drop(true);
        Ok(command)
    }
}

/// A directory for one extension's control socket, removed with it.
#[derive(Debug)]
pub struct SocketDirectory(PathBuf);

impl SocketDirectory {
    /// Names one; the extension makes it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("aft-bench-{}-{name}", std::process::id())))
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ends a process, and waits until it has ended.
///
/// # Errors
/// If the kernel refuses.
pub async fn end(mut process: Child) -> Result<(), Error> {
    Ok(process.kill().await?)
}
