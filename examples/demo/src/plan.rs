//! What happens, decided by a seed before anything runs: both sides of the comparison meet the same troubles.

use std::fmt;

use fastrand::Rng;
use transfer::faults::{Fault, How};

/// How often a platform tries an asynchronous invocation: once, and twice again.
pub const PLATFORM_TRIES: usize = 3;
/// How often AFT's shim runs the handler in one invocation, by default.
const SHIM_ATTEMPTS: usize = 3;
/// How often a handler fails that succeeds in the end.
const MOST_PASSING_FAULTS: usize = 2;

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Customers.
    pub customers: usize,
    /// Transfers of each, one after the other.
    pub transfers: usize,
}

/// When a request arrives a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// It does not.
    Never,
    /// At the same time.
    Meanwhile,
    /// After the customer's other transfers.
    Later,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose.
    pub customer: String,
    /// Which.
    pub transfer: String,
    /// How much.
    pub amount: i64,
    /// How its attempts fail.
    pub faults: Vec<Fault>,
    /// Whether it arrives twice.
    pub duplicate: Duplicate,
}

impl Order {
    /// Whether the handler fails however often the platform tries.
    pub fn is_hopeless(&self) -> bool {
        self.faults.len() > MOST_PASSING_FAULTS
    }
}

/// Every request, by customer.
#[derive(Debug)]
pub struct Plan {
    /// One list a customer, in order.
    pub customers: Vec<Vec<Order>>,
    /// For what is left to chance while it runs.
    pub seed: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn from_seed(seed: u64, size: Size) -> Self {
        let mut random = Rng::with_seed(seed);
        let customer = |number| (0..size.transfers).map(|n| order(&mut random, number, n)).collect();
        Self { customers: (0..size.customers).map(customer).collect(), seed }
    }

    fn count(&self, wanted: impl Fn(&Order) -> bool) -> usize {
        self.customers.iter().flatten().filter(|order| wanted(order)).count()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transfers of {} customers, {} of which fail or are killed between their writes, {} duplicates at the \
             same time, {} later, sandboxes killed at random (seed {})",
            self.count(|_| true),
            self.customers.len(),
            self.count(|order| !order.faults.is_empty()),
            self.count(|order| order.duplicate == Duplicate::Meanwhile),
            self.count(|order| order.duplicate == Duplicate::Later),
            self.seed,
        )
    }
}

fn order(random: &mut Rng, customer: usize, number: usize) -> Order {
    let faults = match random.u32(0..20) {
        // A handler that never succeeds, however often it is tried.
        0 => vec![fault(random); 2 * PLATFORM_TRIES * SHIM_ATTEMPTS],
        1..=8 => (0..random.usize(1..=MOST_PASSING_FAULTS)).map(|_| fault(random)).collect(),
        _ => Vec::new(),
    };
    let duplicate = match random.u32(0..10) {
        0 | 1 => Duplicate::Meanwhile,
        2 | 3 => Duplicate::Later,
        _ => Duplicate::Never,
    };
    Order {
        customer: format!("c{customer}"),
        transfer: format!("t{number}"),
        amount: random.i64(1..=50),
        faults,
        duplicate,
    }
}

fn fault(random: &mut Rng) -> Fault {
    let how = match random.u32(0..3) {
        0 => How::Error,
        1 => How::Exit,
        _ => How::Kill,
    };
    Fault { after: random.u32(1..=3), how }
}
