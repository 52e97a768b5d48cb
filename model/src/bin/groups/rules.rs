//! The rules that a run keeps, those that it breaks, and the faults that it meets.

use std::collections::BTreeSet;

/// A rule that a run can break.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Broken {
    /// The mechanism of schema 2, in short, in place of the log.
    Old,
    /// The owner does not compare numbers.
    NoChain,
    /// Repeats of an old state are not ignored.
    NoFilter,
    /// The owner applies its own changes at their reply.
    OwnReply,
    /// Changes that were answered and lost are not applied when the chain begins anew.
    NoUnseen,
    /// A member that leaves without being in is not told.
    AbsentQuiet,
    /// Pages are not asked for without a reason.
    NoScrub,
    /// A step of the clock is not looked for.
    NoClock,
    /// Each verdict is that the server is right.
    TrustServer,
    /// Another's change under a number that was told to the owner is not noticed.
    NoFork,
    /// Changes for an inbox that the server does not know are not told.
    UnknownQuiet,
    /// Repairs name the time left in place of the end.
    FixLeft,
    /// A repair brings back who has left.
    Resurrect,
    /// Superfluous members leave whatever their end is.
    GhostAlways,
    /// Members of whom a change is under way are repaired too.
    FixOver,
    /// The owner takes the end that a repair found.
    Adopt,
    /// Ends are not compared.
    NoEnds,
    /// Numbers are compared without who made the change.
    NoTag,
    /// A chain begins anew without the owner's number.
    NoEra,
    /// A flush tells the owner, and does not take out in the same step who is in again.
    FlushLeft,
    /// A flush is no change with a number, and repairs that were planned before it are made.
    FlushLate,
    /// Own changes that were lost before a flush are made again after it.
    FlushLost,
}

/// The names by which a run breaks a rule. Of those from `ghostalways` to `noera` none was found.
pub const BROKEN: [(&str, Broken); 22] = [
    ("old", Broken::Old),
    ("nochain", Broken::NoChain),
    ("nofilter", Broken::NoFilter),
    ("ownreply", Broken::OwnReply),
    ("nounseen", Broken::NoUnseen),
    ("absentquiet", Broken::AbsentQuiet),
    ("noscrub", Broken::NoScrub),
    ("noclock", Broken::NoClock),
    ("trustserver", Broken::TrustServer),
    ("nofork", Broken::NoFork),
    ("unknownquiet", Broken::UnknownQuiet),
    ("fixleft", Broken::FixLeft),
    ("resurrect", Broken::Resurrect),
    ("ghostalways", Broken::GhostAlways),
    ("fixover", Broken::FixOver),
    ("adopt", Broken::Adopt),
    ("noends", Broken::NoEnds),
    ("ntag", Broken::NoTag),
    ("noera", Broken::NoEra),
    ("flushleft", Broken::FlushLeft),
    ("flushlate", Broken::FlushLate),
    ("flushlost", Broken::FlushLost),
];

/// The letters of the faults.
pub const FAULTS: [(char, &str); 10] = [
    ('b', "the connection breaks"),
    ('k', "the reply to a beat is lost"),
    ('r', "an old state comes back, one in seven times an empty one"),
    ('l', "an empty state comes back"),
    ('e', "keys are lost one by one"),
    ('q', "the inbox is lost"),
    ('c', "the clock is set"),
    ('d', "the clock is set back by 60 s"),
    ('s', "the owner is slow, and control entries overflow"),
    ('f', "all groups are flushed"),
];

/// What a run breaks and meets.
#[derive(Clone)]
pub struct Rules {
    broken: BTreeSet<Broken>,
    faults: String,
    /// Faults may come before the last one is healed.
    pub compound: bool,
    /// How many percent of the changes happen in the quiet times of a walk.
    pub light: u64,
}

impl Rules {
    /// Returns the rules without those that `names` breaks, joined by `+`, or the name that is none.
    pub fn without<'a>(names: &'a str, faults: &str, compound: bool, light: u64) -> Result<Self, &'a str> {
        let mut broken = BTreeSet::new();
        for name in names.split('+').filter(|n| *n != "none") {
            broken.insert(BROKEN.iter().find(|b| b.0 == name).ok_or(name)?.1);
        }
        Ok(Self { broken, faults: faults.to_owned(), compound, light })
    }

    pub fn breaks(&self, rule: Broken) -> bool {
        self.broken.contains(&rule)
    }

    pub fn meets(&self, fault: char) -> bool {
        self.faults.contains(fault)
    }
}
