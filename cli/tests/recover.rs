//! `aft recover` as its users see it: what it prints, and what it exits with.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use aft_cli::embedded::{Embedded, Storage};
use aft_protocol::id::{Fingerprint, Nonce, SandboxId, TransactionId};
use aft_protocol::key::Key;
use aft_protocol::record::{CommitRecord, Response, Writes};
use aft_protocol::version::{Timestamp, Version};
use aft_store::Store;
use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency};

/// A file with the embedded engine's tables.
struct Data(PathBuf);

impl Data {
    /// Records whose writers died before their first head.
    async fn with_dead(name: &str, records: &[CommitRecord]) -> Self {
        let directory = std::env::temp_dir().join(format!("aft-recover-{name}-{}", std::process::id()));
        let data = Self(directory);
        let (engine, store) = data.open().await;
        store.create_tables().await.unwrap();
        for record in records {
            store.commit(record).await.unwrap();
        }
        engine.stop().await.unwrap();
        data
    }

    fn file(&self) -> PathBuf {
        self.0.join("aft.sqlite")
    }

    async fn open(&self) -> (Embedded, DynamoDb) {
        let engine = Embedded::start(Storage::File(self.file())).await.unwrap();
        let keys = || "local".to_owned();
        let store = DynamoDb::new(&Config {
            data_table: "aft-local".to_owned(),
            transaction_table: "aft-local-transactions".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(engine.endpoint().parse().unwrap()),
            ca_bundle: None,
            credentials: Credentials::Keys { access_key_id: keys(), secret_access_key: keys(), session_token: None },
            reads: ReadConsistency::Strong,
        });
        (engine, store)
    }

    async fn versions<const N: usize>(&self, keys: [&str; N]) -> [Version; N] {
        let (engine, store) = self.open().await;
        let keys = keys.map(|key| Key::new(key).unwrap());
        let heads = store.heads(&BTreeSet::from(keys.clone())).await.unwrap();
        engine.stop().await.unwrap();
        keys.map(|key| heads[&key].current.version)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(number: u64, keys: &[&str]) -> CommitRecord {
    CommitRecord {
        version: Version::new(Timestamp::from_micros(number), TransactionId::from_bits(number.into())),
        nonce: Nonce::from_bits(1),
        writes: keys.iter().map(|key| (Key::new(*key).unwrap(), None)).collect::<Writes>(),
        response: Response { content_type: None, body: "done".into() },
        fingerprint: Fingerprint::of(b"{}"),
        origin: "transfer/r-1".to_owned(),
        sandbox: SandboxId::from_bits(number.into()),
        applied_through: Version::ZERO,
        expires_at_seconds: 4_102_444_800,
    }
}

/// Exit code, standard output and standard error.
fn aft(file: &Path, more: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_aft")).args(["recover", "--data"]).arg(file).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn it_says_what_it_did_and_exits_with_what_is_left() {
    let records = [record(1, &["a", "b"]), record(2, &["c"])];
    let data = Data::with_dead("all", &records).await;
    let ids = records.each_ref().map(|record| record.transaction().to_string());
    let before = data.versions(["a", "b", "c"]).await;

    let (code, out, errors) = aft(&data.file(), &["--dry-run"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{out}");
    for line in
        [&format!("would roll forward {} (transfer/r-1, 2 keys)", ids[0]), &format!("would roll forward {}", ids[1])]
    {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(out.contains("0 applied, 0 rolled forward, 2 to roll forward; 2 items"), "{out}");
    assert_eq!(data.versions(["a", "b", "c"]).await, before, "a dry run changes nothing");

    let (code, out, _) = aft(&data.file(), &["--transaction", &ids[1]]);
    assert_eq!((code, out.contains(&format!("rolled forward {}", ids[1]))), (0, true), "{out}");
    assert_eq!(data.versions(["a", "c"]).await, [Version::ZERO, records[1].version]);

    let (code, out, _) = aft(&data.file(), &[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("1 applied, 1 rolled forward;"), "{out}");
    assert_eq!(data.versions(["a", "b"]).await, [records[0].version; 2]);
    let (code, out, _) = aft(&data.file(), &[]);
    assert_eq!((code, out.contains("2 applied, 0 rolled forward")), (0, true), "{out}");
}

#[tokio::test]
async fn what_cannot_be_done_is_named() {
    let data = Data::with_dead("none", &[]).await;
    let id = TransactionId::from_bits(1).to_string();
    let (code, out, _) = aft(&data.file(), &["--transaction", &id]);
    assert_eq!(code, 1);
    assert!(out.contains(&format!("could not apply {id}: there is no commit record")), "{out}");

    for (more, why) in
        [(&["--data-table", "other"][..], "no such table"), (&["--transaction", "x"], "not a transaction ID")]
    {
        let (code, out, errors) = aft(&data.file(), more);
        assert_eq!((code, out.as_str()), (2, ""), "{errors}");
        assert!(errors.contains(why), "{errors}");
    }
    let nowhere = data.0.join("nowhere.sqlite");
    let (code, _, errors) = aft(&nowhere, &[]);
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
    assert!(errors.contains("there is no file") && !nowhere.exists(), "{errors}");
}
