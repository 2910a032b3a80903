//! `hot-path LAYER PATH TIMES TOOL [ARGUMENT…]`: goes a hot path so often, with the layer's process under a tool: for
//! `bench/profile.sh`.

use std::path::Path;

use aft_bench::Error;
use aft_bench::hot_path::HotPath;
use aft_bench::setup::Programs;
use aft_cli::{LayerBinaries, Program};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut next =
        |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing: see the head of the source"));
    let (layer, name, times, tool) = (next("LAYER")?, next("PATH")?, next("TIMES")?, next("TOOL")?);
    let path = HotPath::ALL.into_iter().find(|path| path.name() == name);
    let path = path.ok_or_else(|| format!("{name:?} is no path: {:?}", HotPath::ALL.map(HotPath::name)))?;
    let own = std::env::current_exe()?;
    let programs = Programs {
        layer: LayerBinaries::found_in(Path::new(&layer)),
        hello: own.with_file_name("hello"),
        runtime: own.with_file_name("empty-runtime"),
    };
    path.go(programs, &Program::new(tool).with_arguments(arguments), times.parse()?).await
}
