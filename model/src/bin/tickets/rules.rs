//! The rules that a run keeps, and those that it breaks.

/// The rules of docs/protocol.md that a run may break. [`Rules::KEPT`] breaks none.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// R1, R15: calls carry a generation, and older ones are refused.
    pub generations: bool,
    /// R1: the server forgets the generation together with the lease.
    pub forgets_generation: bool,
    /// R2: a push discards one ticket at most.
    pub discards_one: bool,
    pub acknowledgement: Acknowledgement,
    /// R3: the ids that acknowledgements name are counters that begin again after a loss of data.
    pub counted_ids: bool,
    /// R3: a released entry goes to the head of its queue.
    pub returns_to_head: bool,
    /// R3: a pop revives a lease that has ended.
    pub revives_lease: bool,
    pub lease_end: LeaseEnd,
    /// R6: a client subscribes to its wake channel before hello.
    pub subscribes_first: bool,
    /// R6: a client that has reconnected asks for its open tickets.
    pub asks_after_hello: bool,
    pub beat: Beat,
    /// R8: what is finished travels in the call that asks for a ticket.
    pub finished_inside: bool,
    /// R10: the server gives back by ticket. If not, the client sends back the entries that it saw.
    pub server_gives_back: bool,
    /// R11: a call that was refused is forgotten, and the client begins anew. If not, it sends the call again.
    pub begins_anew: bool,
    /// R13: a client delivers only while its lease holds.
    pub checks_lease: bool,
    /// R15: a push carries its generation.
    pub fenced_push: bool,
    /// R31: after a hello that is not its first a client finishes the tickets that only the server knows.
    pub finishes_unknown: bool,
    /// R18: a pop that has dropped as many expired entries as it may lets no ticket wait beside what is left.
    pub stops_whole: bool,
}

/// R3: what an acknowledgement names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgement {
    /// Nothing: the next call acknowledges.
    NextCall,
    Ticket,
    TicketAndId,
}

/// R4: what the end of a lease does to the entries that its client was handed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseEnd {
    Drops,
    GivesAway,
    Keeps,
}

/// R7: what a client does after each third of its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    None,
    RenewsLease,
    AsksAgain,
}

/// The names by which a run breaks a rule, with the rule.
pub const VARIANTS: [(&str, &str); 22] = [
    ("nogen", "R1"),
    ("forgetgen", "R1"),
    ("dlimit", "R2"),
    ("ackT", "R3"),
    ("acknext", "R3"),
    ("ackseq", "R3"),
    ("lpush", "R3"),
    ("recreate", "R3"),
    ("requeue", "R4"),
    ("drop", "R4"),
    ("sublast", "R6"),
    ("norepop", "R6"),
    ("hbno", "R7"),
    ("hblease", "R7"),
    ("nopiggy", "R8"),
    ("clientgb", "R10"),
    ("repeatpop", "R11"),
    ("checklease", "R13"),
    ("nopushfence", "R15"),
    ("stopwaits", "R18"),
    ("nolist", "R31"),
    ("rules", "none"),
];

impl Rules {
    pub const KEPT: Self = Self {
        generations: true,
        forgets_generation: false,
        discards_one: false,
        acknowledgement: Acknowledgement::TicketAndId,
        counted_ids: false,
        returns_to_head: false,
        revives_lease: false,
        lease_end: LeaseEnd::Keeps,
        subscribes_first: true,
        asks_after_hello: true,
        beat: Beat::AsksAgain,
        finished_inside: true,
        server_gives_back: true,
        begins_anew: true,
        checks_lease: false,
        fenced_push: true,
        finishes_unknown: true,
        stops_whole: true,
    };

    /// Returns the rules less those that `names` breaks, or the name that is none. Names are joined by `+`.
    pub fn without(names: &str) -> Result<Self, &str> {
        let mut rules = Self::KEPT;
        for name in names.split('+') {
            match name {
                "rules" => {}
                "nogen" => {
                    rules.generations = false;
                    rules.fenced_push = false;
                    rules.revives_lease = true;
                }
                "forgetgen" => rules.forgets_generation = true,
                "dlimit" => rules.discards_one = true,
                "ackT" => rules.acknowledgement = Acknowledgement::Ticket,
                "acknext" => rules.acknowledgement = Acknowledgement::NextCall,
                "ackseq" => rules.counted_ids = true,
                "lpush" => rules.returns_to_head = true,
                "recreate" => rules.revives_lease = true,
                "requeue" => rules.lease_end = LeaseEnd::GivesAway,
                "drop" => rules.lease_end = LeaseEnd::Drops,
                "sublast" => rules.subscribes_first = false,
                "norepop" => rules.asks_after_hello = false,
                "hbno" => rules.beat = Beat::None,
                "hblease" => rules.beat = Beat::RenewsLease,
                "nopiggy" => rules.finished_inside = false,
                "clientgb" => rules.server_gives_back = false,
                "repeatpop" => rules.begins_anew = false,
                "checklease" => rules.checks_lease = true,
                "nopushfence" => rules.fenced_push = false,
                "nolist" => rules.finishes_unknown = false,
                "stopwaits" => rules.stops_whole = false,
                _ => return Err(name),
            }
        }
        Ok(rules)
    }
}
