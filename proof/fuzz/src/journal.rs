//! The journal that an extension which died has left in `/tmp`.
//!
//! The bytes are the file. An extension that starts beside it asks for the records of exactly the transactions that a whole
//! journal names, and for none if anything of it is torn or foreign.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aft_extension::session::{Journal, Session};
use aft_protocol::id::{SandboxId, TransactionId};
use aft_protocol::version::Version;
use aft_store::faults::{Call, Fault, Faulty};
use aft_store::memory::Memory;
use tokio::time::sleep;

use crate::endpoint::{behaviour, sources};
use crate::history::scratch;
use crate::items::block_on;

/// The target.
pub fn check(data: &[u8]) {
    let socket = scratch("socket");
    let file = socket.with_file_name(format!("{}.journal", socket.file_name().unwrap().to_str().unwrap()));
    fs::write(&file, data).unwrap();
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let calls = Arc::clone(&asked);
    block_on(async {
        let store = Faulty::new(Memory::new(), move |call: &Call| {
            if let Call::Records(transactions) = call {
                calls.lock().unwrap().extend(transactions.iter().copied());
            }
            Fault::None
        });
        let session = Session::with_journal(store, behaviour(), sources(), Journal::beside(&socket));
        session.recover();
        sleep(Duration::from_secs(60)).await;
    });
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    assert_eq!(asked, named(data), "{:?}", String::from_utf8_lossy(data));
    if !asked.is_empty() {
        // Its entries are settled: there was nothing to be done.
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            (text.lines().count(), named(text.as_bytes()).len()),
            (2, 0),
            "what is settled is taken out: {text}"
        );
    }
    fs::remove_file(&file).unwrap();
}

/// The transactions that a whole journal names.
#[must_use]
pub fn named(data: &[u8]) -> BTreeSet<TransactionId> {
    let whole = || {
        let text = std::str::from_utf8(data.get(..1_024).unwrap_or(data)).ok()?;
        let mut lines: Vec<_> = text.strip_suffix('\n')?.split('\n').collect();
        let is_whole = (2..=10).contains(&lines.len())
            && lines.remove(0) == "aft-journal 1"
            && lines.pop()?.trim_start_matches(' ') == "end";
        if !is_whole {
            return None;
        }
        let transaction = |line: &str| {
            let (sandbox, version) = line.split_once(' ')?;
            sandbox.parse::<SandboxId>().ok()?;
            Some(version.parse::<Version>().ok()?.transaction())
        };
        lines.into_iter().map(transaction).collect::<Option<BTreeSet<_>>>()
    };
    whole().unwrap_or_default()
}
