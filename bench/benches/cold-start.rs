//! Cold starts with the layer as it is shipped, over TLS, beside the same function without it: with a whole processor, and with the
//! fourteenth that a function of 128 MB has. Prints a table for each.
//!
//! `cargo bench -p aft-bench --bench cold-start -- [--layer DIRECTORY]… [--turns N] [--share N]… [--plain]`: other builds of the layer, side
//! by side; so many starts of each; other parts of a processor (0: all there are); HTTP instead of TLS.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aft_bench::Error;
use aft_bench::cold_start::sandbox::{Place, World};
use aft_bench::cold_start::share::{Group, Share};
use aft_bench::cold_start::{Contender, add_public_roots, measure};
use aft_bench::setup::{Programs, Setup};
use aft_cli::LayerBinaries;
use aft_tests::tls::Tls;
use tokio::runtime::Builder;

/// Starts of each contender, with a whole processor and with a part of it.
const TURNS: [usize; 2] = [150, 60];
/// 128 MB of the 1,769 that are a processor.
const SMALL: u32 = 14;

fn main() -> ExitCode {
    // `cargo test --benches` starts this too, and is not to wait for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cold starts could not be measured: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("release");
    let mut layers = after("--layer");
    if layers.is_empty() {
        layers.push(shipped.to_string_lossy().into_owned());
    }
    let layers: Vec<_> = layers.iter().map(|layer| LayerBinaries::found_in(&PathBuf::from(layer))).collect();
    let mut contenders = vec![
        Contender { name: "without AFT".to_owned(), world: World::Without },
        Contender { name: "with a client of its own".to_owned(), world: World::OwnClient },
    ];
    for (number, layer) in layers.iter().enumerate() {
        let name = if layers.len() == 1 { "with AFT".to_owned() } else { format!("with AFT, build {}", number + 1) };
        contenders.push(Contender { name, world: World::Aft(layer.clone()) });
    }
    let programs = Programs {
        layer: layers[0].clone(),
        hello: env!("CARGO_BIN_EXE_hello").into(),
        runtime: env!("CARGO_BIN_EXE_empty-runtime").into(),
    };
    // Lambda's API is one thread. The engine and its TLS have threads of their own.
    let alone = Builder::new_current_thread().enable_all().build()?;
    let beside = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let setup = beside.block_on(Setup::new(programs))?;
    let tls = if std::env::args().any(|argument| argument == "--plain") {
        None
    } else {
        let tls = beside.block_on(Tls::before(&setup.endpoint()));
        add_public_roots(tls.bundle())?;
        Some(tls)
    };
    for share in shares()? {
        if let Some(Err(error)) = share.map(|share| Group::new(share).map(drop)) {
            say(&format!(
                "Shares of a processor cannot be measured: no control group can be made ({error}); root can.\n"
            ));
            continue;
        }
        let place = Place {
            setup: &setup,
            tls: tls.as_ref(),
            in_share: Path::new(env!("CARGO_BIN_EXE_in-share")),
            one_put: Path::new(env!("CARGO_BIN_EXE_one-put")),
            share,
        };
        let turns = match after("--turns").first() {
            Some(turns) => turns.parse()?,
            None if share.is_some_and(|share| share.of > 1) => TURNS[1],
            None => TURNS[0],
        };
        let measured = alone.block_on(measure(&contenders, &place, turns))?;
        let processors = share.map_or("all processors".to_owned(), |share| share.to_string());
        say(&format!(
            "With {processors}, {turns} cold starts of each: medians, and the figures between which half of them are\n"
        ));
        say(&measured.table());
        for of in 2..contenders.len() {
            say(&format!("{}\n{}", measured.added(0, of), measured.added(1, of)));
        }
        say("");
    }
    beside.block_on(setup.stop())?;
    Ok(())
}

/// Without any asked for: a whole processor, and the small function's part of one.
fn shares() -> Result<Vec<Option<Share>>, Error> {
    let asked = after("--share");
    if asked.is_empty() {
        return Ok(vec![Some(Share { of: 1 }), Some(Share { of: SMALL })]);
    }
    let share = |text: &String| Ok(Some(Share { of: text.parse()? }).filter(|share| share.of > 0));
    asked.iter().map(share).collect()
}

/// What follows each of these flags.
fn after(flag: &str) -> Vec<String> {
    let arguments: Vec<_> = std::env::args().collect();
    arguments.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].clone()).collect()
}

#[allow(clippy::print_stdout, reason = "the one place of this program that prints")]
fn say(text: &str) {
    println!("{text}");
}
