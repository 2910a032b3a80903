//! `Cache-Control` of a read (RFC 9111), and what its answer says of the cache: `Age` and `Cache-Status` (RFC 9211).
//!
//! Only what a request asks for is used: without a directive that is known here, a read is as new as the store tells, and its
//! answer says nothing of caches. `max-age` allows the cache; `no-cache` and `no-store` forbid it, whatever else there is;
//! everything else is passed over, `only-if-cached` too, which a cache may.

use aft_protocol::limits;
use hyper::header::{AGE, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

use super::reply::Reply;
use crate::session::{Freshness, Source, WhyFetched};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a request says of the cache, if it says anything.
pub(super) fn of(headers: &HeaderMap) -> Option<Freshness> {
    let mut max_age = None;
    let (mut no_cache, mut no_store) = (false, false);
    for line in headers.get_all(CACHE_CONTROL) {
        // A line that is not text is malformed: it allows nothing.
        let Ok(line) = line.to_str() else {
            no_cache = true;
            continue;
        };
        let (mut quoted, mut escaped) = (false, false);
        let directives = line.split(|c| {
            // Within quotes a backslash takes the next character as it is.
            let is_escaped = std::mem::replace(&mut escaped, false);
            escaped = quoted && !is_escaped && c == '\\';
            quoted ^= c == '"' && !is_escaped;
            c == ',' && !quoted
        });
        for directive in directives {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("max-age") {
                // Given twice, the stricter one counts.
                let seconds = seconds(argument.trim());
                max_age = Some(max_age.map_or(seconds, |other: u64| other.min(seconds)));
            }
            no_cache |= name.eq_ignore_ascii_case("no-cache");
            no_store |= name.eq_ignore_ascii_case("no-store");
        }
    }
    let max_age_seconds = if no_cache || no_store { 0 } else { max_age.unwrap_or(0) };
    (max_age.is_some() || no_cache || no_store).then_some(Freshness { max_age_seconds, no_store })
}

/// Whole seconds, as a token or a quoted string, up to the limit; what is malformed allows nothing.
fn seconds(argument: &str) -> u64 {
    let unquoted = argument.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = unquoted.unwrap_or(argument);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    // More digits than fit are more seconds than the limit.
    digits.parse().unwrap_or(u64::MAX).min(limits::STALENESS_SECONDS)
}

/// Says of an answer whether it is from the cache, and how old what it is made of may be.
pub(super) fn label(reply: &mut Reply, sources: impl IntoIterator<Item = Source>) {
    let (mut age, mut at_hand, mut fetched) = (None, false, None);
    for source in sources {
        match source {
            Source::Transaction => at_hand = true,
            Source::Cache { age_seconds } => {
                at_hand = true;
                age = age.max(Some(age_seconds));
            }
            Source::Store(why) => fetched = Some(why),
        }
    }
    let status = match (at_hand, fetched, age) {
        (_, None, Some(_)) => "aft; hit",
        (_, None, None) => "aft; hit; detail=transaction",
        (true, Some(_), _) => "aft; fwd=partial",
        (false, Some(WhyFetched::Asked), _) => "aft; fwd=request",
        (false, Some(WhyFetched::NotCached), _) => "aft; fwd=uri-miss",
        (false, Some(WhyFetched::TooOld), _) => "aft; fwd=stale",
        (false, Some(WhyFetched::NotAtomic), _) => "aft; fwd=stale; detail=not-atomic",
    };
    let headers = reply.headers_mut();
    headers.insert(CACHE_STATUS, HeaderValue::from_static(status));
    if let Some(age) = age {
        headers.insert(AGE, HeaderValue::from(age));
    }
}

#[cfg(test)]
mod tests {
    use aft_protocol::limits;
    use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue};

    use std::sync::atomic::Ordering;

    use aft_protocol::wire::{ErrorCode, route};

    use super::super::tests::{Answer, World};
    use super::of;
    use crate::session::Freshness;

    fn parsed(lines: &[&str]) -> Option<Freshness> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        of(&headers)
    }

    fn max_age(seconds: u64) -> Option<Freshness> {
        Some(Freshness { max_age_seconds: seconds, no_store: false })
    }

    #[test]
    fn directives_are_read_as_the_rfc_has_them() {
        for (lines, expected) in [
            (&["max-age=5"][..], max_age(5)),
            (&["MAX-AGE=\"5\""], max_age(5)),
            (&["stale-if-error=9 , max-age=5,,foo"], max_age(5)),
            (&["foo", "max-age=5"], max_age(5)),
            (&["max-age=5", "max-age=3"], max_age(3)),
            (&["max-age=0"], max_age(0)),
            (&["max-age=99999999999999999999999"], max_age(limits::STALENESS_SECONDS)),
            (&["max-age=901"], max_age(limits::STALENESS_SECONDS)),
            (&["no-cache"], max_age(0)),
            (&["max-age=5, no-cache"], max_age(0)),
            (&["no-store, max-age=5"], Some(Freshness { max_age_seconds: 0, no_store: true })),
            (&["max-age=5, only-if-cached"], max_age(5)),
        ] {
            assert_eq!(parsed(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_malformed_allows_nothing() {
        for line in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=\"5", "max-age=five", "max-age==5"] {
            assert_eq!(parsed(&[line]), max_age(0), "{line}");
        }
        assert_eq!(parsed(&["max-age=5", "\u{e9}"]), max_age(0));
    }

    /// `Cache-Status` and `Age` of an answer.
    fn labels(answer: &Answer) -> (Option<&str>, Option<&str>) {
        (answer.header("cache-status"), answer.header("age"))
    }

    async fn read(world: &World, method: &str, key: &str, cache_control: &str) -> Answer {
        world.send(method, &format!("/v1/kv/{key}"), &format!("Cache-Control: {cache_control}\r\n"), b"").await
    }

    #[tokio::test]
    async fn an_answer_says_whether_it_is_from_the_cache_and_how_old_it_is() {
        let world = World::open().await;
        world.send("PUT", "/v1/kv/a", "Content-Type: text/plain\r\n", b"1").await;
        assert_eq!(labels(&read(&world, "GET", "a", "max-age=60").await), (Some("aft; hit; detail=transaction"), None));
        world.next(2).await;
        assert_eq!(labels(&world.get("/v1/kv/a").await), (None, None), "nothing was asked");
        world.next(3).await;

        world.now.fetch_add(5_000_000, Ordering::Relaxed);
        let head = read(&world, "HEAD", "a", "max-age=60").await;
        assert_eq!((head.status, labels(&head)), (200, (Some("aft; hit"), Some("5"))));
        assert!(head.header("etag").is_some());
        world.next(4).await;
        let get = read(&world, "GET", "a", "max-age=60").await;
        assert_eq!((get.text(), get.header("content-type")), ("1", Some("text/plain")));
        assert_eq!(labels(&get), (Some("aft; hit"), Some("5")));
        world.next(5).await;
        assert_eq!(labels(&read(&world, "GET", "a", "max-age=4").await), (Some("aft; fwd=stale"), None));
        world.next(6).await;
        assert_eq!(labels(&read(&world, "GET", "a", "max-age=4").await), (Some("aft; hit"), Some("0")));
        world.next(7).await;
        for cache_control in ["no-cache", "max-age=0", "max-age=5, no-store"] {
            world.next(8).await;
            let answer = read(&world, "GET", "a", cache_control).await;
            assert_eq!(labels(&answer), (Some("aft; fwd=request"), None), "{cache_control}");
        }
    }

    #[tokio::test]
    async fn an_absence_is_cached_as_a_value_is() {
        let world = World::open().await;
        let answer = read(&world, "GET", "never", "max-age=60").await;
        answer.problem(ErrorCode::KeyNotFound);
        assert_eq!(labels(&answer), (Some("aft; fwd=uri-miss"), None));
        world.next(2).await;
        world.now.fetch_add(1_500_000, Ordering::Relaxed);
        let answer = read(&world, "GET", "never", "max-age=60").await;
        answer.problem(ErrorCode::KeyNotFound);
        assert_eq!(labels(&answer), (Some("aft; hit"), Some("2")));
    }

    #[tokio::test]
    async fn a_batch_says_how_old_its_oldest_part_is() {
        let world = World::open().await;
        let batch = async |keys: &str| {
            let body = format!(r#"{{"keys":[{keys}]}}"#);
            world.send("POST", route::BATCH_GET, "Cache-Control: max-age=60\r\n", body.as_bytes()).await
        };
        assert_eq!(labels(&batch(r#""a""#).await), (Some("aft; fwd=uri-miss"), None));
        world.now.fetch_add(2_000_000, Ordering::Relaxed);
        world.next(2).await;
        assert_eq!(labels(&batch(r#""a","b""#).await), (Some("aft; fwd=partial"), Some("2")));
        world.now.fetch_add(1_000_000, Ordering::Relaxed);
        world.next(3).await;
        assert_eq!(labels(&batch(r#""a","b""#).await), (Some("aft; hit"), Some("3")));
    }

    #[tokio::test]
    async fn the_health_document_counts_hits_and_misses() {
        let world = World::open().await;
        read(&world, "GET", "a", "max-age=60").await;
        world.next(2).await;
        read(&world, "GET", "a", "max-age=60").await;
        let health: serde_json::Value = serde_json::from_slice(&world.get(route::HEALTH).await.body).unwrap();
        let counts = ["heads", "hits", "misses"].map(|name| health["cache"][name].as_u64().unwrap());
        assert_eq!(counts, [1, 1, 1]);
        assert!(health["cache"]["bytes"].as_u64().unwrap() > 0);
    }

    #[test]
    fn what_says_nothing_of_the_cache_is_passed_over() {
        // The last one: once, an escaped quote ended the quoted text, and what stood in it was a directive.
        for lines in [&[][..], &["foo"], &["only-if-cached"], &["x=\"a, max-age=5\""], &[r#"x="a\", max-age=5""#]] {
            assert_eq!(parsed(lines), None, "{lines:?}");
        }
    }
}
