//! Keys in the order of their last use, with what each weighs: which go first when they weigh too much together.

use std::collections::BTreeMap;

use crate::key::Key;

/// The order. A key is in it at most once.
#[derive(Debug, Default)]
pub struct Recency {
    /// Counts uses: the next one's place.
    next: u64,
    by_use: BTreeMap<u64, Key>,
    places: BTreeMap<Key, Place>,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    used: u64,
    bytes: usize,
}

impl Recency {
    /// What all keys weigh together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// `key` is used now, and weighs so much from now on.
    pub fn put(&mut self, key: Key, bytes: usize) {
        self.remove(&key);
        self.by_use.insert(self.next, key.clone());
        self.places.insert(key, Place { used: self.next, bytes });
        self.bytes += bytes;
        self.next += 1;
    }

    /// `key` is used now, if it is there.
    pub fn touch(&mut self, key: &Key) {
        if let Some(Place { bytes, .. }) = self.places.get(key) {
            self.put(key.clone(), *bytes);
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &Key) {
        if let Some(Place { used, bytes }) = self.places.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= bytes;
        }
    }

    /// Takes out the key that was used least recently, if all weigh more than `most` together.
    pub fn shed(&mut self, most: usize) -> Option<Key> {
        if self.bytes <= most {
            return None;
        }
        let (_, key) = self.by_use.first_key_value()?;
        let key = key.clone();
        self.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::Recency;
    use crate::key::Key;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn what_was_used_least_recently_goes_first_and_only_as_much_as_must() {
        let mut recency = Recency::default();
        for name in ["a", "b", "c"] {
            recency.put(key(name), 10);
        }
        recency.touch(&key("a"));
        recency.touch(&key("unknown"));
        assert_eq!(recency.shed(30), None);
        assert_eq!(recency.shed(29), Some(key("b")));
        assert_eq!(recency.shed(29), None);
        assert_eq!(recency.shed(0), Some(key("c")));
        assert_eq!((recency.len(), recency.bytes()), (1, 10));
    }

    #[test]
    fn a_key_that_is_put_again_weighs_what_it_weighs_now() {
        let mut recency = Recency::default();
        recency.put(key("a"), 10);
        recency.put(key("b"), 1);
        recency.put(key("a"), 3);
        assert_eq!((recency.len(), recency.bytes()), (2, 4));
        assert_eq!(recency.shed(3), Some(key("b")));
        recency.remove(&key("a"));
        assert!(recency.is_empty() && recency.bytes() == 0);
        assert_eq!(recency.shed(0), None);
    }
}
