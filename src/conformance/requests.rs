//! A request is a message with one reply, which comes in time or not at all.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use super::subject::Subject;
use super::support::{
    Client, PATIENCE, capacity, clients, in_time, moment, nothing, plain, poll_at_most, soon, until,
};
use crate::{ChannelLayer, ChannelLayerExt, ErrorKind, Request, Value};

/// A time that a caller waits for nothing.
const SHORT: Duration = Duration::from_millis(300);

/// The next request on a channel.
async fn requested(client: &Client, channel: &str) -> Request<u64> {
    soon("a request", client.receive_request(channel)).await.unwrap()
}

/// Asks a number and is answered with one.
async fn ask(client: &Client, channel: &str, number: u64) -> crate::Result<u64> {
    soon("the reply", client.request(channel, number, PATIENCE)).await
}

pub(super) async fn a_request_is_answered_by_whoever_serves_its_channel(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    for channel in ["jobs", "jobs?1"] {
        let serve = async {
            let request = requested(&worker, channel).await;
            assert_eq!(request.channel(), &channel);
            let doubled = request.message * 2;
            request.reply(&worker, doubled).await.unwrap();
        };
        assert_eq!(join(ask(&caller, channel, 21), serve).await.0.unwrap(), 42);
    }
}

pub(super) async fn a_mailbox_is_asked_by_its_name(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    let inbox = worker.open_inbox("worker").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let name = mailbox.name().clone();
    let serve = async {
        let request = soon("a request", mailbox.receive_request::<u64>()).await.unwrap();
        assert!(request.time_left().is_some_and(|left| left <= PATIENCE));
        let doubled = request.message * 2;
        request.reply(&worker, doubled).await.unwrap();
    };
    assert_eq!(join(ask(&caller, name.as_str(), 4), serve).await.0.unwrap(), 8);
}

pub(super) async fn requests_at_once_each_get_their_own_reply(subject: &dyn Subject) {
    const REQUESTS: u64 = 200;
    let [one, other, worker] = clients(subject, &capacity(1_000)).await;
    let serve = async {
        // In another order than they came.
        let mut held = Vec::new();
        for _ in 0..2 * REQUESTS {
            held.push(requested(&worker, "jobs").await);
            if held.len() == 20 {
                let replies = held.drain(..).rev().map(|request| {
                    let answer = request.message * 2;
                    request.reply(&worker, answer)
                });
                for sent in join_all(replies).await {
                    sent.unwrap();
                }
            }
        }
    };
    let asking = |client| join_all((0..REQUESTS).map(move |number| ask(client, "jobs", number)));
    let (_, asked) = join(serve, join(asking(&one), asking(&other))).await;
    for replies in [asked.0, asked.1] {
        let replies: Vec<u64> = replies.into_iter().map(Result::unwrap).collect();
        assert_eq!(replies, (0..REQUESTS).map(|number| 2 * number).collect::<Vec<_>>());
    }
    for client in [&one, &other] {
        until("nobody waits any more", async || client.request_statistics().waiting == 0).await;
        assert_eq!(client.request_statistics().late_replies, 0);
    }
}

pub(super) async fn a_request_that_nobody_answers_ends_in_its_time_and_is_not_taken_later(
    subject: &dyn Subject,
) {
    let [caller, worker] = plain(subject).await;
    for channel in ["jobs", "jobs?1"] {
        let started = Instant::now();
        let error = soon("giving up", caller.request::<u64>(channel, 1, SHORT)).await.unwrap_err();
        assert!(started.elapsed() >= SHORT, "it gave up too early");
        assert_eq!(error.kind(), ErrorKind::TooLate);
        assert!(error.perhaps_sent() && !error.may_retry());
        // The servers' clocks and ours need not agree to the millisecond.
        moment().await;
        assert!(nothing(worker.receive_request::<u64>(channel)).await);
    }
    assert_eq!(caller.request_statistics().waiting, 0);
}

pub(super) async fn a_worker_sees_how_long_its_caller_still_waits(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    let lasts = Duration::from_secs(20);
    for waits in [Duration::ZERO, Duration::from_millis(700)] {
        let left = in_time(async || {
            let asked = Instant::now();
            let take = async {
                // It waits in its channel meanwhile.
                tokio::time::sleep(waits).await;
                let request = requested(&worker, "jobs").await;
                let left = request.time_left().expect("the layer knows it");
                request.reply(&worker, 1).await.unwrap();
                left
            };
            let (_, left) = join(soon("the reply", caller.request::<u64>("jobs", 1, lasts)), take).await;
            (asked.elapsed() < waits + Duration::from_millis(400)).then_some(left)
        })
        .await;
        let due = lasts - waits;
        let off = left.abs_diff(due);
        assert!(off < Duration::from_millis(600), "{left:?} are left of {due:?}");
    }
}

pub(super) async fn a_reply_that_is_late_is_refused_and_one_that_comes_late_is_counted(
    subject: &dyn Subject,
) {
    let [caller, worker] = plain(subject).await;
    let take = requested(&worker, "jobs");
    let (asked, request) = join(soon("giving up", caller.request::<u64>("jobs", 1, SHORT)), take).await;
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::TooLate);
    let reply_channel = request.reply_channel().clone();
    moment().await;
    assert_eq!(request.time_left(), Some(Duration::ZERO));
    let refused = request.reply(&worker, 1).await.unwrap_err();
    assert_eq!((refused.kind(), refused.perhaps_sent()), (ErrorKind::TooLate, false));
    assert_eq!(caller.request_statistics().late_replies, 0);
    // From a worker that does not look, in any language.
    worker.send(&reply_channel, 1).await.unwrap();
    until("it is counted", async || caller.request_statistics().late_replies == 1).await;
    assert_eq!(caller.request_statistics().waiting, 0);
}

pub(super) async fn a_second_reply_reaches_nobody(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    let serve = async {
        let request = requested(&worker, "jobs").await;
        let reply_channel = request.reply_channel().clone();
        request.reply(&worker, 1).await.unwrap();
        worker.send(&reply_channel, 2).await.unwrap();
    };
    assert_eq!(join(ask(&caller, "jobs", 0), serve).await.0.unwrap(), 1);
    until("the second is counted", async || caller.request_statistics().late_replies == 1).await;
    let serve = async {
        requested(&worker, "jobs").await.reply(&worker, 3).await.unwrap();
    };
    assert_eq!(join(ask(&caller, "jobs", 0), serve).await.0.unwrap(), 3, "and not to the next request");
}

pub(super) async fn a_request_to_a_full_channel_is_refused_at_once(subject: &dyn Subject) {
    let [caller] = clients(subject, &capacity(1)).await;
    caller.send("jobs", 1).await.unwrap();
    let refused = soon("the refusal", caller.request::<u64>("jobs", 1, PATIENCE * 2)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.may_retry()), (ErrorKind::ChannelFull, true));
}

pub(super) async fn what_is_no_request_or_no_reply_of_the_type_is_told_and_taken(subject: &dyn Subject) {
    let [caller, worker] = plain(subject).await;
    worker.send("jobs", "hello").await.unwrap();
    let error = soon("a message", worker.receive_request::<u64>("jobs")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(error.undecoded().map(|bytes| bytes.to_vec()), Some(b"\xa5hello".to_vec()));
    let serve = async {
        let request = soon("a request", worker.receive_request::<Value>("jobs")).await.unwrap();
        request.reply(&worker, "no number").await.unwrap();
    };
    let error = join(ask(&caller, "jobs", 0), serve).await.0.unwrap_err();
    assert_eq!((error.kind(), error.undecoded().is_some()), (ErrorKind::Decode, true));
}

pub(super) async fn requests_and_their_receives_dropped_at_random_lose_no_other(subject: &dyn Subject) {
    const REQUESTS: u64 = 60;
    let [caller, worker] = clients(subject, &capacity(1_000)).await;
    let serve = async {
        loop {
            // Dropped at some point of its way, two times of three.
            for polls in 1..3 {
                if let Some(request) = poll_at_most(polls, worker.receive_request::<u64>("jobs")).await {
                    let request = request.unwrap();
                    let answer = request.message + 1;
                    drop(request.reply(&worker, answer).await);
                }
            }
            let request = requested(&worker, "jobs").await;
            let answer = request.message + 1;
            drop(request.reply(&worker, answer).await);
        }
    };
    let asked = async {
        for number in 0..REQUESTS {
            let polls = usize::try_from(number % 5).unwrap();
            if let Some(reply) = poll_at_most(polls, caller.request::<u64>("jobs", number, PATIENCE)).await {
                assert_eq!(reply.unwrap(), number + 1);
            }
            assert_eq!(ask(&caller, "jobs", number).await.unwrap(), number + 1);
        }
    };
    tokio::select! {
        () = asked => {}
        () = serve => {}
    }
    until("nobody waits any more", async || caller.request_statistics().waiting == 0).await;
}

pub(super) async fn a_request_ends_when_its_layer_is_closed(subject: &dyn Subject) {
    let [caller, other] = plain(subject).await;
    let closing = async {
        let request = requested(&other, "jobs").await;
        soon("closing", caller.close()).await.unwrap();
        request
    };
    let (asked, _request) = join(ask(&caller, "jobs", 0), closing).await;
    let error = asked.unwrap_err();
    assert_eq!((error.kind(), error.perhaps_sent()), (ErrorKind::Closed, true));
    assert_eq!(ask(&caller, "jobs", 0).await.unwrap_err().kind(), ErrorKind::Closed);
}

pub(super) async fn a_request_needs_a_time_that_a_message_can_wait(subject: &dyn Subject) {
    let [caller] = plain(subject).await;
    for wrong in [Duration::ZERO, Duration::from_micros(10), Duration::MAX] {
        let refused = soon("the refusal", caller.request::<u64>("jobs", 1, wrong)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
}
