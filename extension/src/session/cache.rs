//! The sandbox's cache of heads, for reads that allow some staleness (R-READ-5): bounded in bytes, the least recently used
//! head goes first.
//!
//! A head's age counts from the moment at which the store was asked for it, on the wall clock: a sandbox is frozen between
//! invocations, and monotonic clocks may stand still meanwhile. Every head that was fetched goes in, also an absent key's.
//!
//! Whatever this sandbox has applied is newer than what it fetched before: those heads leave, and an answer that was on its
//! way meanwhile does not come in ([`Asked`]).

use std::collections::HashMap;

use aft_protocol::head::{Cowritten, Entry, Head, Previous};
use aft_protocol::key::Key;
use aft_protocol::limits;
use aft_protocol::recency::Recency;
use aft_protocol::value::Value;
use aft_protocol::version::Timestamp;

use super::WhyFetched;

/// What a head takes beside its texts and values: itself, its place in two maps and in the order of use, allocations.
const HEAD_BYTES: usize = 768;
/// What a cowritten key takes beside its text.
const COWRITTEN_KEY_BYTES: usize = 64;

/// The cache.
pub(super) struct Cache {
    /// Bytes.
    most: usize,
    heads: HashMap<Key, Cached>,
    recency: Recency,
    /// Counts what was forgotten on purpose.
    epoch: u64,
    hits: u64,
    misses: u64,
}

struct Cached {
    head: Head,
    asked: Timestamp,
}

/// When the store was asked for heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Timestamp,
    epoch: u64,
}

/// How the cache is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// How many heads it holds.
    pub heads: usize,
    /// What they weigh, in bytes.
    pub bytes: usize,
    /// Keys that were read from it.
    pub hits: u64,
    /// Keys that could have been, and were read from the store.
    pub misses: u64,
}

impl Cache {
    /// An empty cache for so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, heads: HashMap::new(), recency: Recency::default(), epoch: 0, hits: 0, misses: 0 }
    }

    /// The store is asked for heads, now.
    pub(super) fn asked(&self, now: Timestamp) -> Asked {
        Asked { at: now, epoch: self.epoch }
    }

    /// A head that the store has answered.
    pub(super) fn keep(&mut self, key: &Key, head: &Head, asked: Asked) {
        let is_known = self.heads.get(key).is_some_and(|cached| cached.asked >= asked.at);
        if asked.epoch != self.epoch || is_known {
            return;
        }
        self.heads.insert(key.clone(), Cached { head: head.clone(), asked: asked.at });
        self.recency.put(key.clone(), weight(key, head));
        while let Some(oldest) = self.recency.shed(self.most) {
            self.heads.remove(&oldest);
        }
    }

    /// The head of `key` and its age in seconds, rounded up; or why there is none that is no older than `max_age_seconds`
    /// and [`limits::STALENESS_SECONDS`].
    pub(super) fn find(&mut self, key: &Key, max_age_seconds: u64, now: Timestamp) -> Result<(Head, u64), WhyFetched> {
        let Cached { head, asked } = self.heads.get(key).ok_or(WhyFetched::NotCached)?;
        // A wall clock that was set back does not tell how old anything is.
        let micros = now.as_micros().checked_sub(asked.as_micros()).ok_or(WhyFetched::TooOld)?;
        let age_seconds = micros.div_ceil(1_000_000);
        if age_seconds > max_age_seconds.min(limits::STALENESS_SECONDS) {
            return Err(WhyFetched::TooOld);
        }
        let head = head.clone();
        self.recency.touch(key);
        Ok((head, age_seconds))
    }

    /// A read that allowed the cache was answered, from it or not.
    pub(super) fn count(&mut self, is_hit: bool) {
        if is_hit {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
    }

    /// The heads of these keys are older than what this sandbox knows.
    pub(super) fn forget<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        self.epoch += 1;
        for key in keys {
            self.heads.remove(key);
            self.recency.remove(key);
        }
    }

    /// Nothing that was fetched so far counts any more.
    pub(super) fn clear(&mut self) {
        *self = Self { epoch: self.epoch + 1, hits: self.hits, misses: self.misses, ..Self::new(self.most) };
    }

    pub(super) fn status(&self) -> CacheStatus {
        CacheStatus { heads: self.heads.len(), bytes: self.recency.bytes(), hits: self.hits, misses: self.misses }
    }
}

/// What a head takes in the cache, in bytes.
fn weight(key: &Key, head: &Head) -> usize {
    let cowritten = |keys: &Cowritten| match keys {
        Cowritten::Keys(keys) => keys.iter().map(|key| COWRITTEN_KEY_BYTES + key.as_str().len()).sum(),
        Cowritten::InRecord => 0,
    };
    let entry = |entry: &Entry| entry.value.as_ref().map_or(0, Value::weight) + cowritten(&entry.cowritten);
    let previous = match &head.previous {
        Previous::Inline(previous) => entry(previous),
        Previous::InRecord(_) => 0,
    };
    HEAD_BYTES + key.as_str().len() + entry(&head.current) + previous
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aft_protocol::head::{Cowritten, Entry, Head, Previous};
    use aft_protocol::id::TransactionId;
    use aft_protocol::key::Key;
    use aft_protocol::limits;
    use aft_protocol::value::{ContentType, Value};
    use aft_protocol::version::{Timestamp, Version};

    use super::{Cache, weight};
    use crate::session::WhyFetched::{NotCached, TooOld};

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    fn head(micros: u64, bytes: usize, cowritten: usize) -> Head {
        let others = (0..cowritten).map(|n| key(&format!("other-{n}"))).collect();
        let entry = Entry {
            version: Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(1)),
            value: Some(Value::new(vec![0; bytes], ContentType::default()).unwrap()),
            cowritten: Cowritten::Keys(Arc::new(others)),
            record_expires_at_seconds: 1,
        };
        Head { previous: Previous::Inline(entry.clone()), current: entry, ..Head::absent() }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_head_is_found_until_it_is_too_old() {
        let mut cache = Cache::new(10_000);
        cache.keep(&key("a"), &head(1, 1, 0), cache.asked(at(100)));
        assert_eq!(cache.find(&key("b"), 10, at(100)), Err(NotCached));
        assert_eq!(cache.find(&key("a"), 10, at(110)), Ok((head(1, 1, 0), 10)));
        assert_eq!(cache.find(&key("a"), 10, Timestamp::from_micros(110_000_001)), Err(TooOld));
        assert_eq!(cache.find(&key("a"), 10, at(99)), Err(TooOld), "the clock was set back");
    }

    #[test]
    fn no_cached_head_is_older_than_the_limit() {
        let mut cache = Cache::new(10_000);
        cache.keep(&key("a"), &head(1, 1, 0), cache.asked(at(100)));
        let limit = limits::STALENESS_SECONDS;
        assert_eq!(cache.find(&key("a"), u64::MAX, at(100 + limit)), Ok((head(1, 1, 0), limit)));
        assert_eq!(cache.find(&key("a"), u64::MAX, at(101 + limit)), Err(TooOld));
    }

    /// What was asked for before a sandbox's own apply may be older than it.
    #[test]
    fn an_answer_from_before_what_was_forgotten_is_not_kept() {
        let mut cache = Cache::new(10_000);
        let before = cache.asked(at(100));
        cache.forget([&key("a")]);
        cache.keep(&key("a"), &head(1, 1, 0), before);
        assert_eq!(cache.find(&key("a"), 10, at(100)), Err(NotCached));
        cache.keep(&key("a"), &head(2, 1, 0), cache.asked(at(100)));
        assert_eq!(cache.find(&key("a"), 10, at(100)), Ok((head(2, 1, 0), 0)));
        let before = cache.asked(at(100));
        cache.clear();
        cache.keep(&key("a"), &head(2, 1, 0), before);
        assert_eq!(cache.find(&key("a"), 10, at(100)), Err(NotCached));
    }

    #[test]
    fn an_answer_that_arrives_late_does_not_replace_a_later_one() {
        let mut cache = Cache::new(10_000);
        let (first, second) = (cache.asked(at(100)), cache.asked(at(101)));
        cache.keep(&key("a"), &head(2, 1, 0), second);
        cache.keep(&key("a"), &head(1, 1, 0), first);
        assert_eq!(cache.find(&key("a"), 10, at(101)), Ok((head(2, 1, 0), 0)));
    }

    /// The bound holds whatever comes in and goes out; what is counted is what is there.
    #[test]
    fn the_cache_holds_a_limited_number_of_bytes() {
        for seed in 0..20_u64 {
            let mut state = seed;
            let mut draw = |bound: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            let most = draw(40_000) as usize;
            let mut cache = Cache::new(most);
            for second in 0..400 {
                let name = key(&format!("key-{}", draw(30)));
                match draw(10) {
                    0 => cache.forget([&name]),
                    1 => drop(cache.find(&name, 50, at(second))),
                    2 if draw(20) == 0 => cache.clear(),
                    _ => {
                        let head = head(second + 1, draw(9_000) as usize, draw(20) as usize);
                        cache.keep(&name, &head, cache.asked(at(second)));
                    }
                }
                let counted: usize = cache.heads.iter().map(|(key, cached)| weight(key, &cached.head)).sum();
                assert_eq!((cache.status().bytes, cache.recency.len()), (counted, cache.heads.len()), "seed {seed}");
                assert!(counted <= most, "seed {seed}: {counted} of {most}");
            }
        }
    }

    #[test]
    fn the_least_recently_used_head_goes_first() {
        let one = weight(&key("a"), &head(1, 100, 0));
        let mut cache = Cache::new(2 * one);
        for name in ["a", "b"] {
            cache.keep(&key(name), &head(1, 100, 0), cache.asked(at(1)));
        }
        assert!(cache.find(&key("a"), 10, at(1)).is_ok());
        cache.keep(&key("c"), &head(1, 100, 0), cache.asked(at(1)));
        assert_eq!(cache.find(&key("b"), 10, at(1)), Err(NotCached));
        assert!(cache.find(&key("a"), 10, at(1)).is_ok());
    }
}
