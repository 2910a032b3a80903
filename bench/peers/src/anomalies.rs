//! Fractured reads: who has seen one request's write of a key, and of another key that it wrote, too, an older version (AFT,
//! section 3.2).

use std::collections::HashMap;

use crate::work::Seen;

/// What each invocation wrote, by its number, and which request it was for.
#[derive(Debug, Default)]
pub struct Written {
    invocations: HashMap<u64, (u64, Vec<String>)>,
    requests: HashMap<u64, Vec<String>>,
}

impl Written {
    /// This invocation, for this request, writes these keys.
    pub fn add(&mut self, invocation: u64, request: u64, keys: &[String]) {
        self.invocations.insert(invocation, (request, keys.to_vec()));
        self.requests.entry(request).or_default().extend_from_slice(keys);
    }

    /// Whether these reads saw part of what an invocation wrote.
    #[must_use]
    pub fn is_fractured(&self, seen: &[Seen]) -> bool {
        fractured(seen, |writer| Some(&self.invocations.get(&writer)?.1))
    }

    /// Whether these reads saw part of what the functions of a request wrote together.
    #[must_use]
    pub fn is_fractured_across(&self, seen: &[Seen]) -> bool {
        fractured(seen, |writer| self.requests.get(&self.invocations.get(&writer)?.0))
    }
}

fn fractured<'a>(seen: &[Seen], cowritten: impl Fn(u64) -> Option<&'a Vec<String>>) -> bool {
    seen.iter().any(|(_, writer, version)| {
        let cowritten = cowritten(*writer).map(Vec::as_slice).unwrap_or_default();
        seen.iter().any(|(other, _, older)| older < version && cowritten.contains(other))
    })
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn a_fractured_read_is_one() {
        let mut written = Written::default();
        written.add(1, 1, &["a".to_owned(), "b".to_owned()]);
        written.add(2, 2, &["b".to_owned()]);
        let seen = |reads: &[(&str, u64, &str)]| {
            let reads: Vec<_> = reads.iter().map(|(key, by, at)| ((*key).to_owned(), *by, (*at).to_owned())).collect();
            written.is_fractured(&reads)
        };
        assert!(!seen(&[("a", 1, "1"), ("b", 1, "1")]), "all of it");
        assert!(seen(&[("b", 0, ""), ("a", 1, "1")]), "a without b");
        assert!(!seen(&[("a", 1, "1"), ("b", 2, "2")]), "b was written again");
        assert!(!seen(&[("a", 0, ""), ("b", 2, "2")]), "two requests");
    }

    #[test]
    fn functions_of_a_request_are_two_invocations() {
        let mut written = Written::default();
        written.add(1, 7, &["a".to_owned()]);
        written.add(2, 7, &["b".to_owned()]);
        let seen = [("a".to_owned(), 1, "1".to_owned()), ("b".to_owned(), 0, String::new())];
        assert!(!written.is_fractured(&seen) && written.is_fractured_across(&seen));
    }
}
