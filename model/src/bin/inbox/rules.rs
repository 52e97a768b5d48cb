//! The rules that a run keeps, and those that it breaks.

/// How the reader of an inbox acknowledges a batch (R22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledges {
    /// By ticket. The batch stays in the inbox until then: the rule as it is.
    InInbox,
    /// By ticket, but the batch leaves the inbox for the record of the ticket.
    InRecord,
    /// By its length, and again until a reply is there.
    Count,
    /// By its length, once, as if the call had been executed.
    CountOnce,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub acknowledges: Acknowledges,
    /// R1: calls carry a generation, and older ones are refused.
    pub generations: bool,
    /// R1: the server forgets the generation together with the lease.
    pub forgets_generation: bool,
    /// R2: a ticket that finds nothing does not wait.
    pub never_waits: bool,
    /// The most entries of a batch.
    pub batch: usize,
}

/// What a run changes in the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub losses: u8,
    pub expiries: u8,
    pub lease_ends: u8,
    pub cuts: u8,
}

/// The parts of a variant, and what they do.
pub const VARIANTS: [(&str, &str); 10] = [
    ("rules", "the rules as they are"),
    ("ticket", "the batch leaves the inbox when it is given"),
    ("count", "breaks R3 and R22: a batch is acknowledged by its length"),
    ("countassume", "breaks R3 and R22: the same, and once only"),
    ("nogen", "breaks R1: no generations"),
    ("forgetgen", "breaks R1: the generation is forgotten with the lease"),
    ("poll", "breaks R2: a ticket never waits"),
    ("loss", "the server loses its data once, and one connection breaks"),
    ("exp", "an entry expires, and one connection breaks"),
    ("nolease", "no lease ends"),
];

impl Rules {
    /// Returns the rules and faults of a variant, whose parts are joined by `+`, or the part that is none.
    pub fn of(variant: &str) -> Result<(Self, Faults), &str> {
        let mut rules = Self {
            acknowledges: Acknowledges::InInbox,
            generations: true,
            forgets_generation: false,
            never_waits: false,
            batch: 2,
        };
        let mut faults = Faults { losses: 0, expiries: 0, lease_ends: 1, cuts: 2 };
        for part in variant.split('+') {
            match part {
                "rules" => {}
                "ticket" => rules.acknowledges = Acknowledges::InRecord,
                "count" => rules.acknowledges = Acknowledges::Count,
                "countassume" => rules.acknowledges = Acknowledges::CountOnce,
                "nogen" => rules.generations = false,
                "forgetgen" => rules.forgets_generation = true,
                "poll" => rules.never_waits = true,
                "loss" => (faults.losses, faults.cuts) = (1, 1),
                "exp" => (faults.expiries, faults.cuts) = (1, 1),
                "nolease" => faults.lease_ends = 0,
                _ => return Err(part),
            }
        }
        Ok((rules, faults))
    }

    /// Reports whether an acknowledgement names a ticket.
    pub fn by_ticket(&self) -> bool {
        matches!(self.acknowledges, Acknowledges::InInbox | Acknowledges::InRecord)
    }
}
