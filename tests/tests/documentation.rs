//! Documentation that repeats the code must not drift from it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aft_protocol::wire::{ErrorCode, route};
use aft_protocol::{limits, settings};
use aft_tests::growth::{Example, Growth, price, rounded, whole};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of a Markdown table's rows whose first cell satisfies `wanted`.
fn rows(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines().filter(|line| line.starts_with('|')).map(cells).filter(|row| wanted(&row[0])).collect()
}

#[test]
fn every_setting_is_documented_as_it_is() {
    let documented = rows(&read("docs/configuration.md"), |cell| cell.starts_with("`AFT_"));
    let quoted = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let actual: Vec<Vec<String>> = settings::ALL
        .iter()
        .map(|setting| {
            vec![quoted(setting.name), quoted(setting.default), setting.allowed.to_owned(), setting.purpose.to_owned()]
        })
        .collect();
    assert_eq!(documented, actual);
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeSet<String> = fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    let codes: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| format!("{code}.md")).collect();
    assert_eq!(pages, codes);
    let list = read("docs/errors/README.md");
    for code in ErrorCode::ALL {
        let page = read(&format!("docs/errors/{code}.md"));
        assert!(page.starts_with(&format!("# `{code}` ({})\n", code.status())), "{code}: {page}");
        assert!(page.contains(code.title()) && page.contains("## What to do"), "{code}");
        assert!(list.contains(&format!("| [`{code}`]({code}.md) | {} | {} |", code.status(), code.title())), "{code}");
    }
}

#[test]
fn every_limit_is_documented_as_it_is() {
    let text = read("docs/limits.md");
    let listed = [
        ("KEY_BYTES", limits::KEY_BYTES),
        ("VALUE_BYTES", limits::VALUE_BYTES),
        ("CONTENT_TYPE_BYTES", limits::CONTENT_TYPE_BYTES),
        ("TRANSACTION_BYTES", limits::TRANSACTION_BYTES),
        ("TRANSACTION_KEYS", limits::TRANSACTION_KEYS),
        ("GUARDED_KEYS", limits::GUARDED_KEYS),
        ("GUARDED_BYTES", limits::GUARDED_BYTES),
        ("ITEM_BYTES", limits::ITEM_BYTES),
        ("STEP_BYTES", limits::STEP_BYTES),
        ("SANDBOX_BYTES", limits::SANDBOX_BYTES),
        ("READ_SET_BYTES", limits::READ_SET_BYTES),
        ("SANDBOX_READ_SET_BYTES", limits::SANDBOX_READ_SET_BYTES),
        ("STALENESS_SECONDS", usize::try_from(limits::STALENESS_SECONDS).unwrap()),
        ("OPEN_TRANSACTIONS", limits::OPEN_TRANSACTIONS),
        ("TRANSACTION_KEY_BYTES", limits::TRANSACTION_KEY_BYTES),
        ("SCOPE_BYTES", limits::SCOPE_BYTES),
        ("TRANSACTION_RESPONSE_BYTES", limits::TRANSACTION_RESPONSE_BYTES),
        ("BATCH_KEYS", limits::BATCH_KEYS),
        ("BATCH_BODY_BYTES", limits::BATCH_BODY_BYTES),
        ("RESPONSE_BYTES", limits::RESPONSE_BYTES),
        ("ORIGIN_BYTES", limits::ORIGIN_BYTES),
        ("COWRITTEN_BYTES", limits::COWRITTEN_BYTES),
        ("COWRITTEN_FREE_BYTES", limits::COWRITTEN_FREE_BYTES),
        ("RECORD_NEEDED_SECONDS", limits::RECORD_NEEDED_SECONDS as usize),
        ("TOMBSTONE_SECONDS", limits::TOMBSTONE_SECONDS as usize),
        ("RECORD_ITEM_BYTES", limits::RECORD_ITEM_BYTES),
    ];
    for (name, value) in listed {
        let row = text.lines().find(|line| line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not documented"));
        let number = row.split('|').nth(2).unwrap().trim().split(' ').next().unwrap().replace(',', "");
        assert_eq!(number, value.to_string(), "{name}");
    }
    let constants = read("protocol/src/limits.rs").matches("pub const ").count();
    assert_eq!(constants, listed.len(), "a limit was added: document and list it here");
}

/// Every rule that the protocol document promises is cited by a test; what is not built yet says so.
#[test]
fn every_rule_is_cited_by_the_code() {
    let document = read("docs/protocol.md");
    let rules: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("* **")?.split("**").next())
        .filter(|rule| rule.starts_with("R-"))
        .collect();
    assert!(rules.len() > 15, "{rules:?}");
    let mut tests = String::new();
    for file in [
        "extension/tests/commit_rules.rs",
        "extension/tests/journal_rules.rs",
        "extension/tests/read_rules.rs",
        "extension/tests/serializable_rules.rs",
        "protocol/src/atomic_read/tests.rs",
        "protocol/src/attempt/tests.rs",
        "protocol/src/head.rs",
        "protocol/src/version.rs",
        "store/src/dynamodb/tests.rs",
        "tests/tests/recovery.rs",
    ] {
        tests += &read(file);
    }
    for folder in ["store/src/conformance"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            tests += &fs::read_to_string(entry.unwrap().path()).unwrap();
        }
    }
    for rule in rules {
        assert!(tests.contains(rule), "{rule} has no test");
    }
}

#[test]
fn the_readme_names_every_route() {
    let readme = read("README.md");
    for path in [
        "/v1/kv/{key}",
        route::BATCH_GET,
        route::BATCH_WRITE,
        route::TRANSACTION,
        route::ABORT,
        "/v1/transactions`",
        "/v1/transactions/{id}`",
        "/v1/transactions/{id}:commit`",
        "`:abort`",
        route::HEALTH,
        route::OPENAPI,
    ] {
        assert!(readme.contains(path), "{path}");
    }
}

/// Every Rust source of the workspace, in one text.
fn sources() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden && !path.ends_with("target") {
                collect(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *text += &fs::read_to_string(&path).unwrap();
            }
        }
    }
    let mut text = String::new();
    collect(&root(), &mut text);
    text
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let sources = sources();
    let documents = [
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/failure-modes.md",
        "docs/iam.md",
        "docs/limits.md",
        "docs/platforms.md",
        "docs/tables.md",
    ];
    let examples = ["bank", "checkout", "orders", "workflow"].map(|example| format!("examples/{example}/README.md"));
    for document in documents.into_iter().chain(examples.iter().map(String::as_str)) {
        let text = read(document);
        let quoted = text.split('`').skip(1).step_by(2);
        let tests: Vec<_> = quoted
            .filter(|name| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .collect();
        assert!(tests.len() >= 3, "{document} names only {tests:?}");
        for name in tests {
            assert!(sources.contains(&format!("fn {name}(")), "{document} names {name}, which does not exist");
        }
    }
}

#[test]
fn every_error_type_that_callers_see_is_documented() {
    let document = read("docs/function-errors.md");
    let sources = sources();
    let types: BTreeSet<&str> = sources
        .split('"')
        .filter(|text| text.starts_with("Aft.") && text.len() > 4 && !text.contains([' ', '\\']))
        .collect();
    assert!(types.len() > 12, "{types:?}");
    for name in types {
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}

/// The table in `docs/tables.md` on retention, size and price is computed here, and nowhere else.
#[test]
fn the_growth_of_the_tables_is_as_computed() {
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    let example = Example::DOCUMENTED;
    let mut expected = Vec::new();
    for per_second in [1, 1_000, 100_000] {
        for (retention_seconds, name) in [(7 * DAY, "7 days"), (HOUR, "1 hour")] {
            let growth = |lag_seconds| Growth { per_second, retention_seconds, lag_seconds, example };
            let (prompt, late) = (growth(0), growth(2 * DAY));
            expected.push(vec![
                whole(per_second),
                name.to_owned(),
                rounded(prompt.gigabytes()),
                rounded(late.gigabytes()),
                format!("${} to ${}", rounded(prompt.storage_dollars()), rounded(late.storage_dollars())),
                whole(prompt.record_units() + prompt.head_units()),
                format!("${}", rounded(prompt.write_dollars())),
            ]);
        }
    }
    let text = read("docs/tables.md");
    let (_, section) = text.split_once("\n## Retention and size\n").unwrap();
    let documented = rows(section, |cell| expected.iter().any(|row| row[0] == cell));
    assert_eq!(
        documented,
        expected,
        "{}",
        expected.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect::<String>()
    );
    let nothing = Example { keys: 0, origin: 0, response: 0, content_type: 0, ..example };
    let empty = Example { keys: 1, key: 0, value: 0, ..nothing };
    let bytes = example.record_bytes();
    for fact in [
        format!("{} + origin", nothing.record_bytes()),
        format!("for each key: {} + key", empty.record_bytes() - nothing.record_bytes()),
        format!("{bytes} bytes"),
        format!("{} bytes of storage", bytes + 100),
    ] {
        assert!(section.contains(&fact), "{fact}");
    }
    for (name, price) in [("write request units", price::WRITES), ("GB-month", price::STORAGE)] {
        assert!(
            section.lines().any(|line| line.contains(name) && line.contains(&format!("${price}"))),
            "{name} {price}"
        );
    }
}

/// Where somebody looks first must know every code.
#[test]
fn every_error_code_is_in_the_table_of_causes() {
    let document = read("docs/troubleshooting.md");
    let (_, table) = document.split_once("\n## By error code\n").unwrap();
    for code in ErrorCode::ALL {
        assert!(table.contains(&format!("[`{code}`](errors/{code}.md)")), "{code}");
    }
}

/// Metric filters count these words: a line that says something else is counted as nothing.
#[test]
fn every_log_line_that_is_to_be_counted_is_written() {
    let document = read("docs/operations.md");
    let (_, table) = document.split_once("\n## What to watch\n").unwrap();
    let lines: Vec<&str> = table.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix('"')).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    let sources = sources();
    for line in lines {
        assert!(sources.contains(line.trim_end_matches('"')), "{line}");
    }
}

/// The Markdown files of the repository.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Its headings, as a reader's browser names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        found.insert(kept.collect::<String>().replace(' ', "-"));
    }
    found
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut files = Vec::new();
    documents(&root(), &mut files);
    let (mut links, mut broken) = (0, Vec::new());
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let mut in_code = false;
        let prose = text.lines().filter(|line| {
            in_code ^= line.starts_with("```");
            !in_code
        });
        let prose = prose.collect::<Vec<_>>().join("\n");
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let is_there = match fs::read_to_string(&path) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                Err(_) => anchor.is_empty() && path.exists(),
            };
            if !is_there {
                broken.push(format!("{}: {target}", file.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(links > 200, "{links} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
