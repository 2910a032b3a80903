//! Keys in HTTP headers (draft-ietf-httpapi-idempotency-key-header): a Structured Field string, `"…"`. Many clients send
//! the bare text, so that is taken too. A repeated field may arrive as several values or joined by commas; one key is meant,
//! so all of them must be the same.

/// A header that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the key is empty")]
    Empty,
    #[error("the key must be one string of visible ASCII characters, best within double quotes")]
    NotAString,
    #[error("the header is there several times, with different keys")]
    Several,
}

/// The key that these values of one header say; `None` if the header is not there.
pub(super) fn parse(values: &[String]) -> Result<Option<String>, Malformed> {
    let mut key: Option<String> = None;
    for value in values {
        for member in members(value)? {
            match &key {
                Some(key) if *key != member => return Err(Malformed::Several),
                Some(_) => {}
                None => key = Some(member),
            }
        }
    }
    Ok(key)
}

fn members(value: &str) -> Result<Vec<String>, Malformed> {
    let mut members = Vec::new();
    let mut rest = value.trim_matches([' ', '\t']);
    loop {
        let (member, after) = if let Some(quoted) = rest.strip_prefix('"') { string(quoted)? } else { bare(rest)? };
        if member.is_empty() {
            return Err(Malformed::Empty);
        }
        members.push(member);
        match after.trim_start_matches([' ', '\t']) {
            "" => return Ok(members),
            more => rest = more.strip_prefix(',').ok_or(Malformed::NotAString)?.trim_start_matches([' ', '\t']),
        }
    }
}

/// RFC 9651, 4.2.5, after the first quote.
fn string(text: &str) -> Result<(String, &str), Malformed> {
    let mut member = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((member, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => member.push(escaped),
                Some(_) | None => return Err(Malformed::NotAString),
            },
            ' '..='~' => member.push(character),
            _ => return Err(Malformed::NotAString),
        }
    }
    Err(Malformed::NotAString)
}

fn bare(text: &str) -> Result<(String, &str), Malformed> {
    let (member, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    let member = member.trim_end_matches([' ', '\t']);
    if member.chars().all(|character| matches!(character, '!'..='~') && character != '"') {
        Ok((member.to_owned(), after))
    } else {
        Err(Malformed::NotAString)
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, parse};

    fn key(values: &[&str]) -> Result<Option<String>, Malformed> {
        parse(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn quoted_bare_and_repeated_keys_are_one_key() {
        let same: [&[&str]; 6] =
            [&["\"k-1\""], &["k-1"], &["  k-1\t"], &["k-1", "\"k-1\""], &["k-1, k-1"], &["k-1,\"k-1\""]];
        for values in same {
            assert_eq!(key(values), Ok(Some("k-1".to_owned())), "{values:?}");
        }
        assert_eq!(key(&[r#""a \"b\", \\c""#]), Ok(Some(r#"a "b", \c"#.to_owned())));
        assert_eq!(key(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_key_says_why() {
        for empty in ["", " ", "\"\"", ",k", "k,"] {
            assert_eq!(key(&[empty]), Err(Malformed::Empty), "{empty:?}");
        }
        for other in
            ["two words", "\"open", "\"a\\n\"", "\"a\"b", "clé", "\"clé\"", "a\"b", "\"k\";p=1", "\"k\\", "\u{7f}"]
        {
            assert_eq!(key(&[other]), Err(Malformed::NotAString), "{other:?}");
        }
        for several in [&["a", "b"][..], &["a,b"], &["\"a\", \"b\""]] {
            assert_eq!(key(several), Err(Malformed::Several), "{several:?}");
        }
    }
}
