//! What Lambda heard with the shim and without it, compared byte for byte.
//!
//! What belongs to one connection may differ, and nothing else: `Connection` and `Keep-Alive` are not passed on, `Host`
//! names the address that was called, and `Transfer-Encoding` is written by whoever writes the chunks (whether there are chunks
//! is compared).

use super::wire::{Field, Request};

/// Headers of one connection.
const CONNECTION: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "te"];

/// So much of a body is shown.
const SHOWN_BYTES: usize = 2_000;

/// What one Lambda heard.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its address, which `Host` must name.
    pub authority: &'a str,
    /// In the order of coming.
    pub heard: &'a [Request],
}

/// The first difference between what was heard without the shim and with it; `None` if there is none.
#[must_use]
pub fn difference(without: Side<'_>, with: Side<'_>) -> Option<String> {
    let lines = |side: Side<'_>| side.heard.iter().map(|request| request.line.clone()).collect::<Vec<_>>();
    if lines(without) != lines(with) {
        return Some(format!("without the shim Lambda heard {:#?}, with it {:#?}", lines(without), lines(with)));
    }
    let pairs = without.heard.iter().zip(with.heard);
    pairs.into_iter().find_map(|(a, b)| {
        let what = of_one(a, without.authority, b, with.authority)?;
        Some(format!("{}: {what}", a.line))
    })
}

fn of_one(a: &Request, a_authority: &str, b: &Request, b_authority: &str) -> Option<String> {
    for (request, authority) in [(a, a_authority), (b, b_authority)] {
        if request.field("host") != Some(authority.as_bytes()) {
            return Some(format!("Host does not name {authority}: {:?}", request.fields));
        }
    }
    let [a_fields, b_fields] = [a, b].map(comparable);
    if a_fields != b_fields {
        return Some(format!("headers without the shim {a_fields:#?}, with it {b_fields:#?}"));
    }
    if a.framing != b.framing {
        return Some(format!("the body's end is told by {:?} without the shim, by {:?} with it", a.framing, b.framing));
    }
    if a.trailers != b.trailers {
        return Some(format!("trailers without the shim {:?}, with it {:?}", a.trailers, b.trailers));
    }
    (a.body != b.body).then(|| {
        let at = a.body.iter().zip(&b.body).position(|(a, b)| a != b).unwrap_or(a.body.len().min(b.body.len()));
        let shown = |body: &[u8]| {
            let from = at.saturating_sub(SHOWN_BYTES / 2);
            body[from..body.len().min(from + SHOWN_BYTES)].escape_ascii().to_string()
        };
        format!("bodies differ at byte {at}: without the shim …{}…, with it …{}…", shown(&a.body), shown(&b.body))
    })
}

/// All headers, in order, with the name of `Host` but not its value.
fn comparable(request: &Request) -> Vec<Field> {
    let kept = request.fields.iter().filter(|field| !CONNECTION.iter().any(|name| field.is(name)));
    let blank = |field: &Field| match field.is("host") {
        true => Field { name: field.name.clone(), value: Vec::new() },
        false => field.clone(),
    };
    kept.map(blank).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Side, difference};
    use crate::clients::wire::{Field, Framing, Request};

    fn request(fields: &[(&str, &str)], body: &'static str) -> Request {
        Request {
            line: "POST /a HTTP/1.1".to_owned(),
            fields: fields.iter().map(|(name, value)| Field::new(name, *value)).collect(),
            framing: Framing::Length,
            body: Bytes::from(body),
            trailers: Vec::new(),
        }
    }

    fn differ(a: &Request, b: &Request) -> bool {
        let side = |heard| Side { authority: "here", heard: std::slice::from_ref(heard) };
        difference(side(a), side(b)).is_some()
    }

    #[test]
    fn only_what_belongs_to_the_connection_may_differ() {
        let one = request(&[("Host", "here"), ("A", "1"), ("b", "2")], "x");
        let kept_alive = request(&[("Host", "here"), ("A", "1"), ("Connection", "close"), ("b", "2")], "x");
        assert!(!differ(&one, &one) && !differ(&one, &kept_alive));
        for other in [
            request(&[("host", "here"), ("A", "1"), ("b", "2")], "x"),
            request(&[("Host", "there"), ("A", "1"), ("b", "2")], "x"),
            request(&[("Host", "here"), ("b", "2"), ("A", "1")], "x"),
            request(&[("Host", "here"), ("a", "1"), ("b", "2")], "x"),
            request(&[("Host", "here"), ("A", "1"), ("b", "2"), ("c", "3")], "x"),
            request(&[("Host", "here"), ("A", "1"), ("b", "2")], "y"),
            Request { framing: Framing::Chunked, ..one.clone() },
            Request { trailers: vec![Field::new("T", "1")], ..one.clone() },
            Request { line: "POST /b HTTP/1.1".to_owned(), ..one.clone() },
        ] {
            assert!(differ(&one, &other), "{other:?}");
        }
    }
}
