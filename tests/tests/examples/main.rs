//! The apps of `examples/`, each on AFT and in its version without, through the same faults from outside.
//!
//! A harness of its own, because whether there is what an app in Node.js needs is known only at run time: tests of one that cannot
//! run are named and reported as ignored, and fail the run where nothing may be skipped (`CI=true`, or `AFT_TESTS_NO_SKIP=1`).
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

mod bank;

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// The tests of a module.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(super) const TESTS: &[super::Test] = &[$((stringify!($name), || Box::pin($name()))),*];
    };
}
use tests;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = [("bank", bank::TESTS)];
    let trials = trials.into_iter().flat_map(|(app, tests)| tests.iter().map(move |test| trial(app, *test)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial(app: &str, (name, run): Test) -> Trial {
    Trial::test(format!("{app}::{name}"), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run());
        Ok(())
    })
}
