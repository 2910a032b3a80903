//! The event of the fault manager: a batch of changes of the transaction table.
//!
//! The bytes are Lambda's event. Every record that is decoded says in its image what came of it; whatever is none fails by
//! itself, under its own sequence number, and no other with it.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_fault_manager::batch;
use aft_fault_manager::event::Event;
use aft_store::ErrorKind;
use aft_store::retry::Patience;
use serde_json::Value;
use tokio::time::Instant;

use crate::database;
use crate::items::{block_on, record_says};

/// The target.
pub fn check(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
    // No head is there, every move succeeds, and chunks are missing.
    let store = database::store(|_, _| (200, b"{}".to_vec()));
    let (mut malformed, mut in_part) = (BTreeSet::new(), BTreeSet::new());
    for record in event.records.iter().filter(|record| record.is_commit()) {
        let found = record.new_image().map(|image| (image, store.found_in_stream(image)));
        match found {
            None => drop(malformed.insert(record.sequence_number().to_string())),
            Some((_, Err(error))) => {
                assert_eq!((error.kind(), error.to_string().lines().count()), (ErrorKind::Malformed, 1), "{error}");
                malformed.insert(record.sequence_number().to_string());
            }
            Some((image, Ok(found))) => {
                let image: Value = serde_json::from_str(image).unwrap();
                if found.is_whole() {
                    record_says(&image, None, &block_on(store.whole(&found)).unwrap());
                } else {
                    in_part.insert(record.sequence_number().to_string());
                }
            }
        }
    }
    let failed: BTreeSet<_> = block_on(async {
        let patience = Patience { until: Instant::now() + Duration::from_secs(1), random: &|| 7 };
        let answer = batch::recover(&store, event, 1, patience).await;
        answer.batch_item_failures.iter().map(|failure| failure.item_identifier.to_string()).collect()
    });
    assert!(failed.is_superset(&malformed), "what cannot be read is reported");
    assert!(failed.iter().all(|name| malformed.contains(name) || in_part.contains(name)), "no other fails with it");
}
