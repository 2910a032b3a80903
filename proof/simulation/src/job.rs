//! What a handler does in one attempt: every step may be its last, and every step is noted.
//!
//! A value is the name of its write, then what the workload wants it to say, then padding: `w17|100|`. So who reads a value
//! knows whose it is, whatever versions the store says it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aft_extension::session::{Freshness, Named, Precondition, SessionError, Source};
use aft_protocol::attempt::Seen;
use aft_protocol::id::TransactionId;
use aft_protocol::isolation::Isolation;
use aft_protocol::key::Key;
use aft_protocol::record::Writes;
use aft_protocol::value::{ContentType, Value};
use tokio::time::sleep;

use crate::book::{Attempted, Breach, Did, Told};
use crate::chance::Chance;
use crate::ground::Ground;
use crate::sandbox::Sandbox;
use crate::trouble::Trouble;
use crate::world::World;

/// Why a handler ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It reports an error: its own, or one that the endpoint gave it.
    Error,
    /// Its process dies.
    Death,
}

impl From<SessionError> for Stop {
    fn from(_: SessionError) -> Self {
        Self::Error
    }
}

/// An attempt, as its handler sees it; it is noted when it is over, even if it is cut off.
pub struct Job<'w, G: Ground> {
    world: &'w World<G>,
    sandbox: &'w Sandbox<G>,
    named: Named,
    attempted: Attempted,
    is_noted: bool,
    /// Whether all that it writes is large.
    is_large: bool,
    /// What the handler decides by. Another attempt may decide otherwise.
    pub chance: Chance,
}

/// A key; the names that workloads use are all short and fit.
#[must_use]
#[allow(clippy::expect_used, reason = "workloads use short keys")]
pub fn key(name: &str) -> Key {
    Key::new(name).expect("a short key")
}

impl<'w, G: Ground> Job<'w, G> {
    /// An attempt that begins now.
    pub fn new(
        world: &'w World<G>,
        sandbox: &'w Sandbox<G>,
        transaction: u128,
        number: u32,
        isolation: Isolation,
    ) -> Self {
        let mut book = world.book.borrow_mut();
        let response = book.response(transaction);
        let attempted = Attempted {
            process: sandbox.place,
            era: book.era,
            transaction,
            number,
            isolation,
            began: book.moment(),
            answered: None,
            told: Told::Nothing,
            did: Vec::new(),
            guarded: BTreeSet::new(),
            response,
            is_visible: false,
            claims: Vec::new(),
        };
        let named = Named { transaction: Some(TransactionId::from_bits(transaction)), attempt: None };
        // The response has a number of its own, and so has what the handler decides by.
        let chance = Chance::at(world.plan.seed, &[3, attempted.began, u64::from(number), transaction as u64]);
        let is_large = world.plan.workload.is_large(G::NAME, &chance);
        Self { world, sandbox, named, attempted, is_noted: false, is_large, chance }
    }

    /// Which transaction it is.
    #[must_use]
    pub fn transaction(&self) -> u128 {
        self.attempted.transaction
    }

    /// The era that it began in.
    #[must_use]
    pub fn era(&self) -> usize {
        self.attempted.era
    }

    /// What it is promised.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.attempted.isolation
    }

    /// What it would answer.
    #[must_use]
    pub fn response(&self) -> &str {
        &self.attempted.response
    }

    /// Randomness that is the same for every attempt at this transaction: what it was asked for.
    #[must_use]
    pub fn request(&self) -> Chance {
        Chance::at(self.world.plan.seed, &[4, self.attempted.transaction as u64])
    }

    /// Whether it has written anything.
    #[must_use]
    pub fn has_written(&self) -> bool {
        !self.attempted.writes().is_empty()
    }

    /// The sandbox that it runs in.
    #[must_use]
    pub fn sandbox(&self) -> &'w Sandbox<G> {
        self.sandbox
    }

    /// Which requests are its.
    #[must_use]
    pub fn named(&self) -> Named {
        self.named
    }

    /// An explicit transaction within this attempt begins now.
    #[must_use]
    pub fn begins(&self, transaction: u128, isolation: Isolation) -> Self {
        Self::new(self.world, self.sandbox, transaction, 0, isolation)
    }

    /// It has this number.
    #[must_use]
    pub fn numbered(mut self, number: u32) -> Self {
        self.attempted.number = number;
        self
    }

    /// Somebody was answered so.
    pub fn answered(&self, transaction: u128, response: &[u8]) {
        self.world.book.borrow_mut().answered(transaction, response);
    }

    /// Whether anybody was answered.
    #[must_use]
    pub fn is_answered(&self, transaction: u128) -> bool {
        self.world.book.borrow().answers.contains_key(&transaction)
    }

    /// It did not take place: nobody is to hear of it.
    pub fn forget(mut self) {
        self.is_noted = true;
    }

    /// It was told so.
    pub fn told(&mut self, told: Told) {
        self.attempted.told = told;
        self.attempted.answered = Some(self.world.book.borrow_mut().moment());
    }

    /// It was told that all it wrote is visible.
    pub fn is_visible(&mut self) {
        self.attempted.is_visible = true;
    }

    /// Another step, unless something happens to the handler.
    async fn step(&self, what: impl FnOnce() -> String) -> Result<(), Stop> {
        match self.sandbox.life.step(what) {
            Some(Trouble::HandlerFails) => Err(Stop::Error),
            Some(Trouble::HandlerDies) => Err(Stop::Death),
            Some(Trouble::HandlerDawdles(ms)) => {
                sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads keys: what the workload has written there, or nothing.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn read(&mut self, keys: &[Key]) -> Result<BTreeMap<Key, Option<String>>, Stop> {
        self.step(|| format!("reads {keys:?}")).await?;
        let max_age_seconds = if self.chance.one_in(5) { self.chance.below(10) } else { 0 };
        let freshness = Freshness { max_age_seconds, no_store: self.chance.one_in(10) };
        let wanted = keys.iter().cloned().collect();
        let answers = self.sandbox.session.read_with(self.named, wanted, freshness).await?;
        let mut texts = BTreeMap::new();
        for (key, answer) in answers {
            let text = answer.seen.value().map(|value| String::from_utf8_lossy(value.bytes()).into_owned());
            let mut parts = text.iter().flat_map(|text| text.split('|'));
            let (name, said) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
            let (version, name) = match &answer.seen {
                Seen::Read(entry) => (Some(entry.version), name),
                Seen::Written(..) => (None, name.or_else(|| self.deleted(&key))),
            };
            if matches!(answer.source, Source::Cache { .. }) {
                self.world.book.borrow_mut().tally.hits += 1;
            }
            self.attempted.did.push(Did::Read { key: key.clone(), version, name });
            texts.insert(key, said);
        }
        Ok(texts)
    }

    /// The name of this attempt's last write of a key, which was a deletion.
    fn deleted(&self, key: &Key) -> Option<String> {
        let last = self.attempted.did.iter().rev().find_map(|did| match did {
            Did::Wrote { key: written, name, is_deletion } if written == key => Some((name, *is_deletion)),
            Did::Wrote { .. } | Did::Read { .. } => None,
        });
        last.filter(|(_, is_deletion)| *is_deletion).map(|(name, _)| name.clone())
    }

    /// Reads one key.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn get(&mut self, key: &Key) -> Result<Option<String>, Stop> {
        Ok(self.read(std::slice::from_ref(key)).await?.remove(key).flatten())
    }

    /// Writes keys, or deletes them.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn write(&mut self, writes: &[(Key, Option<&str>)]) -> Result<(), Stop> {
        self.step(|| format!("writes {:?}", writes.iter().map(|(key, _)| key).collect::<Vec<_>>())).await?;
        let (values, dids): (Writes, Vec<Did>) = writes.iter().map(|(key, said)| self.value(key, *said)).unzip();
        self.sandbox.session.write(self.named, values)?;
        self.attempted.did.extend(dids);
        Ok(())
    }

    /// Writes a key if it is as this transaction has just seen it, whatever its isolation.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn write_as_read(&mut self, key: &Key, said: Option<&str>) -> Result<(), Stop> {
        self.step(|| format!("writes {key:?} on condition")).await?;
        let seen = self.sandbox.session.read(self.named, BTreeSet::from([key.clone()])).await?;
        let precondition = match seen[key].etag() {
            Some(etag) if self.chance.one_in(2) => Precondition::Matches(vec![etag]),
            Some(_) => Precondition::Exists,
            None => Precondition::Absent,
        };
        let ((_, value), did) = self.value(key, said);
        self.sandbox.session.write_if(self.named, key.clone(), value, precondition).await?;
        if let Seen::Read(entry) = &seen[key] {
            let text = entry.value.as_ref().map(|value| String::from_utf8_lossy(value.bytes()).into_owned());
            let name = text.as_ref().and_then(|text| text.split('|').next()).map(str::to_owned);
            self.attempted.did.push(Did::Read { key: key.clone(), version: Some(entry.version), name });
            self.attempted.guarded.insert(key.clone());
        }
        self.attempted.did.push(did);
        Ok(())
    }

    #[allow(clippy::expect_used, reason = "workloads write short values")]
    fn value(&self, key: &Key, said: Option<&str>) -> ((Key, Option<Value>), Did) {
        let name = self.world.book.borrow_mut().name();
        let padding = self.world.plan.workload.padding(self.is_large, &self.chance);
        let value = said.map(|said| {
            let text = format!("{name}|{said}|{}", " ".repeat(padding));
            Value::new(text, ContentType::default()).expect("a short value")
        });
        let did = Did::Wrote { key: key.clone(), name, is_deletion: value.is_none() };
        ((key.clone(), value), did)
    }

    /// Thinks.
    pub async fn pause(&self) {
        sleep(Duration::from_micros(self.chance.below(6_000))).await;
    }

    /// Believes something that must be so if it commits.
    pub fn claims(&mut self, rule: &'static str, is_so: bool, otherwise: String) {
        if !is_so {
            self.attempted.claims.push(Breach::of(rule, otherwise));
        }
    }

    /// Found something that cannot be.
    pub fn breach(&self, rule: &'static str, what: impl Into<String>) {
        self.world.breach(rule, what);
    }

    /// Counts.
    pub fn count(&self, count: impl FnOnce(&mut crate::book::Tally)) {
        count(&mut self.world.book.borrow_mut().tally);
    }
}

impl<G: Ground> Drop for Job<'_, G> {
    fn drop(&mut self) {
        if !self.is_noted {
            self.world.book.borrow_mut().close(self.world.start.elapsed(), self.attempted.clone());
        }
    }
}
