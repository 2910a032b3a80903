//! What went wrong, counted.

use std::time::Duration;

use transfer::event::Statement;

use crate::run::Fate;

/// One side of the comparison.
#[derive(Debug, Default)]
pub struct Verdict {
    acknowledged: usize,
    refused: usize,
    audits: usize,
    torn: usize,
    twice: usize,
    half: usize,
    lost: usize,
    contradictions: usize,
    elapsed: Duration,
}

impl Verdict {
    /// Judges by what callers were told, what auditors saw, and what is there at the end.
    pub fn new(
        fates: &[Vec<Fate>],
        statements: &[Statement],
        (audits, torn): (usize, usize),
        elapsed: Duration,
    ) -> Self {
        let mut verdict = Self { audits, torn, elapsed, ..Self::default() };
        for (customer, statement) in fates.iter().zip(statements) {
            for fate in customer {
                verdict.judge(fate, statement);
            }
        }
        verdict
    }

    fn judge(&mut self, fate: &Fate, statement: &Statement) {
        let name = &fate.order.transfer;
        let booked = |account: &[String]| account.iter().filter(|booked| *booked == name).count();
        let (checking, savings) = (booked(&statement.checking.transfers), booked(&statement.savings.transfers));
        let places = [checking > 0, savings > 0, statement.ledger.contains(name)];
        let nowhere = places == [false; 3];
        let acknowledged = !fate.answers.is_empty();

        self.acknowledged += usize::from(acknowledged);
        self.refused += usize::from(!acknowledged && nowhere);
        self.twice += usize::from(checking > 1 || savings > 1);
        self.half += usize::from(!nowhere && places != [true; 3]);
        self.lost += usize::from(acknowledged && nowhere);
        self.contradictions += usize::from(fate.answers.windows(2).any(|pair| pair[0] != pair[1]));
    }

    /// Everything that must not happen.
    pub fn anomalies(&self) -> usize {
        self.torn + self.twice + self.half + self.lost + self.contradictions
    }
}

/// Both sides, line by line.
pub fn table(without: &Verdict, with: &Verdict) -> Vec<String> {
    let row = |name: &str, cell: fn(&Verdict) -> String| format!("  {name:<46}{:>16}{:>16}", cell(without), cell(with));
    vec![
        String::new(),
        format!("  {:<46}{:>16}{:>16}", "", "without AFT", "with AFT"),
        row("transfers acknowledged", |side| side.acknowledged.to_string()),
        row("transfers refused, nothing written", |side| side.refused.to_string()),
        row("audits", |side| side.audits.to_string()),
        row("ANOMALIES  torn reads seen by auditors", |side| side.torn.to_string()),
        row("           transfers applied twice", |side| side.twice.to_string()),
        row("           transfers half done", |side| side.half.to_string()),
        row("           transfers acknowledged but lost", |side| side.lost.to_string()),
        row("           duplicates answered differently", |side| side.contradictions.to_string()),
        row("seconds", |side| format!("{:.1}", side.elapsed.as_secs_f64())),
    ]
}
