//! AFT's own workload, in small: what the paper's Table 2 says of a plain store and of AFT is so here.
#![allow(missing_docs, clippy::unwrap_used)]

use aft_simulation::paper::{Row, Settings, System, Table, run};

const SETTINGS: Settings = Settings { transactions: 250, crashes_percent: 5, seed: 7 };

fn row(system: System, settings: Settings) -> Row {
    let row = run(system, settings).unwrap();
    assert_eq!(row.transactions, settings.transactions);
    assert!(row.store_requests > 4 * settings.transactions, "{}", Table(vec![row.clone()]));
    row
}

#[test]
fn the_plain_store_shows_both_anomalies_with_retries_and_without() {
    for system in [System::Plain, System::PlainWithRetries] {
        let row = row(system, SETTINGS);
        assert!(row.unread_writes > 0 && row.fractured > 0, "{}", Table(vec![row.clone()]));
        assert_eq!(row.given_up > 0, system == System::Plain);
    }
}

#[test]
fn aft_shows_neither_and_loses_nothing() {
    for (crashes_percent, seed) in [(0, 1), (5, 7), (30, 3)] {
        let row = row(System::Aft, Settings { crashes_percent, seed, ..SETTINGS });
        let table = Table(vec![row.clone()]);
        assert_eq!((row.unread_writes, row.fractured, row.given_up), (0, 0, 0), "{table}");
        assert_eq!(row.attempts > row.transactions, crashes_percent > 0, "{table}");
    }
}

#[test]
fn the_same_seed_is_the_same_table() {
    let settings = Settings { transactions: 40, ..SETTINGS };
    let table = || Table(System::ALL.map(|system| run(system, settings).unwrap()).into()).to_string();
    assert_eq!(table(), table());
}
