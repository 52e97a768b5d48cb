//! The limits of a run, its variant, and the rule that it breaks.

use std::cell::Cell;

/// A rule that a run can break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    /// R17: the ticket that was given an entry finishes it under its own number.
    AckOwnNumber,
    /// R17: a copy of what was given on is not ignored.
    ForgetGivenOn,
    /// R17: a ticket whose entry was given on still counts as asked.
    StaysAsked,
    /// R17: releases that are noted are not struck off.
    ReleaseStays,
    /// R17: given on, though the ticket has delivered an entry of the shard.
    GiveOnDelivered,
    /// R17: given on, though the ticket is open and its release was sent.
    OpenThoughReleased,
    /// R17: given on, though a call that was sent carried its release.
    GiveOnSent,
    /// R17: a ticket that is dropped says nothing of what it was given.
    DropForgets,
    /// R17: given on, though the channel has an order.
    GiveOnOrdered,
    /// R17: given on to a ticket that is filled.
    ToFilled,
    /// R17: given on to a ticket that is not about to ask.
    ToAnyOpen,
    /// R8: a reply clears finished tickets that its call did not carry.
    DrainAll,
    /// R8: open tickets travel with a part of the finished ones.
    Overtake,
    /// R10: a `try` ticket is asked for again where nothing was.
    AskNothing,
    /// R18: what was not served is not asked for again.
    UnservedForgotten,
    /// R7: a beat only renews the lease.
    BeatOnlyRenews,
    /// R1: a late pop is not refused.
    NoGeneration,
    /// R3: an acknowledgement does not look at the id.
    AckByTicket,
}

/// The names by which a run breaks a rule.
pub const BROKEN: [(&str, Broken); 18] = [
    ("ack-own-number", Broken::AckOwnNumber),
    ("forget-given-on", Broken::ForgetGivenOn),
    ("stays-asked", Broken::StaysAsked),
    ("release-stays", Broken::ReleaseStays),
    ("give-on-delivered", Broken::GiveOnDelivered),
    ("open-though-released", Broken::OpenThoughReleased),
    ("give-on-sent", Broken::GiveOnSent),
    ("drop-forgets", Broken::DropForgets),
    ("give-on-ordered", Broken::GiveOnOrdered),
    ("to-filled", Broken::ToFilled),
    ("to-any-open", Broken::ToAnyOpen),
    ("drain-all", Broken::DrainAll),
    ("overtake", Broken::Overtake),
    ("ask-nothing", Broken::AskNothing),
    ("unserved-forgotten", Broken::UnservedForgotten),
    ("beat-only-renews", Broken::BeatOnlyRenews),
    ("no-generation", Broken::NoGeneration),
    ("ack-by-ticket", Broken::AckByTicket),
];

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most open tickets of a call.
    pub most_tickets: usize,
    /// The most queues of a call.
    pub most_queues: usize,
    /// The most finished tickets of a call.
    pub most_finished: usize,
    /// The most entries of a reply.
    pub most_served: usize,
    /// A surplus entry that was published is given on too.
    pub pushes_too: bool,
    /// Published entries and replies come by two connections, so in no order (RESP2).
    pub apart: bool,
    pub broken: Broken,
}

impl Rules {
    /// Small limits, and no rule broken.
    pub const KEPT: Self = Self {
        most_tickets: 2,
        most_queues: 3,
        most_finished: 2,
        most_served: 1,
        pushes_too: false,
        apart: false,
        broken: Broken::Nothing,
    };

    /// The limits of the crate.
    pub const WIDE: Self =
        Self { most_tickets: 500, most_queues: 2000, most_finished: 500, most_served: 500, ..Self::KEPT };

    /// Returns the rules with the variants that `names` has, joined by `+`, or the name that is none.
    pub fn with(names: &str) -> Result<Self, &str> {
        let mut rules = Self::KEPT;
        for name in names.split('+').filter(|n| !n.is_empty() && *n != "rules") {
            match name {
                "pushes-too" => rules.pushes_too = true,
                "apart" => rules.apart = true,
                "wide" => {
                    let Self { pushes_too, apart, broken, .. } = rules;
                    rules = Self { pushes_too, apart, broken, ..Self::WIDE };
                }
                _ => rules.broken = BROKEN.iter().find(|b| b.0 == name).ok_or(name)?.1,
            }
        }
        Ok(rules)
    }
}

thread_local! {
    static RULES: Cell<Rules> = const { Cell::new(Rules::KEPT) };
}

#[inline]
pub fn rules() -> Rules {
    RULES.get()
}

pub fn set_rules(rules: Rules) {
    RULES.set(rules);
}

#[inline]
pub fn breaks(rule: Broken) -> bool {
    RULES.get().broken == rule
}
