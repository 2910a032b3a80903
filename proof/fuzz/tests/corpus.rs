//! Every file of every corpus, through the property that it is for: so the corpus cannot rot, and what a fuzzer once found
//! stays found.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use aft_fuzz::{TARGETS, run};

/// The corpus of a target; events of every source are those of the shim's own tests.
fn folders(target: &str) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = here.join("corpus").join(target);
    let samples = (target == "event").then(|| here.join("../../runtime-shim/tests/events"));
    std::iter::once(own).chain(samples).collect()
}

#[test]
fn every_file_of_the_corpus_has_its_property() {
    let mut broken = Vec::new();
    for (target, _) in TARGETS {
        let files: Vec<_> = folders(target).iter().flat_map(|folder| fs::read_dir(folder).unwrap()).collect();
        assert!(files.len() >= 5, "{target} has a corpus");
        for file in files {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            if catch_unwind(|| run(target, &data)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn there_is_a_corpus_for_every_target_and_no_other() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = fs::read_dir(here.join("corpus"))
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|(name, _)| name));
    let manifest = fs::read_to_string(here.join("targets/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is built for the fuzzer");
    }
}
