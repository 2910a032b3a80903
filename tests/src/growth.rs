//! How large the tables get and what they cost: the arithmetic behind `docs/tables.md`.
//!
//! Sizes are DynamoDB's (developer guide, "Item sizes and formats"): names count, a list or map has 3 bytes and 1 for each
//! element, a number half a byte a digit and 1, and storage has 100 bytes more for each item.

/// A transaction as an example: what it writes and answers. All sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// How many keys it writes.
    pub keys: u64,
    /// Each key.
    pub key: u64,
    /// Each value.
    pub value: u64,
    /// Each content type, that of the response too.
    pub content_type: u64,
    /// The response.
    pub response: u64,
    /// Where the request came from, in words.
    pub origin: u64,
}

/// A transaction ID, a nonce, a fingerprint, a sandbox.
const ID: u64 = 26;
/// A version.
const VERSION: u64 = 40;
/// A number of up to 10 digits, as an epoch second has.
const NUMBER: u64 = 6;
/// A number of up to 2 digits.
const SMALL_NUMBER: u64 = 2;
const MAP: u64 = 3;
const ELEMENT: u64 = 1;
const KB: u64 = 1_024;
const GB: f64 = 1_073_741_824.0;
/// Of storage, for each item, besides the item.
const ITEM_STORAGE: u64 = 100;
/// As bills have it.
const MONTH_SECONDS: u64 = 30 * 24 * 3_600;

/// US dollars, US East (N. Virginia), standard table class, on demand. See `docs/tables.md` for date and source.
pub mod price {
    /// A million write request units.
    pub const WRITES: f64 = 0.625;
    /// A million read request units.
    pub const READS: f64 = 0.125;
    /// A GB of storage for a month.
    pub const STORAGE: f64 = 0.25;
}

impl Example {
    /// What `docs/tables.md` counts with.
    pub const DOCUMENTED: Self = Self { keys: 2, key: 32, value: 200, content_type: 16, response: 100, origin: 60 };

    /// The record's item.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        let name = |text: &str| text.len() as u64;
        let place = name("id") + ID + name("part") + name("commit");
        let ids = name("t") + VERSION + name("n") + ID + name("fingerprint") + ID + name("sandbox") + ID;
        let rest = name("origin") + self.origin + name("applied") + VERSION;
        let numbers = name("chunks") + SMALL_NUMBER + name("x") + NUMBER;
        let response = name("r") + self.response + name("rct") + self.content_type;
        let write =
            ELEMENT + self.key + MAP + ELEMENT + name("v") + self.value + ELEMENT + name("ct") + self.content_type;
        place + ids + rest + numbers + response + name("w") + MAP + self.keys * write
    }
}

/// A row of the table on growth.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// Commits in a second.
    pub per_second: u64,
    /// How long records are kept.
    pub retention_seconds: u64,
    /// How long after that DynamoDB deletes them.
    pub lag_seconds: u64,
    /// What is committed.
    pub example: Example,
}

impl Growth {
    /// Records in the table once as many expire as are written.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.per_second * (self.retention_seconds + self.lag_seconds)
    }

    /// The size of the transaction table then, in GB of 2^30 bytes, as it is billed.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub fn gigabytes(&self) -> f64 {
        (self.records() * (self.example.record_bytes() + ITEM_STORAGE)) as f64 / GB
    }

    /// What that storage costs in a month.
    #[must_use]
    pub fn storage_dollars(&self) -> f64 {
        self.gigabytes() * price::STORAGE
    }

    /// Write units of the transaction table in a second.
    #[must_use]
    pub fn record_units(&self) -> u64 {
        self.per_second * self.example.record_bytes().div_ceil(KB)
    }

    /// Write units of the data table in a second, where a head fits 1 KB with its previous version.
    #[must_use]
    pub const fn head_units(&self) -> u64 {
        self.per_second * self.example.keys
    }

    /// What all these writes cost in a month.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub fn write_dollars(&self) -> f64 {
        ((self.record_units() + self.head_units()) * MONTH_SECONDS) as f64 / 1e6 * price::WRITES
    }
}

/// A number for people: three significant digits, thousands apart.
#[must_use]
pub fn rounded(number: f64) -> String {
    let decimals = 2 - number.log10().floor() as i32;
    let scale = 10_f64.powi(decimals);
    let number = (number * scale).round() / scale;
    let text = format!("{number:.*}", usize::try_from(decimals).unwrap_or_default());
    match text.split_once('.') {
        None => apart(&text),
        Some((whole, decimals)) => format!("{}.{decimals}", apart(whole)),
    }
}

/// A whole number for people: thousands apart.
#[must_use]
pub fn whole(number: u64) -> String {
    apart(&number.to_string())
}

fn apart(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
