//! A limit on read units: a scan reads as fast as it can, and what it reads is taken from those who work.
//!
//! What a page will cost is not known before it is read: a full one is paid for in advance, and what it was less is given
//! back.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep_until};

/// An eventually consistent page of 1 MB.
const PAGE_UNITS: f64 = 128.0;

/// So many read units a second.
pub(crate) struct Budget {
    /// `None`: as fast as it goes.
    per_second: Option<f64>,
    start: Instant,
    /// When everything that was taken will be paid for, in seconds after the start.
    paid: Mutex<f64>,
}

impl Budget {
    /// A budget of so many read units a second; 0: no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = (per_second > 0).then(|| f64::from(per_second));
        Self { per_second, start: Instant::now(), paid: Mutex::new(0.0) }
    }

    /// Waits until a page may be read.
    pub(crate) async fn page(&self) {
        self.spend(PAGE_UNITS).await;
    }

    /// What that page did cost.
    pub(crate) fn page_was(&self, units: Option<f64>) {
        self.take(units.unwrap_or(PAGE_UNITS) - PAGE_UNITS);
    }

    /// Waits until so many units may be spent.
    pub(crate) async fn spend(&self, units: f64) {
        if let Some(at) = self.take(units) {
            sleep_until(self.start + Duration::from_secs_f64(at)).await;
        }
    }

    /// From when on they may be spent, in seconds after the start.
    fn take(&self, units: f64) -> Option<f64> {
        let per_second = self.per_second?;
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used in the past is not saved up.
        let at = paid.max(self.start.elapsed().as_secs_f64());
        *paid = (at + units / per_second).max(0.0);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant};

    use super::Budget;

    #[tokio::test(start_paused = true)]
    async fn a_scan_takes_as_long_as_its_units() {
        let (budget, start) = (Budget::new(64), Instant::now());
        for _ in 0..10 {
            budget.page().await;
            budget.page_was(Some(128.0));
        }
        // The last page is paid for afterwards, which nobody waits for.
        assert_eq!(start.elapsed().as_secs(), 18, "nine pages of 128 units");
        budget.spend(32.0).await;
        budget.spend(0.0).await;
        assert_eq!(start.elapsed().as_millis(), 20_500, "and what else is read");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_page_did_not_cost_is_given_back() {
        let (budget, start) = (Budget::new(64), Instant::now());
        for _ in 0..10 {
            budget.page().await;
            budget.page_was(Some(6.4));
        }
        assert!(start.elapsed() < Duration::from_millis(1_000), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let (budget, start) = (Budget::new(0), Instant::now());
        for _ in 0..1_000 {
            budget.page().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
