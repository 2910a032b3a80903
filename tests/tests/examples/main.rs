//! The apps of `examples/`, each on AFT and in its version without, through the same faults from outside.
//!
//! A harness of its own, because whether there is what an app in Node.js needs is known only at run time: tests of one that cannot
//! run are named and reported as ignored, and fail the run where nothing may be skipped (`CI=true`, or `AFT_TESTS_NO_SKIP=1`).
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use aft_tests::tools::{Missing, optional_tool, skipped};

mod bank;
mod checkout;
mod orders;
mod workflow;

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Tests by their names.
macro_rules! list {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), || Box::pin($name()))),*] };
}
use list;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (app, tests) in [("bank", bank::TESTS), ("orders", orders::TESTS), ("workflow", workflow::TESTS)] {
        trials.extend(tests.iter().map(|test| trial(app, *test)));
    }
    let node = node();
    for (app, tests) in [("checkout", checkout::IN_NODE_JS), ("orders", orders::IN_NODE_JS)] {
        trials.extend(tests.iter().map(|test| match &node {
            Ok(()) => trial(app, *test),
            Err(missing) => skipped(format!("{app}::{}", test.0), missing),
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether apps in Node.js can run here.
fn node() -> Result<(), Missing> {
    optional_tool("node-sdk").and(optional_tool("node-client")).map(drop)
}

fn trial(app: &str, (name, run): Test) -> Trial {
    Trial::test(format!("{app}::{name}"), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run());
        Ok(())
    })
}
