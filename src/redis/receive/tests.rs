//! What the tickets tell the shards, call by call.

use bytes::Bytes;
use futures::FutureExt;

use super::*;

#[test]
fn a_server_that_is_asked_nothing_is_not_remembered_every_receive_that_ended() {
    let tickets = Arc::new(Tickets::new(2));
    let channels: Arc<[ChannelName]> = [ChannelName::new("jobs").unwrap()].into();
    let both = || [(0, Arc::clone(&channels)), (1, Arc::clone(&channels))];
    let waiting = tickets.open(both(), true).unwrap();
    for _ in 0..10_000 {
        drop(tickets.open(both(), true).unwrap());
        tickets.next_call(0);
    }
    let asked = |shard: usize| tickets.lock().shards[shard].ask.len();
    assert!(asked(1) <= MAX_TICKETS + 3, "{} tickets to ask for", asked(1));
    assert!(tickets.next_call(1).unwrap().open.iter().any(|open| open.ticket == waiting.ticket));
}

/// Shows R31.
#[test]
fn when_an_unknown_ticket_is_finished_those_that_wait_are_asked_for_again() {
    let tickets = Arc::new(Tickets::new(1));
    let waiting = tickets.open([(0, jobs())], true).unwrap();
    let call = tickets.next_call(0).unwrap();
    answer(&tickets, 0, &call, Vec::new());
    tickets.recorded(0, &[waiting.ticket]);
    assert!(tickets.next_call(0).is_none(), "the server knows what this process knows");
    tickets.recorded(0, &[waiting.ticket, 1_000]);
    let said = tickets.next_call(0).unwrap();
    assert_eq!(said.finished, [finished(1_000, None)]);
    assert!(said.open.iter().any(|open| open.ticket == waiting.ticket));
}

fn jobs() -> Arc<[ChannelName]> {
    [ChannelName::new("jobs").unwrap()].into()
}

/// An entry of channel `jobs`.
fn entry(number: u8) -> Handed {
    let bytes = [&[number; 18][..], b"m x"].concat();
    Handed { queue: "jobs".to_owned(), first: Entry::new(Bytes::from(bytes)), more: Vec::new() }
}

fn given(ticket: u64, number: u8) -> Vec<Given> {
    vec![Given { ticket, outcome: Outcome::Handed(entry(number)) }]
}

fn answer(tickets: &Tickets, shard: usize, call: &NextCall, given: Vec<Given>) {
    tickets.answered(shard, call, call.open.len(), given, |text| panic!("{text}"));
}

/// The first byte of the entry that a receive returns now.
fn receive(mut receiving: Receiving) -> Option<u8> {
    let Received { entry, .. } = receiving.message().now_or_never()?.unwrap()?;
    receiving.claim().unwrap();
    entry.id().first().copied()
}

fn finished(ticket: u64, delivered: Option<u8>) -> Finished {
    let delivered = delivered.map(|number| entry(number).last_id());
    Finished { ticket, delivered }
}

/// A receive that shard 0 has filled and that shard 1 was asked for too, and one that was opened after it.
fn filled_and_next() -> (Arc<Tickets>, NextCall, Receiving, Receiving) {
    let tickets = Arc::new(Tickets::new(2));
    let both = || [(0, jobs()), (1, jobs())];
    let first = tickets.open(both(), true).unwrap();
    let asked = [0, 1].map(|shard| tickets.next_call(shard).unwrap());
    let [to_0, to_1] = asked;
    answer(&tickets, 0, &to_0, given(first.ticket, 1));
    let next = tickets.open(both(), true).unwrap();
    (tickets, to_1, first, next)
}

/// Shows R17.
#[test]
fn what_a_second_shard_hands_to_a_receive_is_the_next_ones_and_acknowledged_under_its_number() {
    let (tickets, to_1, first, next) = filled_and_next();
    let (one, two) = (first.ticket, next.ticket);
    assert_eq!(receive(first), Some(1));
    answer(&tickets, 1, &to_1, given(one, 2));
    assert_eq!(receive(next), Some(2), "without being asked for");
    tickets.lock().shards[1].urgent = true;
    let said = tickets.next_call(1).unwrap();
    assert_eq!(said.finished, [finished(one, Some(2))], "shard 1 never heard of ticket {two}");
    assert!(said.open.is_empty());
}

/// Shows R17.
#[test]
fn it_is_given_on_before_the_first_receive_was_polled_too() {
    let (tickets, to_1, first, next) = filled_and_next();
    let one = first.ticket;
    answer(&tickets, 1, &to_1, given(one, 2));
    drop(next);
    assert_eq!(receive(first), Some(1));
    let said = tickets.next_call(1).unwrap();
    assert_eq!(said.finished, [finished(one, None)], "what the next one did not return goes back, once");
}

/// Shows R17.
#[test]
fn what_was_given_on_is_not_released_because_it_comes_once_more() {
    let (tickets, to_1, first, next) = filled_and_next();
    let one = first.ticket;
    assert_eq!(receive(first), Some(1));
    answer(&tickets, 1, &to_1, given(one, 2));
    tickets.arrived(1, one, entry(2));
    assert!(tickets.next_call(1).is_none(), "nothing is said while the next receive has it");
    assert_eq!(receive(next), Some(2));
}

/// Shows R9 and R17.
#[test]
fn what_was_delivered_already_is_not_given_on() {
    let tickets = Arc::new(Tickets::new(2));
    let both = || [(0, jobs()), (1, jobs())];
    let first = tickets.open(both(), true).unwrap();
    let one = first.ticket;
    let to_1 = tickets.next_call(1).unwrap();
    // The same entry is pushed, delivered, and then in the reply to a call that asked for the ticket.
    tickets.arrived(1, one, entry(2));
    assert_eq!(receive(first), Some(2));
    let next = tickets.open(both(), true).unwrap();
    answer(&tickets, 1, &to_1, given(one, 2));
    let said = tickets.next_call(1).unwrap();
    assert_eq!(said.finished, [finished(one, Some(2)), finished(one, None)]);
    assert_eq!(said.open.len(), 1, "the next one asks for itself");
    assert_eq!(receive(next), None);
}

/// Shows R17.
#[test]
fn what_a_dropped_receive_was_handed_goes_back_when_nobody_is_about_to_ask() {
    let (tickets, to_1, first, next) = filled_and_next();
    let one = first.ticket;
    drop((first, next));
    answer(&tickets, 1, &to_1, given(one, 2));
    let said = tickets.next_call(1).unwrap();
    assert!(said.finished.contains(&finished(one, None)), "{said:?}");
    assert!(said.open.is_empty() && tickets.lock().given_on.is_empty());
}

/// Shows R17.
#[test]
fn on_a_single_shard_it_goes_back_so_that_order_is_kept() {
    let tickets = Arc::new(Tickets::new(1));
    let first = tickets.open([(0, jobs())], true).unwrap();
    let one = first.ticket;
    let call = tickets.next_call(0).unwrap();
    drop(first);
    let next = tickets.open([(0, jobs())], true).unwrap();
    answer(&tickets, 0, &call, given(one, 1));
    let said = tickets.next_call(0).unwrap();
    assert!(said.finished.iter().all(|it| *it == finished(one, None)), "{said:?}");
    assert_eq!((said.finished.is_empty(), said.open.len()), (false, 1));
    assert_eq!(receive(next), None);
}

/// Shows R17.
#[test]
fn an_entry_of_a_channel_that_keeps_an_order_is_not_given_on() {
    let tickets = Arc::new(Tickets::new(2));
    let single: Arc<[ChannelName]> = [ChannelName::new("body?1").unwrap()].into();
    let first = tickets.open([(0, jobs()), (1, Arc::clone(&single))], true).unwrap();
    let one = first.ticket;
    let to_1 = tickets.next_call(1).unwrap();
    tickets.arrived(0, one, entry(1));
    assert_eq!(receive(first), Some(1));
    let next = tickets.open([(0, jobs()), (1, single)], true).unwrap();
    let handed = Handed { queue: "body?1".to_owned(), ..entry(2) };
    answer(&tickets, 1, &to_1, vec![Given { ticket: one, outcome: Outcome::Handed(handed) }]);
    assert_eq!(receive(next), None);
}

/// Shows R10.
#[test]
fn a_receive_that_does_not_wait_is_not_asked_for_again_where_nothing_was() {
    let tickets = Arc::new(Tickets::new(2));
    let receiving = tickets.open([(0, jobs()), (1, jobs())], false).unwrap();
    let ticket = receiving.ticket;
    let call = tickets.next_call(0).unwrap();
    // A beat while it is under way, and one after it.
    tickets.ask_again(0);
    answer(&tickets, 0, &call, vec![]);
    assert!(tickets.next_call(0).is_none());
    tickets.ask_again(0);
    assert!(tickets.next_call(0).is_none(), "what is given then would be received by nobody");
    let call = tickets.next_call(1).unwrap();
    answer(&tickets, 1, &call, given(ticket, 7));
    assert_eq!(receive(receiving), Some(7));
}

fn announced(ticket: u64) -> Vec<Given> {
    vec![Given { ticket, outcome: Outcome::Announced("jobs".to_owned()) }]
}

fn to_fetch(tickets: &Tickets) -> Option<u64> {
    tickets.to_fetch(0).now_or_never().map(|(ticket, _)| ticket)
}

/// Shows R58.
#[test]
fn what_is_announced_is_fetched_once_and_an_attempt_waits_for_it() {
    for waits in [true, false] {
        let tickets = Arc::new(Tickets::new(1));
        let mut receiving = tickets.open([(0, jobs())], waits).unwrap();
        for _ in 0..2 {
            tickets.ask_again(0);
            let call = tickets.next_call(0).unwrap();
            answer(&tickets, 0, &call, announced(receiving.ticket));
            assert!(receiving.message().now_or_never().is_none(), "it has not come yet");
        }
        assert_eq!(to_fetch(&tickets), Some(receiving.ticket));
        assert_eq!(to_fetch(&tickets), Some(receiving.ticket), "until it has come");
        tickets.fetched(0, receiving.ticket, entry(1));
        assert_eq!(to_fetch(&tickets), None, "it was announced twice, and is fetched once");
        let ticket = receiving.ticket;
        assert_eq!(receive(receiving), Some(1));
        tickets.ask_again(0);
        assert_eq!(tickets.next_call(0).unwrap().finished, [finished(ticket, Some(1))]);
    }
}

/// Shows R58.
#[test]
fn what_is_announced_and_not_wanted_goes_back_and_what_is_gone_is_asked_for_again() {
    let tickets = Arc::new(Tickets::new(1));
    let [dropped, gone] = [(); 2].map(|()| tickets.open([(0, jobs())], true).unwrap());
    let call = tickets.next_call(0).unwrap();
    let both = [announced(dropped.ticket), announced(gone.ticket)].into_iter().flatten().collect();
    answer(&tickets, 0, &call, both);
    let ticket = dropped.ticket;
    drop(dropped);
    assert_eq!(to_fetch(&tickets), Some(gone.ticket), "nobody wants the first one");
    assert_eq!(tickets.next_call(0).unwrap().finished, [finished(ticket, None)]);
    // It comes all the same.
    tickets.fetched(0, ticket, entry(1));
    tickets.not_there(0, gone.ticket);
    assert_eq!(to_fetch(&tickets), None);
    let asked = tickets.next_call(0).unwrap();
    assert_eq!(asked.open.iter().map(|open| open.ticket).collect::<Vec<_>>(), [gone.ticket]);
    // A reply that comes for a receive that has ended.
    drop(gone);
    answer(&tickets, 0, &asked, announced(asked.open[0].ticket));
    assert_eq!(to_fetch(&tickets), None);
    assert!(tickets.next_call(0).unwrap().finished.iter().all(|finished| finished.delivered.is_none()));
}

#[test]
fn a_server_from_which_nothing_large_comes_ends_attempts_and_not_receives_that_wait() {
    let tickets = Arc::new(Tickets::new(1));
    let mut attempt = tickets.open([(0, jobs())], false).unwrap();
    let mut waiting = tickets.open([(0, jobs())], true).unwrap();
    let call = tickets.next_call(0).unwrap();
    let both = [announced(attempt.ticket), announced(waiting.ticket)].into_iter().flatten().collect();
    answer(&tickets, 0, &call, both);
    let down = || Error::new(crate::error::ErrorKind::Connection, "down");
    for ticket in [attempt.ticket, waiting.ticket] {
        tickets.unreachable_for(0, ticket, down);
    }
    assert!(attempt.message().now_or_never().unwrap().is_err());
    assert!(waiting.message().now_or_never().is_none());
    assert_eq!(to_fetch(&tickets), Some(waiting.ticket));
}
