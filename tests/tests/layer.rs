//! The layer as it is published, for both architectures: what is in it and what is not, on which systems it runs, how large
//! it is, and that the one for the other architecture than this machine's works, too. This machine's is what all other
//! tests run.
//!
//! A harness of its own, because whether this machine can build for the other architecture, and run that, is known only at
//! run time: see `tests/clients.rs`.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use aft_cli::Program;
use aft_tests::layer::{Architecture, laid_out, zip};
use aft_tests::local::{Local, transfer};
use aft_tests::tools::{optional_tool, repository, skipped};
use libtest_mimic::{Arguments, Trial};
use object::Endianness;
use object::elf::{DT_NEEDED, EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use serde::Deserialize;

type Test = (&'static str, fn(Architecture));

macro_rules! tests {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name)),*] };
}

/// Of each architecture, as published.
const PUBLISHED: [Test; 5] = tests![
    the_zip_holds_what_is_listed_here_and_nothing_else,
    packing_again_gives_the_same_bytes,
    no_path_of_the_building_machine_is_in_the_binaries,
    the_binaries_run_on_amazon_linux_2_and_newer,
    the_layer_is_within_its_size_budget,
];

const BINARIES: [&str; 2] = ["aft-runtime-shim", "extensions/aft-extension"];

/// What else is in the layer and can be started.
const SCRIPTS: [&str; 1] = ["bootstrap"];

/// What can only be read: licences, and the helper libraries, `layer/python/aft` and `layer/nodejs/aft`.
const READABLE: &[&str] = &[
    "licenses/aft/LICENSE-APACHE",
    "licenses/aft/LICENSE-MIT",
    "licenses/aft/THIRD-PARTY.txt",
    "nodejs/node_modules/aft/index.d.mts",
    "nodejs/node_modules/aft/index.d.ts",
    "nodejs/node_modules/aft/index.js",
    "nodejs/node_modules/aft/index.mjs",
    "nodejs/node_modules/aft/lib/attempt.js",
    "nodejs/node_modules/aft/lib/endpoint.js",
    "nodejs/node_modules/aft/lib/errors.js",
    "nodejs/node_modules/aft/lib/transactions.js",
    "nodejs/node_modules/aft/lib/values.js",
    "nodejs/node_modules/aft/package.json",
    "nodejs/node_modules/aft/sqs.d.mts",
    "nodejs/node_modules/aft/sqs.d.ts",
    "nodejs/node_modules/aft/sqs.js",
    "nodejs/node_modules/aft/sqs.mjs",
    "nodejs/node_modules/aft/testing.d.mts",
    "nodejs/node_modules/aft/testing.d.ts",
    "nodejs/node_modules/aft/testing.js",
    "nodejs/node_modules/aft/testing.mjs",
    "python/aft/__init__.py",
    "python/aft/_attempt.py",
    "python/aft/_endpoint.py",
    "python/aft/_errors.py",
    "python/aft/_transactions.py",
    "python/aft/_values.py",
    "python/aft/py.typed",
    "python/aft/sqs.py",
    "python/aft/testing.py",
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("neither_an_engine_nor_anything_of_the_tests_is_in_the_layer", || {
        neither_an_engine_nor_anything_of_the_tests_is_in_the_layer();
        Ok(())
    })];
    for architecture in Architecture::ALL {
        let built = if architecture == Architecture::HERE { Ok(PathBuf::new()) } else { optional_tool("cross-rust") };
        for (name, test) in PUBLISHED {
            let name = format!("{}::{name}", architecture.name());
            trials.push(match &built {
                Ok(_) => Trial::test(name, move || {
                    test(architecture);
                    Ok(())
                }),
                Err(missing) => skipped(name, missing),
            });
        }
    }
    let other = Architecture::ALL.into_iter().find(|architecture| *architecture != Architecture::HERE).unwrap();
    let name = format!("{}::the_other_architectures_layer_commits", other.name());
    trials.push(match optional_tool("cross-rust").and_then(|_| optional_tool("cross-qemu")) {
        Ok(qemu) => Trial::test(name, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(the_other_architectures_layer_commits(&laid_out(other), &qemu));
            Ok(())
        }),
        Err(missing) => skipped(name, &missing),
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A file in a zip.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Entry {
    name: String,
    /// Type and permissions, octal.
    mode: String,
    /// Year to second.
    time: Vec<u32>,
    sha256: String,
}

/// What is in a zip, in the order in which it was written.
fn entries(zip: &Path) -> Vec<Entry> {
    const SCRIPT: &str = "
import hashlib, json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    print(json.dumps([
        {'name': entry.filename, 'mode': '%o' % (entry.external_attr >> 16), 'time': entry.date_time,
         'sha256': hashlib.sha256(archive.read(entry)).hexdigest()}
        for entry in archive.infolist()]))
";
    let read = Command::new("python3").args(["-c", SCRIPT]).arg(zip).output().unwrap();
    assert!(read.status.success(), "make layer-for-tests: {}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).unwrap()
}

fn the_zip_holds_what_is_listed_here_and_nothing_else(architecture: Architecture) {
    let started = BINARIES.into_iter().chain(SCRIPTS).map(|name| (name, "100755"));
    let mut expected: Vec<_> = started.chain(READABLE.iter().map(|name| (*name, "100644"))).collect();
    expected.sort_unstable();
    let entries = entries(&zip(architecture));
    let actual: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.mode.as_str())).collect();
    assert_eq!(actual, expected);
    // The tests run what is laid out: it must be what is in the zip.
    for Entry { name, sha256, time, .. } in &entries {
        let file = laid_out(architecture).join(name);
        let sum = Command::new("sha256sum").arg(&file).output().unwrap();
        assert!(String::from_utf8_lossy(&sum.stdout).starts_with(sha256.as_str()), "{name} is laid out otherwise");
        assert_eq!(*time, [1980, 1, 1, 0, 0, 0], "{name}");
    }
}

/// However old the files are, whoever may write them, and whatever the folder is called.
fn packing_again_gives_the_same_bytes(architecture: Architecture) {
    let directory = std::env::temp_dir().join(format!("aft-layer-{}-{}", std::process::id(), architecture.name()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("cp").arg("-r").arg(laid_out(architecture)).arg(directory.join("stage")));
    run(Command::new("chmod").args(["-R", "go-rx"]).arg(directory.join("stage")));
    let again = directory.join("again.zip");
    run(Command::new(repository().join("layer/pack.py")).arg(directory.join("stage")).arg(&again));
    let published = zip(architecture);
    assert!(fs::read(&published).unwrap() == fs::read(&again).unwrap(), "{}", published.display());
    let checked = Command::new("sha256sum")
        .args(["--check", "--status"])
        .arg(published.with_extension("zip.sha256"))
        .current_dir(published.parent().unwrap())
        .status();
    assert!(checked.unwrap().success(), "the SHA-256 beside the zip is another file's");
    fs::remove_dir_all(&directory).unwrap();
}

fn no_path_of_the_building_machine_is_in_the_binaries(architecture: Architecture) {
    let home = std::env::var("HOME").unwrap();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    let here = repository().canonicalize().unwrap();
    let paths = [here.to_str().unwrap(), &format!("{home}/"), &cargo, "/registry/src/", "/rustlib/src/"];
    for name in BINARIES {
        let binary = fs::read(laid_out(architecture).join(name)).unwrap();
        let binary = String::from_utf8_lossy(&binary);
        assert!(
            binary.contains("/crates/tokio-"),
            "{name}: panics say where they happened, or this test looks for nothing"
        );
        for path in paths {
            assert!(!binary.contains(path), "{name}: {path}");
        }
    }
}

/// Amazon Linux 2 has glibc 2.26, Amazon Linux 2023 2.34: both have what these versions name. Of other libraries they may
/// have others, or none.
fn the_binaries_run_on_amazon_linux_2_and_newer(architecture: Architecture) {
    const GLIBC: [&str; 4] = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2"];
    const NEWEST: [u32; 2] = [2, 26];
    for name in BINARIES {
        let data = fs::read(laid_out(architecture).join(name)).unwrap();
        let header = FileHeader64::<Endianness>::parse(&*data).unwrap();
        let endian = header.endian().unwrap();
        let machine = if architecture == Architecture::Arm { EM_AARCH64 } else { EM_X86_64 };
        assert_eq!(header.e_machine(endian), machine, "{name}");

        let sections = header.sections(endian, &*data).unwrap();
        let (dynamic, strings) = sections.dynamic(endian, &*data).unwrap().expect("it is linked dynamically");
        let strings = sections.strings(endian, &*data, strings).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let needed = dynamic.iter().filter(|entry| entry.tag(endian) == DT_NEEDED);
        let needed: BTreeSet<_> = needed.map(|entry| text(entry.string(endian, strings).unwrap())).collect();
        assert!(needed.contains(GLIBC[0]), "{name}: {needed:?}");
        // The dynamic linker itself counts as one where it defines a symbol, as it does for arm64.
        let others = needed.iter().filter(|name| !GLIBC.contains(&name.as_str()) && !name.starts_with("ld-linux-"));
        assert_eq!(others.collect::<Vec<_>>(), [""; 0], "{name}");

        let versions = sections.gnu_verneed(endian, &*data).unwrap();
        let (mut versions, link) = versions.expect("symbols of glibc have versions");
        let strings = sections.strings(endian, &*data, link).unwrap();
        let mut newest = [0, 0];
        while let Some((_, mut auxiliary)) = versions.next().unwrap() {
            while let Some(version) = auxiliary.next().unwrap() {
                let version = text(version.name(endian, strings).unwrap());
                let numbers = version.strip_prefix("GLIBC_").unwrap_or_else(|| panic!("{name} needs {version}"));
                let mut numbers = numbers.split('.').map(|number| number.parse().unwrap());
                newest = newest.max([numbers.next().unwrap(), numbers.next().unwrap()]);
            }
        }
        assert!(newest > [2, 0] && newest <= NEWEST, "{name} needs {newest:?}");
    }
}

/// Size is what a cold start reads, and what counts against Lambda's 250 MB for a function and its layers. The budget is
/// what `docs/limits.md` says.
fn the_layer_is_within_its_size_budget(architecture: Architecture) {
    let limits = fs::read_to_string(repository().join("docs/limits.md")).unwrap();
    let budget = |what: &str| -> u64 {
        let row = limits.lines().find_map(|line| line.strip_prefix(&format!("| {what} | "))).expect(what);
        row.split_once(" bytes |").expect(what).0.replace(',', "").parse().unwrap()
    };
    let size = |path: PathBuf| path.metadata().unwrap().len();
    let programs = BINARIES.map(|name| size(laid_out(architecture).join(name)));
    assert!(programs.iter().all(|size| *size > 500_000), "{programs:?}: these are no programs");
    assert!(programs.iter().sum::<u64>() <= budget("both programs together"), "{programs:?}");
    let zip = size(zip(architecture));
    assert!(zip <= budget("the zip"), "{zip}");
}

/// Both of its programs under qemu: the extension registers, the shim runs a function (natively), and what that puts is
/// committed, whole.
async fn the_other_architectures_layer_commits(layer: &Path, qemu: &Path) {
    let emulated = |program: &str| Program::new(qemu.join("run")).with_arguments([layer.join(program)]);
    let world = Local::start("examples/transfer-python", "app.handler", |config| {
        let [shim, extension] = BINARIES.map(emulated);
        let layer = config.layer.as_mut().unwrap();
        layer.extensions[0].program = extension;
        layer.wrapper = Some(shim);
    })
    .await;
    assert_eq!(world.succeed(transfer("t1")).await["checking"], 900);
    assert_eq!(world.succeed(transfer("t2")).await["checking"], 800);
    let [checking, savings] = world.heads(["account/c1/checking", "account/c1/savings"]).await;
    assert!(!checking.current.version.is_zero());
    assert_eq!(checking.current.version, savings.current.version, "one transaction wrote both");
    let log = world.stop().await;
    assert!(log.contains("attached; ") && !log.contains("ERROR"), "{log}");
}

fn neither_an_engine_nor_anything_of_the_tests_is_in_the_layer() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--edges", "normal,features", "--prefix", "none"]);
    let tree = tree.args(["-p", "aft-extension", "-p", "aft-runtime-shim"]).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("aft-store") && tree.contains("aws-sdk-dynamodb"), "{tree}");
    for foreign in ["dynoxide", "rusqlite", "axum", "aft-store feature \"testing\"", "tokio feature \"test-util\""] {
        assert!(!tree.contains(foreign), "{foreign}");
    }
}
