//! A local Lambda with the function in it, over an embedded DynamoDB of its own, with or without AFT.

use std::path::{Path, PathBuf};

use aft_cli::{Connected, Engine, Host, HostConfig, Layer, LayerBinaries, LogSink, Program, Tables};

/// Sandboxes at the same time.
pub const SANDBOXES: u32 = 4;

type Error = Box<dyn std::error::Error>;

/// How the function keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In DynamoDB, straight.
    WithoutAft,
    /// Under AFT, as it is by default.
    ReadAtomic,
    /// Under AFT, with `AFT_ISOLATION=serializable`.
    Serializable,
}

impl Mode {
    const fn has_aft(self) -> bool {
        matches!(self, Self::ReadAtomic | Self::Serializable)
    }
}

/// What the function is written in.
#[derive(Debug, Clone)]
pub enum Language {
    /// `examples/transfer`.
    Rust,
    /// `examples/transfer-python`, with this interpreter.
    Python(PathBuf),
}

impl Language {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python(_) => "Python",
        }
    }

    fn command(&self, with_aft: bool) -> Result<Program, Error> {
        Ok(match self {
            Self::Rust => {
                let beside =
                    std::env::current_exe()?.with_file_name(if with_aft { "transfer" } else { "transfer-plain" });
                Program::new(beside)
            }
            Self::Python(python) => {
                let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transfer-python/app.py");
                Program::new(python).with_arguments([app])
            }
        })
    }
}

/// What is the same on both sides.
#[derive(Debug)]
pub struct Setup {
    /// The function.
    pub language: Language,
    /// Where the layer's binaries lie.
    pub layer: PathBuf,
    /// Whether logs are shown.
    pub verbose: bool,
}

/// A running host and its data.
pub struct World {
    /// The host.
    pub host: Host,
    data: Connected,
    directory: PathBuf,
}

impl World {
    /// Starts it.
    ///
    /// # Errors
    /// Whatever is missing.
    pub async fn start(setup: &Setup, mode: Mode) -> Result<Self, Error> {
        let with_aft = mode.has_aft();
        let mut config = HostConfig::new(setup.language.command(with_aft)?)?;
        config.sandboxes = SANDBOXES;
        config.queue_limit = 1_000;
        if with_aft {
            let mut layer = Layer::aft(&LayerBinaries::found_in(&setup.layer))?;
            if mode == Mode::Serializable {
                layer.settings.insert("AFT_ISOLATION".to_owned(), "serializable".to_owned());
            }
            config.layer = Some(layer);
        }
        let table = if with_aft { "accounts" } else { "plain-accounts" };
        let tables = Tables { data: table.to_owned(), transactions: format!("{table}-transactions") };
        let data = Engine::Memory.connect(&mut config, &tables).await?;
        if !with_aft {
            config.environment.insert("PLAIN_TABLE".to_owned(), table.to_owned());
        }
        // Where the function counts its attempts.
        let directory = std::env::temp_dir().join(format!("aft-demo-{}-{mode:?}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        config.environment.insert("TMPDIR".to_owned(), directory.display().to_string());
        if setup.verbose {
            config.log = LogSink::new(|line| crate::say(&line.to_string()));
        }
        Ok(Self { host: Host::start(config).await?, data, directory })
    }

    /// Ends it, and removes what it left.
    ///
    /// # Errors
    /// If the engine had failed.
    pub async fn stop(self) -> Result<(), Error> {
        self.host.stop().await;
        self.data.stop().await?;
        Ok(std::fs::remove_dir_all(self.directory)?)
    }
}
