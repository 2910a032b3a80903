//! What a fuzzer does, in small and always the same: files of the corpus, changed a little, and bytes of any kind.
//!
//! The seed is fixed, so that a run says the same everywhere; what once failed is kept in `mutated.proptest-regressions` and in
//! the corpus.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use aft_fuzz::run;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, RngSeed, TestRunner};

/// What parsers trip over.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\0",
    "\n",
    "\r\n",
    "%",
    "%2F",
    "%00",
    "#",
    "?",
    "/",
    "=",
    "null",
    "-1",
    "1e400",
    "18446744073709551616",
    "\u{e9}",
    "\u{1f600}",
];

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, &'static str),
    Splice(Index, Index, usize),
    Double(Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), 1..20_usize).prop_map(|(at, bytes)| Mutation::Remove(at, bytes)),
        (any::<Index>(), select(TOKENS.as_slice())).prop_map(|(at, token)| Mutation::Insert(at, token)),
        (any::<Index>(), any::<Index>(), 1..80_usize).prop_map(|(at, from, bytes)| Mutation::Splice(at, from, bytes)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, bytes)| Mutation::Double(at, bytes)),
    ]
}

fn mutated(mut data: Vec<u8>, other: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let place = |at: &Index, length: usize| at.index(length + 1);
        let length = data.len();
        match mutation {
            Mutation::Set(at, byte) if length > 0 => data[at.index(length)] = *byte,
            Mutation::Set(..) => {}
            Mutation::Cut(at) => data.truncate(place(at, length)),
            Mutation::Remove(at, bytes) => {
                let at = place(at, length);
                drop(data.drain(at..(at + bytes).min(length)));
            }
            Mutation::Insert(at, token) => {
                let at = place(at, length);
                drop(data.splice(at..at, token.bytes()));
            }
            Mutation::Splice(at, from, bytes) => {
                let (at, from) = (place(at, length), place(from, other.len()));
                let piece = other[from..(from + bytes).min(other.len())].to_vec();
                drop(data.splice(at..at, piece));
            }
            Mutation::Double(at, bytes) => {
                let at = place(at, length);
                let piece = data[at..(at + bytes).min(length)].to_vec();
                drop(data.splice(at..at, piece));
            }
        }
    }
    data
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn holds(target: &str, cases: u32) {
    let files = corpus(target);
    let near = (select(files.clone()), select(files), vec(mutation(), 1..6))
        .prop_map(|(data, other, mutations)| mutated(data, &other, &mutations));
    let any_bytes = vec(any::<u8>(), 0..120);
    let data = prop_oneof![9 => near, 1 => any_bytes, 1 => Just(Vec::new())];
    let persistence = FileFailurePersistence::WithSource("proptest-regressions");
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0xaf7),
        failure_persistence: Some(Box::new(persistence)),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let tried = TestRunner::new(config).run(&data, |data| {
        run(target, &data);
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{target}: {error}"));
}

macro_rules! targets {
    ($($name:ident $cases:literal)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name), $cases);
        })*

        #[test]
        fn every_target_is_here() {
            assert_eq!([$(stringify!($name)),*], aft_fuzz::TARGETS.map(|(name, _)| name));
        }
    };
}

targets! {
    control 1_000
    endpoint 1_000
    event 3_000
    expression 3_000
    history 1_000
    items 600
    journal 1_000
    names 3_000
    runtime_api 1_000
    settings 1_000
    stream 600
}
