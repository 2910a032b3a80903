//! The layer as it is shipped: what `make layer-for-tests` has laid out as under `/opt`, for both architectures.

use std::path::PathBuf;

use aft_cli::{Layer, LayerBinaries};

use crate::tools::repository;

/// Another layer's directory, from the repository; during development perhaps `target/debug`.
const OTHER: &str = "AFT_TESTS_LAYER";

/// One of Lambda's two architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`.
    X86,
    /// `arm64`.
    Arm,
}

impl Architecture {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X86, Self::Arm];

    /// This machine's.
    pub const HERE: Self = if cfg!(target_arch = "aarch64") { Self::Arm } else { Self::X86 };

    /// As Lambda spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "arm64",
        }
    }
}

/// What is under `/opt`.
#[must_use]
pub fn laid_out(architecture: Architecture) -> PathBuf {
    repository().join("target/layer").join(architecture.name())
}

/// What is published.
#[must_use]
pub fn zip(architecture: Architecture) -> PathBuf {
    repository().join("target/layer").join(format!("aft-{}.zip", architecture.name()))
}

/// The two processes for this machine.
///
/// # Panics
/// If they have not been built.
#[must_use]
pub fn binaries() -> LayerBinaries {
    let directory = std::env::var_os(OTHER).map(|other| repository().join(other));
    let binaries = LayerBinaries::found_in(&directory.unwrap_or_else(|| laid_out(Architecture::HERE)));
    for path in [&binaries.extension, &binaries.shim] {
        assert!(path.is_file(), "{} is missing: make layer-for-tests", path.display());
    }
    binaries
}

/// The layer for this machine, for a host.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn shipped() -> Layer {
    Layer::aft(&binaries()).expect("both are there")
}
