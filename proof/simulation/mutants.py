#!/usr/bin/env python3
"""Breaks the protocol on purpose and asks after how many seeds the simulation notices: `make sim-mutants`.

All of it at once: a copy of the sources gets every bug, each behind a switch of its own (`AFT_MUTANT=number`), and is built
once. Nothing of that is in the sources themselves. Prints the table of docs/proof.md. Exits with 1 if a bug is not noticed, or no
longer fits the source, or if the copy finds anything with all switches off.

    proof/simulation/mutants.py [--profile sim] [--memory 3000] [--dynamodb 150] [--only NUMBER…]
    proof/simulation/mutants.py --fits      # in `make check`
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COPY = ROOT / "target" / "simulated-mutants"
CRATES = ["protocol", "store", "extension", "runtime-shim", "fault-manager", "proof/history", "proof/simulation"]

# (rule, what is broken, file, what stands there, what stands there instead; perhaps another file and so on). Where the last begins with a brace it is all of
# the new text, with BROKEN for the switch; otherwise both are expressions.
MUTANTS = [
    ("R-READ-1", "the lower bound is dropped", "protocol/src/atomic_read.rs",
     "version < lower || (version < newest && !version.is_zero())", "version != version"),
    ("R-READ-1", "the cowritten check is skipped", "protocol/src/atomic_read.rs",
     "!others.iter().any(older)", "others.len() < usize::MAX"),
    ("R-READ-1", "absent keys are forgotten", "protocol/src/atomic_read.rs",
     "self.entries.get(other).is_some_and(|read| read.version < entry.version)",
     "self.entries.get(other).is_some_and(|read| !read.version.is_zero() && read.version < entry.version)"),
    ("R-READ-2", "own writes are not read", "protocol/src/attempt.rs",
     "self.writes.get(key)?", "self.writes.get(key).filter(|_| false)?"),
    ("R-READ-2", "reads are not repeatable", "protocol/src/attempt.rs",
     "Ok(self.reads.get(key).cloned().map(Seen::Read))", "Ok(None)",
     "protocol/src/atomic_read.rs",
     "Some(read) => Choice::Accept(read.clone()),",
     "{Some(_) if BROKEN => self.choose(key, head, records, now_seconds),\n            Some(read) => Choice::Accept(read.clone()),"),
    ("R-READ-3", "a conflict is an absence", "protocol/src/atomic_read.rs",
     "if was_absent { Choice::Accept(Entry::absent()) } else { Choice::Conflict }",
     "Choice::Accept(Entry::absent())",
     "protocol/src/atomic_read.rs",
     "Known::Missing | Known::Gone => return Choice::Conflict,",
     "{Known::Missing | Known::Gone if BROKEN => return Choice::Accept(Entry::absent()),\n"
     "                Known::Missing | Known::Gone => return Choice::Conflict,"),
    ("R-READ-5", "what is cached is read whatever was read before", "protocol/src/attempt.rs",
     "let Choice::Accept(entry) = self.reads.read(key, head, &Records::new(), now_seconds) else { return Ok(None) };",
     "{let chosen = if BROKEN { Choice::Accept(head.current.clone()) } else { self.reads.read(key, head, &Records::new(), now_seconds) };\n"
     "        let Choice::Accept(entry) = chosen else { return Ok(None) };"),
    ("R-READ-6", "nothing constrains", "protocol/src/head.rs",
     "self.record_expires_at_seconds <= now_seconds", "self.record_expires_at_seconds > 0"),
    ("R-COMMIT-1", "heads are applied before the record", "extension/src/session/commit.rs",
     "let written = if terms.is_none() {",
     "{if BROKEN {\n            let _ = self.finish_apply(&record, open.deadline).await;\n        }\n        let written = if terms.is_none() {"),
    ("R-COMMIT-2", "the record is written without its condition", "store/src/memory.rs",
     "match tables.records.get(&record.transaction()) {",
     "{match tables.records.get(&record.transaction()).filter(|_| !BROKEN) {"),
    ("R-COMMIT-2", "the same in DynamoDB", "store/src/dynamodb/mod.rs",
     "record_item::IF_ABSENT, None)", "{if BROKEN { \"attribute_not_exists(nothing)\" } else { record_item::IF_ABSENT }, None)"),
    ("R-COMMIT-2", "a duplicate gives its own answer", "extension/src/session/commit.rs",
     "Ok(()) => CommitResult::Duplicate(existing.response.clone()),",
     "{Ok(()) if BROKEN => CommitResult::Committed,\n            Ok(()) => CommitResult::Duplicate(existing.response.clone()),"),
    ("R-COMMIT-2", "an explicit key is worked on again", "extension/src/session/explicit.rs",
     "if let Some(record) = self.record_of(transaction, owner.deadline).await? {",
     "{if let Some(record) = self.record_of(transaction, owner.deadline).await?.filter(|_| !BROKEN) {"),
    ("R-COMMIT-3", "the timestamp is that of the begin", "extension/src/session/commit.rs",
     "Version::new(self.tick(), identity.transaction)",
     "Version::new(aft_protocol::version::Timestamp::from_micros(self.tick().as_micros() - 400_000), identity.transaction)"),
    ("R-COMMIT-3", "the clock ignores what was read", "extension/src/session/mod.rs",
     "    fn observe(&self, version: Version) {",
     "{    fn observe(&self, version: Version) {\n        if BROKEN {\n            return;\n        }"),
    ("R-COMMIT-3", "what is written unread is not looked up", "extension/src/session/write.rs",
     "self.look_up_written(open, keys);", "{if !BROKEN {\n            self.look_up_written(open, keys);\n        }"),
    ("R-COMMIT-4", "anybody's record is one's own", "extension/src/session/commit.rs",
     "if existing.nonce == own.nonce {", "{if BROKEN || existing.nonce == own.nonce {"),
    ("R-COMMIT-4", "unknown is called failed", "extension/src/session/commit.rs",
     "pub(super) fn not_recorded(error: &StoreError, may_have_applied: bool) -> CommitResult {",
     "{pub(super) fn not_recorded(error: &StoreError, may_have_applied: bool) -> CommitResult {\n"
     "    let may_have_applied = may_have_applied && !BROKEN;"),
    ("R-COMMIT-5", "heads move back", "protocol/src/head.rs",
     "entry.version <= self.current.version", "entry.version == self.current.version"),
    ("R-COMMIT-6", "visible does not wait", "extension/src/session/commit.rs",
     "Ack::Visible => match wait_for(applying, open.deadline).await {",
     "{Ack::Visible if BROKEN => CommitResult::Committed,\n            Ack::Visible => match wait_for(applying, open.deadline).await {"),
    ("R-COMMIT-8", "an abort commits", "extension/src/session/mod.rs",
     "        let open = self.take(transaction, number)?;\n        let (fingerprint, doom, intent) = {",
     "{        if BROKEN {\n"
     "            let body = bytes::Bytes::from(format!(\"{}/aborted\", transaction.low_bits()));\n"
     "            let _ = self.commit(transaction, number, Response { content_type: None, body }).await;\n"
     "            return Ok(Aborted::Gone);\n        }\n"
     "        let open = self.take(transaction, number)?;\n        let (fingerprint, doom, intent) = {"),
    ("R-COMMIT-9", "the last chunk is lost", "store/src/dynamodb/mod.rs",
     "let writes = stream::iter(0..chunks.len()).map(write);",
     "{let writes = stream::iter(0..chunks.len() - usize::from(BROKEN && !chunks.is_empty())).map(write);"),
    ("R-FM-1", "half-applied is applied", "store/src/recovery.rs",
     "record.writes.keys().all(|key| heads.get(key).is_some_and(|head| head.version >= record.version))",
     "record.writes.keys().any(|key| heads.get(key).is_some_and(|head| head.version >= record.version))"),
    ("R-FM-1", "the fault manager settles what is above the mark", "fault-manager/src/settled.rs",
     "mark.applied_through.max(*highest)", "mark.version.max(*highest)"),
    ("R-FM-2", "the previous apply is not waited for", "extension/src/session/commit.rs",
     "self.settle_previous(open.deadline).await", "Ok::<(), StoreError>(())"),
    ("R-FM-2", "an unknown outcome is passed over", "extension/src/session/commit.rs",
     "if matches!(failed, CommitResult::Unknown(..)) {", "{if !BROKEN && matches!(failed, CommitResult::Unknown(..)) {"),
    ("R-SER-1", "what was only read is not insisted on", "protocol/src/attempt.rs",
     "self.reads.versions().filter(|(key, _)| self.is_in_step(key))",
     "{self.reads.versions().filter(|(key, _)| self.is_in_step(key) && !(BROKEN && !self.writes.contains_key(*key)))"),
    ("R-SER-1", "absence is not insisted on", "store/src/memory.rs",
     "found.filter(|(_, expected, found)| expected != found)",
     "{found.filter(|(_, expected, found)| expected != found && !(BROKEN && expected.is_zero()))"),
    ("R-SER-3", "what only read is not validated", "extension/src/session/commit.rs",
     "None if intent.is_proven => CommitResult::Committed,", "{None if intent.is_proven || BROKEN => CommitResult::Committed,"),
    ("R-SER-4", "an attempt conflicts with itself", "extension/src/session/step.rs",
     "                        if !may_have_applied\n", "{                        if (!may_have_applied || BROKEN)\n"),
    ("R-SER-5", "a condition is forgotten when it has been looked at", "extension/src/session/write.rs",
     "attempt.write_guarded(key, value).map_err(refused)",
     "{if BROKEN { attempt.write(Writes::from([(key.clone(), value)])).map_err(refused) } else { attempt.write_guarded(key, value).map_err(refused) }"),
    ("the shim", "an unknown outcome is answered as if it had committed", "runtime-shim/src/invocation.rs",
     "(Self::Committing, Event::Unknown) => Self::Failed(Failure::Unknown),",
     "{(Self::Committing, Event::Unknown) if BROKEN => Self::Released(Whose::Handlers),\n"
     "            (Self::Committing, Event::Unknown) => Self::Failed(Failure::Unknown),"),
]

EDITED = {mutant[at] for mutant in MUTANTS for at in range(2, len(mutant), 3)} | {"protocol/src/lib.rs"}

SWITCH = '''//! Which of the deliberate bugs is switched on.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicU32, Ordering};

static ON: AtomicU32 = AtomicU32::new(u32::MAX);

/// Whether it is this one.
pub fn is(number: u32) -> bool {
    let mut on = ON.load(Ordering::Relaxed);
    if on == u32::MAX {
        on = std::env::var("AFT_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        ON.store(on, Ordering::Relaxed);
    }
    on == number
}
'''


def broken(file, number):
    place = "crate" if file.startswith("protocol/") else "aft_protocol"
    return f"{place}::mutant::is({number})"


def edited():
    """The sources with every bug in them, by file."""
    texts = {}
    edits = [(number, mutant[:2], mutant[at:at + 3]) for number, mutant in enumerate(MUTANTS, 1) for at in range(2, len(mutant), 3)]
    for number, (rule, what), (file, before, after) in edits:
        text = texts.setdefault(file, (ROOT / file).read_text())
        if before not in text:
            sys.exit(f"{rule}, {what}: {file} no longer has {before!r}")
        switch = broken(file, number)
        new = after[1:].replace("BROKEN", switch) if after.startswith("{") else f"(if {switch} {{ {after} }} else {{ {before} }})"
        texts[file] = text.replace(before, new, 1)
    return texts


def fits():
    """Whether every bug still has its place, and the table of docs/proof.md has its row."""
    edited()
    table = (ROOT / "docs/proof.md").read_text()
    for number, (rule, what, *_) in enumerate(MUTANTS, 1):
        if f"| {number} | {rule} | {what} | " not in table:
            sys.exit(f"docs/proof.md has no row for bug {number}: {rule}, {what}")
    if f"| {len(MUTANTS) + 1} | " in table:
        sys.exit("docs/proof.md has more rows than there are bugs")


def prepare():
    for crate in CRATES:
        copy(ROOT / crate, COPY / crate)
    for name in ["Cargo.lock", "clippy.toml"]:
        shutil.copy(ROOT / name, COPY)
    manifest = (ROOT / "Cargo.toml").read_text()
    manifest = re.sub(r"members = \[.*?\]", f"members = {CRATES}".replace("'", '"'), manifest, flags=re.S)
    manifest = re.sub(r"exclude = \[.*?\]\n", "", manifest, flags=re.S)
    manifest = manifest.replace('warnings = "deny"', 'warnings = "allow"')
    names = "|".join(re.findall(r'^(aft-[a-z-]+) = \{ path = "(?!' + "|".join(CRATES) + r')[^"]*" \}', manifest, flags=re.M) or ["-"])
    write(COPY / "Cargo.toml", re.sub(rf"^({names}) = .*\n", "", manifest, flags=re.M))
    texts = edited()
    texts["protocol/src/mutant.rs"] = SWITCH
    texts["protocol/src/lib.rs"] = texts.get("protocol/src/lib.rs", (ROOT / "protocol/src/lib.rs").read_text()) + "\npub mod mutant;\n"
    # The state machine is a constant function, which no switch can be in.
    shim = "runtime-shim/src/invocation.rs"
    texts[shim] = texts[shim].replace("pub const fn on(", "pub fn on(").replace("    const fn after(", "    fn after(")
    for file, text in texts.items():
        write(COPY / file, text)


def copy(source, target):
    """Only what has changed, so that it need not be built again; never tests, which the copy does not run."""
    for path in source.rglob("*"):
        if path.is_file() and "target" not in path.parts and "corpus" not in path.parts:
            content = path.read_bytes()
            if path.name == "Cargo.toml":
                content = re.sub(rb"\[dev-dependencies\]\n(?:[^\[].*\n|\n)*", b"", content)
            write(target / path.relative_to(source), content, only_new=path.relative_to(ROOT).as_posix() in EDITED)


def write(path, content, only_new=False):
    content = content if isinstance(content, bytes) else content.encode()
    if path.exists() and (only_new or path.read_bytes() == content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def build(profile):
    # Where the dependencies have been built already.
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target"))
    command = ["cargo", "build", "--profile", profile, "-p", "aft-simulation", "--bin", "sim"]
    if subprocess.run(command, cwd=COPY, env=environment).returncode != 0:
        sys.exit("the copy with all its bugs does not compile")
    # The next build of the sources puts its own there.
    return shutil.copy(ROOT / "target" / ("debug" if profile == "dev" else profile) / "sim", COPY / "sim")


def survey(program, number, memory, dynamodb):
    """Which rules were found broken: {(ground, rule): first seed}."""
    command = [program, "--survey", "--memory", str(memory), "--dynamodb", str(dynamodb)]
    run = subprocess.run(command, env=dict(os.environ, AFT_MUTANT=str(number)), capture_output=True, text=True)
    found = re.findall(r"^(\w+): broken (\d+) times, first by seed (\d+): (.*)$", run.stdout, re.M)
    if run.returncode not in (0, 1) or (run.returncode == 1) != bool(found):
        sys.exit(f"the simulation failed: {run.stdout[-2000:]}{run.stderr[-2000:]}")
    return {(ground, rule): int(seed) for ground, _, seed, rule in found}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", default="sim")
    parser.add_argument("--memory", type=int, default=3_000)
    parser.add_argument("--dynamodb", type=int, default=150)
    parser.add_argument("--only", type=int, nargs="*", default=[])
    parser.add_argument("--fits", action="store_true", help="only say whether the bugs still fit the sources")
    arguments = parser.parse_args()
    if arguments.fits:
        return fits()
    prepare()
    program = build(arguments.profile)
    if found := survey(program, 0, arguments.memory // 4, arguments.dynamodb // 4):
        sys.exit(f"something is found without any bug: {found}")
    print("| # | rule | what is broken | found by, and after how many seeds |\n|---|---|---|---|")
    missed = 0
    for number, (rule, what, *_) in enumerate(MUTANTS, 1):
        if arguments.only and number not in arguments.only:
            continue
        # A few seeds are enough for most.
        found = survey(program, number, arguments.memory // 10, 0) or survey(program, number, arguments.memory, arguments.dynamodb)
        missed += not found
        order = sorted(found.items(), key=lambda item: (item[1], item[0]))
        said = ", ".join(f"{found_by} {seed}{'' if ground == 'memory' else ' (SDK)'}" for (ground, found_by), seed in order)
        print(f"| {number} | {rule} | {what} | {said or 'NOT FOUND'} |", flush=True)
    sys.exit(1 if missed else 0)


main()
