//! What a run may be told: limits, the variant, and a rule to break.
use std::cell::Cell;
/// Shards, clients, queues. Queue 0 is a normal channel, on both shards; queue 1 a `?` channel, on shard 1.
pub const NS: usize = 2;
pub const NC: usize = 2;
pub const NQ: usize = 2;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    Nothing,
    AckOwnNumber,
    ForgetGivenOn,
    StaysAsked,
    ReleaseStays,
    GiveOnDelivered,
    OpenThoughReleased,
    GiveOnSent,
    DropForgets,
    GiveOnOrdered,
    ToFilled,
    ToAnyOpen,
    DrainAll,
    Overtake,
    AskNothing,
    UnservedForgotten,
    /// Of the task and the server: a beat does not ask again; a late pop is not fenced; an acknowledgement does not look at the id.
    BeatOnlyRenews,
    NoGeneration,
    AckByTicket,
}
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
/// `pushes_too`: a surplus entry that was pushed is given on too. `apart`: pushes and replies come by two connections, so in no order.
#[derive(Clone, Copy, Debug)]
pub struct Cfg {
    pub tickets: usize,
    pub queues: usize,
    pub finished: usize,
    pub served: usize,
    pub pushes_too: bool,
    pub apart: bool,
    pub broken: Broken,
}
pub const PLAIN: Cfg = Cfg {
    tickets: 2,
    queues: 3,
    finished: 2,
    served: 1,
    pushes_too: false,
    apart: false,
    broken: Broken::Nothing,
};
thread_local! { static CFG: Cell<Cfg> = const { Cell::new(PLAIN) } }
pub fn cfg() -> Cfg {
    CFG.get()
}
pub fn set_cfg(c: Cfg) {
    CFG.set(c)
}
pub fn broken(b: Broken) -> bool {
    CFG.get().broken == b
}
