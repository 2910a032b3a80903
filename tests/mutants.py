#!/usr/bin/env python3
"""Breaks the protocol on purpose, one rule at a time, and asks whether a test notices: `make mutants`.

Works on a copy under target/mutants. Exits with 1 if a mutant survives, does not compile, or no longer fits the source.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"
CRATES = ["protocol", "store", "extension", "runtime-shim", "fault-manager", "proof/history", "proof/simulation"]
# Of the others only what the simulation is made of.
TESTED = ["protocol", "store", "extension", "proof/simulation"]
# Of the simulation only the histories: what else is tested of it is about itself.
ARGUMENTS = {"aft-store": ["--features", "testing"], "aft-simulation": ["--test", "histories", "keep_every_promise"]}

# (rule, what is broken, file, what stands there, what stands there instead)
MUTANTS = [
    ("R-READ-1", "a newer sibling may be read", "protocol/src/atomic_read.rs",
     "!others.iter().any(older)", "{ let _ = older; true }"),
    ("R-READ-1", "the lower bound is ignored", "protocol/src/atomic_read.rs",
     "if is_older(version) {", "if false {"),
    ("R-READ-1", "what has expired does not keep from what is older", "protocol/src/atomic_read.rs",
     "|| (version < newest && !version.is_zero())", "|| (version < newest && version.is_zero() && !lower.is_zero())"),
    ("R-READ-1", "absent keys do not count", "protocol/src/atomic_read.rs",
     "is_some_and(|read| read.version < entry.version)",
     "is_some_and(|read| !read.version.is_zero() && read.version < entry.version)"),
    ("R-READ-2", "own writes are not read", "protocol/src/attempt.rs",
     "let value = self.writes.get(key)?;", "let value = self.writes.get(key).filter(|_| false)?;"),
    ("R-READ-2", "a forgotten value comes back as a newer one", "protocol/src/atomic_read.rs",
     "let is_it = |found: &&Entry| found.version == read.version;",
     "let is_it = |found: &&Entry| found.version >= read.version;"),
    ("R-READ-6", "what is behind a version that is gone is read", "protocol/src/atomic_read.rs",
     "Known::Missing | Known::Gone => return Choice::Conflict,", "Known::Missing | Known::Gone => is_gone = true,"),
    ("R-READ-6", "what is behind a previous version that is gone is read", "protocol/src/atomic_read.rs",
     "let is_hidden = is_gone;", "let is_hidden = false;"),
    ("R-READ-3", "a conflict is an absence", "protocol/src/atomic_read.rs",
     "if was_absent { Choice::Accept(Entry::absent()) } else { Choice::Conflict }",
     "{ let _ = was_absent; Choice::Accept(Entry::absent()) }"),
    ("R-READ-3", "what is gone was absent", "protocol/src/atomic_read.rs",
     "head.reaches_birth() && !is_gone", "head.reaches_birth() && (!is_gone || is_gone)"),
    ("R-READ-6", "the expired constrain for ever", "protocol/src/head.rs",
     "self.record_expires_at_seconds <= now_seconds", "self.record_expires_at_seconds <= now_seconds && now_seconds == 0"),
    ("R-READ-6", "nothing constrains", "protocol/src/head.rs",
     "self.record_expires_at_seconds <= now_seconds", "self.record_expires_at_seconds <= now_seconds || now_seconds > 0"),
    ("R-READ-1", "a version is left to a record that may be gone", "protocol/src/head.rs",
     "if self.current.record_expires_at_seconds <= until_seconds {", "if self.current.record_expires_at_seconds <= until_seconds && until_seconds == 0 {"),
    ("R-READ-4", "what is known is asked for again", "protocol/src/attempt.rs",
     "Ok(self.reads.get(key).cloned().map(Seen::Read))", "Ok(None)"),
    ("R-READ-4", "older records one by one", "protocol/src/atomic_read.rs",
     ".filter(|id| !records.contains_key(id)));", ".filter(|id| !records.contains_key(id)).take(1));"),
    ("R-READ-5", "a stale head is read whatever was read before", "protocol/src/attempt.rs",
     "let Choice::Accept(entry) = self.reads.read(key, head, &Records::new(), now_seconds) else { return Ok(None) };",
     "let entry = head.current.clone();"),
    ("R-READ-5", "a cached head is never too old", "extension/src/session/cache.rs",
     "if age_seconds > max_age_seconds.min(limits::STALENESS_SECONDS) {", "if age_seconds > u64::MAX - max_age_seconds.min(limits::STALENESS_SECONDS) {"),
    ("R-READ-5", "the cache keeps what the sandbox has written over", "extension/src/session/apply.rs",
     "session.cache().forget(record.writes.keys());", "session.cache().forget([]);"),
    ("R-READ-5", "an answer from before one's own commit is cached after it", "extension/src/session/cache.rs",
     "if asked.epoch != self.epoch || is_known {", "if is_known {"),
    ("R-COMMIT-1", "heads before the record", "extension/src/session/commit.rs",
     "let written = if terms.is_none() {",
     "let _ = self.finish_apply(&record, open.deadline).await;\n"
     "        let written = if terms.is_none() {"),
    ("R-COMMIT-2", "a duplicate gives its own answer", "extension/src/session/commit.rs",
     "return self.answer_from(&existing, open).await;",
     "let _ = existing;\n                return CommitResult::Committed;"),
    ("R-COMMIT-2", "a duplicate does not finish the apply", "extension/src/session/commit.rs",
     "match self.finish_apply(existing, open.deadline).await {", "match Ok::<(), StoreError>(()) {"),
    ("R-COMMIT-2", "the record is written unconditionally", "store/src/memory.rs",
     "Some(existing) => Ok(Committed::Before(Box::new(existing.clone()))),",
     "Some(_) => {\n                tables.records.insert(record.transaction(), record.clone());\n                Ok(Committed::Now)\n            }"),
    ("R-COMMIT-2", "another payload gets the recorded response", "extension/src/session/commit.rs",
     "if existing.fingerprint != open.attempt().identity().fingerprint {", "if false {"),
    ("R-COMMIT-3", "the clock ignores what was read", "extension/src/session/mod.rs",
     "PoisonError::into_inner).observe(version);", "PoisonError::into_inner);\n        let _ = version;"),
    ("R-COMMIT-3", "what is written unread is not looked up", "extension/src/session/write.rs",
     "self.look_up_written(open, keys);", "let _: Vec<Key> = keys;"),
    ("R-COMMIT-3", "the commit does not wait for the look-ups", "extension/src/session/commit.rs",
     "if let Err(error) = open.known.complete(open.deadline).await {", "if let Err(error) = Ok::<(), StoreError>(()) {"),
    ("R-COMMIT-3", "look-ups are as eventual as reads", "extension/src/session/fetch.rs",
     "self.inner.store.latest_heads(&keys)", "self.inner.store.heads(&keys)"),
    ("R-COMMIT-3", "an eventual read counts as a look-up", "extension/src/session/fetch.rs",
     "self.fetched(&open.known, &heads, latest, Some(asked)", "self.fetched(&open.known, &heads, true, Some(asked)"),
    ("R-COMMIT-4", "anybody's record is one's own", "extension/src/session/commit.rs",
     "if existing.nonce == own.nonce {", "if !own.writes.is_empty() || existing.nonce == own.nonce {"),
    ("R-COMMIT-4", "unknown is called failed", "extension/src/session/commit.rs",
     "may_have_applied |= error.kind().may_have_applied();", "may_have_applied &= error.kind().may_have_applied();"),
    ("R-COMMIT-5", "heads move back", "protocol/src/head.rs",
     "if entry.version <= self.current.version {", "if entry.version == self.current.version {"),
    ("R-COMMIT-6", "visible does not wait", "extension/src/session/commit.rs",
     "Ack::Durable => CommitResult::Committed,", "_ => CommitResult::Committed,"),
    ("R-COMMIT-7", "nothing is written down too", "extension/src/session/commit.rs",
     "let records_nothing = intent.writes.is_empty() &&", "let records_nothing = false && intent.writes.is_empty() &&"),
    ("R-COMMIT-8", "an abort commits", "extension/src/session/mod.rs",
     "        let open = self.take(transaction, number)?;\n        let (fingerprint, doom, intent) = {",
     "        let response = Response { content_type: None, body: Default::default() };\n"
     "        let _ = self.commit(transaction, number, response).await;\n"
     "        let Ok(open) = self.take(transaction, number) else { return Ok(Aborted::Gone) };\n"
     "        let (fingerprint, doom, intent) = {"),
    ("R-COMMIT-9", "a full buffer takes more", "protocol/src/attempt.rs",
     "if bytes > limits::TRANSACTION_BYTES {", "if bytes > 2 * limits::TRANSACTION_BYTES {"),
    ("R-FM-1", "half-applied is applied", "store/src/recovery.rs",
     "record.writes.keys().all(|key| heads", "record.writes.keys().any(|key| heads"),
    ("R-FM-1", "heads that are behind are skipped", "store/src/roll_forward.rs",
     "before.version >= entry.version", "before.version <= entry.version"),
    ("R-FM-1", "what expired long ago is rolled forward", "store/src/roll_forward.rs",
     "if is_past_recovery(record, now_seconds) {", "if is_past_recovery(record, 0 * now_seconds) {"),
    ("R-FM-2", "the previous apply is not waited for", "extension/src/session/commit.rs",
     "if let Err(error) = self.settle_previous(open.deadline).await {", "if let Err(error) = Ok::<(), StoreError>(()) {"),
    ("R-FM-2", "commits do not take turns", "extension/src/session/commit.rs",
     "self.inner.turn.lock()", "async { drop(self.inner.turn.lock().await) }"),
    ("R-FM-2", "an unknown outcome is passed over", "extension/src/session/commit.rs",
     "if matches!(failed, CommitResult::Unknown(..)) {", "if false {"),
    ("R-FM-2", "a late reader hides a failed apply", "extension/src/session/apply.rs",
     "record.version > self.through && is_last", "{ let _ = is_last; true }"),
    ("R-COMMIT-2", "an explicit key is worked on again", "extension/src/session/explicit.rs",
     "if let Some(record) = self.record_of(transaction, owner.deadline).await? {",
     "if let Some(record) = self.record_of(transaction, owner.deadline).await?.filter(|_| false) {"),
    ("R-COMMIT-2", "another payload gets the recorded response", "extension/src/session/explicit.rs",
     "if record.fingerprint == fingerprint {", "if record.fingerprint == fingerprint || !record.origin.is_empty() {"),
    ("R-COMMIT-8", "what is open outlives its attempt", "extension/src/session/table.rs",
     "state.close(|other| other.belongs_to(&open))", "{ let _ = &open; state.close(|_| false) }"),
    ("R-COMMIT-2", "DynamoDB: the record is written unconditionally", "store/src/dynamodb/record_item.rs",
     'IF_ABSENT: &str = "attribute_not_exists(id)"', 'IF_ABSENT: &str = "attribute_not_exists(nothing)"'),
    ("R-COMMIT-4", "DynamoDB: what was cut off did not happen", "store/src/dynamodb/error.rs",
     "Self::StoreFault | Self::Unreadable => ErrorKind::Unknown", "Self::StoreFault | Self::Unreadable => ErrorKind::Unavailable"),
    ("R-COMMIT-5", "DynamoDB: heads move back", "store/src/dynamodb/head_item.rs",
     "attribute_not_exists(k) OR t < :t", "attribute_not_exists(k) OR t <> :t"),
    ("R-READ-5", "DynamoDB: records may be stale", "store/src/dynamodb/mod.rs",
     "let items = self.get_all(&self.transactions, item_keys, ReadConsistency::Strong).await?;",
     "let items = self.get_all(&self.transactions, item_keys, self.reads).await?;"),
    ("R-FM-3", "readers do not roll forward", "extension/src/session/read.rs",
     "if entry.version <= head.current.version {", "if true {"),
    ("R-FM-4", "a transaction is not noted", "extension/src/session/commit.rs",
     "self.inner.journal.note(record.sandbox, record.version);",
     "let _ = || self.inner.journal.note(record.sandbox, record.version);"),
    ("R-FM-4", "an unknown outcome is forgotten", "extension/src/session/commit.rs",
     "self.inner.applies.go_on_as(SandboxId::from_bits(self.inner.sources.random()));",
     "self.inner.applies.go_on_as(SandboxId::from_bits(self.inner.sources.random()));\n"
     "                    self.inner.journal.settled(record.version);"),
    ("R-FM-4", "commits do not wait for what was left", "extension/src/session/apply.rs",
     "self.recovered(deadline).await?;", "let _ = self.recovered(deadline);"),
    ("R-FM-4", "what is applied stays noted", "extension/src/session/apply.rs",
     "session.inner.journal.settled(record.version);", ""),
    ("R-SER-1", "what was only read is not insisted on", "protocol/src/attempt.rs",
     "let read = self.reads.versions().filter(|(key, _)| self.is_in_step(key));",
     "let read = self.reads.versions().filter(|(key, _)| self.is_in_step(key) && self.writes.contains_key(*key));"),
    ("R-SER-1", "absence is not insisted on", "protocol/src/attempt.rs",
     "let read = self.reads.versions().filter(|(key, _)| self.is_in_step(key));",
     "let read = self.reads.versions().filter(|(key, version)| self.is_in_step(key) && !version.is_zero());"),
    ("R-SER-1", "blind heads follow the record one by one", "protocol/src/step.rs",
     "if isolation.is_serializable() || guards.contains_key(key) {", "if guards.contains_key(key) {"),
    ("R-SER-1", "what is outdated is read on", "protocol/src/attempt.rs",
     "self.isolation.is_serializable() && entry.version < head.current.version",
     "self.isolation.is_serializable() && entry.version > head.current.version"),
    ("R-SER-2", "a blind write that is refused keeps its version", "extension/src/session/step.rs",
     "record.version = Version::new(self.tick(), record.transaction());", ""),
    ("R-SER-3", "what only read is not validated", "extension/src/session/commit.rs",
     "None if intent.is_proven =>", "None if intent.is_proven || !intent.is_proven =>"),
    ("R-SER-3", "an error may come of what never was", "extension/src/session/step.rs",
     "if intent.is_proven || !intent.isolation.is_serializable() {", "if intent.is_proven || !intent.is_proven {"),
    ("R-SER-3", "a validation is a second look", "store/src/dynamodb/mod.rs",
     "        let differences = self.differences(guards).await?;",
     "        let heads = self.latest_heads(&guards.keys().cloned().collect()).await?;\n"
     "        let now = heads.into_iter().map(|(key, head)| (key, head.current.version));\n"
     "        let changed = now.filter(|(key, version)| guards.get(key) != Some(version)).collect();\n"
     "        let differences = Obstacles { changed, ..Obstacles::default() };"),
    ("R-SER-3", "what was read at once proves what was read later", "protocol/src/attempt.rs",
     "guards.len() < 2 || guards.iter().all(was_at_once);", "guards.len() < 2 || guards.iter().any(was_at_once);"),
    ("R-SER-3", "what was read key by key counts as read at once", "extension/src/session/fetch.rs",
     "        let asked = self.asked();\n        let mut latest", "        let asked = self.asked();\n        let seen = self.inner.store.latest_heads(keys).await?;\n        open.attempt().begin_with(&seen);\n        let mut latest"),
    ("R-SER-4", "what may have happened is called a conflict", "extension/src/session/step.rs",
     "                    if may_have_applied {\n", "                    if false {\n"),
    ("R-SER-4", "an attempt conflicts with itself", "extension/src/session/step.rs",
     "        if may_have_applied {\n            match self.record_of", "        if false {\n            match self.record_of"),
    ("R-SER-4", "what a conflict was about stays in the cache", "extension/src/session/commit.rs",
     "self.cache().forget(attempt.keys_read());", "self.cache().forget([]);"),
    ("R-SER-4", "the next attempt reads eventually", "extension/src/session/fetch.rs",
     "self.inner.behaviour.reads_strongly || open.insists_on_the_latest();", "self.inner.behaviour.reads_strongly;"),
    ("R-SER-4", "others under way are a conflict at once", "extension/src/session/step.rs",
     "if refused <= MORE_TRIES && (", "if false && ("),
    ("R-SER-4", "what has been overtaken is tried again", "extension/src/session/step.rs",
     "let heads = tries.run(self.inner.store.latest_heads(&keys)).await.ok()?;",
     "let heads = tries.run(self.inner.store.latest_heads(&keys)).await.ok().filter(|_| false)?;"),
    ("R-SER-5", "a condition is forgotten when it has been looked at", "extension/src/session/write.rs",
     "attempt.write_guarded(key, value).map_err(refused)",
     "attempt.write(Writes::from([(key.clone(), value)])).map_err(refused)"),
    ("R-SER-6", "a serializable transaction reads without end", "protocol/src/attempt.rs",
     "Isolation::Serializable => self.step.check_number(keys),", "Isolation::Serializable => Ok(drop(keys)),"),
    ("R-SER-6", "what is read has any size", "protocol/src/attempt.rs",
     "self.step.read(key, bytes)?;", "self.step.read(key, 0)?;"),
    ("R-SER-1", "DynamoDB: keys that were only read are not checked", "store/src/dynamodb/step.rs",
     "for (key, version) in terms.guards.iter().filter(|(key, _)| !terms.moves.contains_key(*key)) {",
     "for (key, version) in terms.guards.iter().filter(|(key, _)| terms.moves.contains_key(*key) && false) {"),
    ("R-SER-1", "DynamoDB: what was read as absent may be there", "store/src/dynamodb/head_item.rs",
     "return (IF_ABSENT, None);", 'return ("attribute_not_exists(k) OR attribute_exists(k)", None);'),
    ("R-SER-1", "DynamoDB: a head that was read moves if it is older", "store/src/dynamodb/step.rs",
     "terms.guards.get(key).map_or(If::Newer, |version| If::At(*version))",
     "terms.guards.get(key).map_or(If::Newer, |version| if version.is_zero() { If::At(*version) } else { If::Newer })"),
    ("R-SER-1", "DynamoDB: a head that was read as absent moves if it is older", "store/src/dynamodb/step.rs",
     "terms.guards.get(key).map_or(If::Newer, |version| If::At(*version))",
     "terms.guards.get(key).map_or(If::Newer, |version| if version.is_zero() { If::Newer } else { If::At(*version) })"),
    ("R-COMMIT-5", "DynamoDB: a head that was read moves back", "store/src/dynamodb/head_item.rs",
     'IF_AT_AND_NEWER: &str = "t = :read AND t < :t"', 'IF_AT_AND_NEWER: &str = "t = :read"'),
    ("R-COMMIT-2", "DynamoDB: a step's record is written unconditionally", "store/src/dynamodb/step.rs",
     ".condition_expression(record_item::IF_ABSENT)", '.condition_expression("attribute_not_exists(nothing)")'),
    ("R-COMMIT-2", "DynamoDB: obstacles hide an existing record", "store/src/dynamodb/step.rs",
     "Reason::Condition(Some(existing)) => return Ok(Step::Recorded(existing)),", "Reason::Condition(Some(_)) => {}"),
    ("R-SER-4", "DynamoDB: what is under way has changed", "store/src/dynamodb/step.rs",
     '"TransactionConflict" => Ok(Self::Contended),', '"TransactionConflict" => Ok(if true { Self::Condition(None) } else { Self::Contended }),'),
    ("R-SER-4", "DynamoDB: a step that may be under way did not happen", "store/src/dynamodb/error.rs",
     '"RequestTimeout" | "RequestTimeoutException" | "TransactionInProgressException") => Self::TimedOut,',
     '"RequestTimeout" | "RequestTimeoutException") => Self::TimedOut,'),
    ("R-SER-3", "DynamoDB: a validation passes over what was absent", "store/src/dynamodb/step.rs",
     "if found != *expected {", "if found != *expected && !expected.is_zero() {"),
    ("R-SER-3", "DynamoDB: a validation that was cancelled holds", "store/src/dynamodb/step.rs",
     "let says_why = obstacles != Obstacles::default();", "let says_why = true;"),
    ("R-SER-1", "memory: what was read as absent may be there", "store/src/memory.rs",
     "found.filter(|(_, expected, found)| expected != found)",
     "found.filter(|(_, expected, found)| expected != found && !expected.is_zero())"),
    ("R-FM-2", "nobody is told that a step has applied itself", "extension/src/session/apply.rs",
     "            self.inner.applies.own().is_applied(&record);\n", ""),
]


def fits():
    """Whether every mutant still has its place."""
    for rule, what, file, before, _ in MUTANTS:
        if before not in (ROOT / file).read_text():
            sys.exit(f"{rule}, {what}: {file} no longer has {before!r}")


def prepare():
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for crate in CRATES:
        # Written now: a run that was cut off has left a build of a mutant, which is older.
        shutil.copytree(ROOT / crate, COPY / crate, copy_function=shutil.copyfile)
        if crate not in TESTED:
            manifest = COPY / crate / "Cargo.toml"
            manifest.write_text(re.sub(r"\[dev-dependencies\]\n(?:[^\[].*\n|\n)*", "", manifest.read_text()))
    for name in ["Cargo.lock", "clippy.toml"]:
        shutil.copy(ROOT / name, COPY)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"exclude = \[.*?\]\n", "", manifest)
    manifest = re.sub(r"members = \[.*?\]", f"members = {CRATES}".replace("'", '"'), manifest)
    manifest = manifest.replace('warnings = "deny"', 'warnings = "allow"')
    (COPY / "Cargo.toml").write_text(re.sub(r"^aft-(cli|tests|model) = .*\n", "", manifest, flags=re.M))


def failing_tests(crates):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target" / "mutants-build"), HISTORIES="300", DYNAMODB_HISTORIES="20",
                       RUST_BACKTRACE="0")
    # The first that notices is enough.
    for package in crates:
        # One build of the store for all, with what the extension's tests need of it.
        run = subprocess.run(["cargo", "test", "-p", package, *ARGUMENTS.get(package, [])], cwd=COPY, env=environment,
                             capture_output=True, text=True)
        output = run.stdout + run.stderr
        if "could not compile" in output:
            print(output[-3000:], file=sys.stderr)
            return None
        if failures := sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED$", output, re.M))):
            return failures
        # Neither good nor bad: nothing is known then.
        if run.returncode != 0:
            sys.exit(f"cargo test -p {package} failed, and no test did: {output[-3000:]}")
    return []


def main():
    fits()
    if sys.argv[1:] == ["--fits"]:
        return
    prepare()
    if (failures := failing_tests(["aft-protocol", "aft-store", "aft-extension", "aft-simulation"])) != []:
        sys.exit(f"tests fail without any mutant: {failures}")
    survived = 0
    # With words, only those that one of them is part of.
    wanted = [mutant for mutant in MUTANTS if not sys.argv[1:] or any(word in " ".join(mutant[:3]) for word in sys.argv[1:])]
    for rule, what, file, before, after in wanted:
        path = COPY / file
        source = path.read_text()
        path.write_text(source.replace(before, after, 1))
        # The store has tests of its own for what it does; they say nothing of other crates.
        caught = failing_tests(["aft-store", "aft-extension", "aft-simulation"] if file.startswith("store/") else ["aft-protocol", "aft-extension", "aft-simulation"])
        path.write_text(source)
        survived += not caught
        verdict = "DOES NOT COMPILE" if caught is None else "caught" if caught else "SURVIVED"
        print(f"{verdict}  {rule:<11} {what}: {', '.join((caught or [])[:3])}", flush=True)
    print(f"{len(wanted) - survived} of {len(wanted)} mutants caught")
    sys.exit(1 if survived else 0)


main()
