//! A failing history made small: deliveries and troubles are left out, one after the other, as long as the same rule stays
//! broken. What is left is the schedule that a person reads.

use std::collections::BTreeMap;
use std::fmt;

use crate::ground::Ground;
use crate::plan::Plan;
use crate::run::{Outcome, drawn, run};
use crate::trouble::{Site, Source, Trouble};

/// Histories that are run for it, at most.
const TRIES: usize = 2_000;

/// A history that is as small as it could be made.
#[derive(Debug)]
pub struct Small {
    /// With what was left out.
    pub plan: Plan,
    /// What goes wrong in it.
    pub troubles: BTreeMap<Site, Trouble>,
    /// What comes of it.
    pub outcome: Outcome,
    /// How many histories were run to find it.
    pub tries: usize,
}

/// Makes the history smaller whose seed drew it; the rule is that of its first breach. To be called where there is room.
#[must_use]
pub fn shrink<G: Ground>(plan: &Plan) -> Small {
    let outcome = run::<G>(plan, &drawn(plan), false);
    let rule = outcome.breaches.first().map(|breach| breach.rule);
    let troubles = outcome.happened.iter().map(|happened| (happened.site, happened.trouble)).collect();
    let mut small = Small { plan: plan.clone(), troubles, outcome, tries: 0 };
    loop {
        let before = (small.plan.dropped.len(), small.troubles.len());
        small.without_deliveries::<G>(rule);
        small.without_troubles::<G>(rule);
        if before == (small.plan.dropped.len(), small.troubles.len()) || small.tries >= TRIES {
            return small;
        }
    }
}

impl Small {
    /// Takes the smaller history if it breaks the same rule.
    fn try_out<G: Ground>(&mut self, plan: Plan, troubles: BTreeMap<Site, Trouble>, rule: Option<&str>) -> bool {
        self.tries += 1;
        let outcome = run::<G>(&plan, &Source::Only(troubles.clone()), false);
        let is_it = outcome.breaches.iter().any(|breach| Some(breach.rule) == rule);
        if is_it {
            // What no longer happens is left out, too.
            let happens = |site: &Site| outcome.happened.iter().any(|happened| happened.site == *site);
            let troubles = troubles.into_iter().filter(|(site, _)| happens(site)).collect();
            (self.plan, self.troubles, self.outcome) = (plan, troubles, outcome);
        }
        is_it
    }

    fn without_deliveries<G: Ground>(&mut self, rule: Option<&str>) {
        let all: Vec<_> = places(&self.plan).collect();
        for (era, place, number) in all {
            if self.plan.dropped.contains(&(era, place, number)) || self.tries >= TRIES {
                continue;
            }
            let mut plan = self.plan.clone();
            plan.dropped.insert((era, place, number));
            self.try_out::<G>(plan, self.troubles.clone(), rule);
        }
    }

    /// Halves first, then single ones.
    fn without_troubles<G: Ground>(&mut self, rule: Option<&str>) {
        let mut size = self.troubles.len().div_ceil(2).max(1);
        loop {
            let sites: Vec<Site> = self.troubles.keys().copied().collect();
            for part in sites.chunks(size) {
                if self.tries >= TRIES {
                    return;
                }
                let mut troubles = self.troubles.clone();
                troubles.retain(|site, _| !part.contains(site));
                if troubles.len() < self.troubles.len() {
                    self.try_out::<G>(self.plan.clone(), troubles, rule);
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }
}

fn places(plan: &Plan) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    plan.eras.iter().enumerate().flat_map(|(era, places)| {
        let of =
            move |(place, deliveries): (usize, &Vec<_>)| (0..deliveries.len()).map(move |number| (era, place, number));
        places.iter().enumerate().flat_map(of)
    })
}

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "seed {}, {:?}, after {} tries to make it smaller:", plan.seed, plan.workload, self.tries)?;
        for (era, place, number) in places(plan).filter(|delivery| !plan.dropped.contains(delivery)) {
            let delivery = plan.eras[era][place][number];
            let number = era * 1_000 + number;
            writeln!(
                f,
                "  after {:?} sandbox {place} gets request {} (its delivery {number})",
                delivery.at, delivery.transaction
            )?;
        }
        for happened in &self.outcome.happened {
            writeln!(f, "  {happened}")?;
        }
        for breach in &self.outcome.breaches {
            writeln!(f, "  BROKEN: {breach}")?;
        }
        Ok(())
    }
}
