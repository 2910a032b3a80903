//! The workloads, case by case. Figures are those of AFT's paper (Sreekanti et al., EuroSys 2020).

use crate::case::Case;
use crate::system::System;

/// The size of values where a workload does not vary it, as in the paper.
const BYTES: usize = 4_096;
/// And what still fits a write unit with a head's own fields.
const SMALL: usize = 400;
/// Keys that exist.
const KEYS: usize = 1_000;
/// Clients, as in the paper.
const CLIENTS: usize = 10;

fn base(workload: &'static str, x: f64) -> Case {
    Case {
        workload,
        x,
        systems: System::ALL.to_vec(),
        functions: 1,
        reads: 2,
        writes: 1,
        bytes: BYTES,
        zipf: 1.0,
        keys: KEYS,
        clients: CLIENTS,
        sandboxes: 10,
        requests: 1_000,
        works_ms: 0,
        duplicates: 0.0,
        failures: 0.0,
    }
}

fn without(systems: &[System]) -> Vec<System> {
    System::ALL.into_iter().filter(|system| !systems.contains(system)).collect()
}

/// Figure 2: writes of 1 to 10 keys, by one client.
#[must_use]
pub fn writes(sizes: &[usize]) -> Vec<Case> {
    let case = |bytes, writes| Case {
        reads: 0,
        writes,
        bytes,
        zipf: 0.0,
        keys: 40,
        clients: 1,
        sandboxes: 1,
        requests: 250,
        ..base("writes", writes as f64)
    };
    sizes.iter().flat_map(|bytes| [1, 2, 5, 10].map(|writes| case(*bytes, writes))).collect()
}

/// The same by a handler that does something else, too, for 10 ms.
#[must_use]
pub fn writes_beside_work() -> Vec<Case> {
    let cases = writes(&[SMALL]).into_iter().filter(|case| case.writes == 1 || case.writes == 10);
    cases.map(|case| Case { workload: "writes-beside-work", works_ms: 10, ..case }).collect()
}

/// Figure 3: two functions, one after the other, each of which reads two keys and writes one.
#[must_use]
pub fn end_to_end() -> Vec<Case> {
    vec![Case { functions: 2, requests: 10_000, ..base("end-to-end", 1.0) }]
}

/// The same in one function.
#[must_use]
pub fn one_function() -> Vec<Case> {
    vec![Case { reads: 4, writes: 2, requests: 1_000, ..base("one-function", 1.0) }]
}

/// Figure 4: some keys are hotter than others.
#[must_use]
pub fn skew() -> Vec<Case> {
    let case = |zipf| Case {
        systems: without(&[System::Nothing, System::PlainPython]),
        reads: 4,
        writes: 2,
        zipf,
        requests: 500,
        ..base("skew", zipf)
    };
    [1.0, 1.5, 2.0].map(case).to_vec()
}

/// Figure 5: of ten operations so many are reads.
#[must_use]
pub fn reads() -> Vec<Case> {
    let case = |reads| Case {
        systems: without(&[System::Nothing, System::PlainPython]),
        reads,
        writes: 10 - reads,
        requests: 250,
        ..base("reads", reads as f64 * 10.0)
    };
    [0, 2, 4, 6, 8, 10].map(case).to_vec()
}

/// Figure 6: 1 to 10 functions, one after the other.
#[must_use]
pub fn functions() -> Vec<Case> {
    let case = |functions| Case {
        systems: without(&[System::Nothing, System::PlainPython]),
        functions,
        requests: 150,
        ..base("functions", functions as f64)
    };
    [1, 2, 4, 6, 8, 10].map(case).to_vec()
}

/// So many sandboxes, and a client for each, until this machine has no more to give.
#[must_use]
pub fn sandboxes() -> Vec<Case> {
    let case = |sandboxes: u32| Case {
        systems: vec![System::Nothing, System::Sequential, System::Transaction, System::Visible, System::Durable],
        clients: sandboxes as usize,
        sandboxes,
        requests: (200 * sandboxes as usize).min(1_000),
        ..base("sandboxes", f64::from(sandboxes))
    };
    [1, 2, 5, 10, 20, 40].map(case).to_vec()
}

/// Some requests come twice: half of those while the first delivery runs. The work is to add one to two numbers.
#[must_use]
pub fn duplicates() -> Vec<Case> {
    let case = |percent: u32| Case {
        // BatchWriteItem cannot add, and of AFT as published there is only the request pattern.
        systems: without(&[System::Nothing, System::Batch, System::Published, System::Cached]),
        reads: 0,
        writes: 2,
        duplicates: f64::from(percent) / 100.0,
        ..base("duplicates", f64::from(percent))
    };
    [1, 10].map(case).to_vec()
}

/// Some attempts end with their process, at any of their operations.
#[must_use]
pub fn failures() -> Vec<Case> {
    let case = |percent: u32| Case {
        systems: without(&[System::Nothing, System::PlainPython]),
        reads: 4,
        writes: 2,
        requests: 200,
        failures: f64::from(percent) / 100.0,
        ..base("failures", f64::from(percent))
    };
    [10, 20, 30, 40].map(case).to_vec()
}

/// All sizes of values of [`writes`].
pub const SIZES: [usize; 3] = [100, SMALL, BYTES];
/// The one that is run over every storage.
pub const ONE_SIZE: [usize; 1] = [SMALL];
