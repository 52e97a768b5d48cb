//! Keys change while programs run: in each step some have taken it already and others have not, and nothing is lost.

use asgi_redis::{ChannelLayer, ChannelLayerExt, ConfigBuilder, Inbox, Mailbox, RedisChannelLayer};

use super::{clear, received, soon};
use crate::support::Server;

const OLD: &str = "the old key, thirty-two bytes or more";
const NEW: &str = "the new key, thirty-two bytes or more";

/// The steps of a change as README has them: all open the new key before any seals with it, and all seal with it before
/// any forgets the old one.
const STEPS: [&[&str]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];

/// A program at one step, which has a mailbox in the group `room`.
struct Program {
    layer: RedisChannelLayer,
    _inbox: Inbox,
    mailbox: Mailbox,
}

impl Program {
    async fn at(options: &ConfigBuilder, step: &[&str]) -> Self {
        let layer = options.clone().symmetric_encryption_keys(step).connect().await.unwrap();
        let inbox = layer.open_inbox("in").await.unwrap();
        let mailbox = inbox.open_mailbox().unwrap();
        layer.group_add("room", mailbox.name()).await.unwrap();
        Self { layer, _inbox: inbox, mailbox }
    }
}

#[tokio::test]
async fn nothing_is_lost_while_programs_are_a_step_apart() {
    let server = Server::shared();
    let options = clear(&server, "rotation");
    let mut number = 0;
    for steps in STEPS.windows(2) {
        let mut programs = [Program::at(&options, steps[0]).await, Program::at(&options, steps[1]).await];
        for sender in [0, 1] {
            // To each channel from each program, and each of both receives all of it.
            for receiver in [0, 1] {
                for channel in ["jobs", "body?1", programs[receiver].mailbox.name().clone().as_str()] {
                    number += 1;
                    programs[sender].layer.send(channel, &number).await.unwrap();
                    let got = if channel.contains('!') {
                        soon("a message", programs[receiver].mailbox.receive::<u64>()).await.unwrap()
                    } else {
                        received(&programs[receiver].layer, channel).await
                    };
                    assert_eq!(got, number, "{channel}: {sender} to {receiver} in {steps:?}");
                }
            }
            number += 1;
            let receipt = programs[sender].layer.group_send("room", &number).await.unwrap();
            assert_eq!(receipt.delivered(), 2);
            for program in &mut programs {
                assert_eq!(soon("a copy", program.mailbox.receive::<u64>()).await.unwrap(), number);
            }
        }
        for program in &programs {
            assert_eq!(program.layer.seal_statistics().total(), 0);
            program.layer.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_waits_from_the_step_before_is_received_after_it() {
    let server = Server::shared();
    let options = clear(&server, "waits").expiry(std::time::Duration::from_secs(60));
    let mut waiting = Vec::new();
    for (number, step) in (0_u64..).zip(STEPS) {
        let layer = options.clone().symmetric_encryption_keys(step).connect().await.unwrap();
        for sent in waiting.drain(..) {
            assert_eq!(received(&layer, "jobs").await, sent);
        }
        for message in [10 * number, 10 * number + 1] {
            layer.send("jobs", &message).await.unwrap();
            waiting.push(message);
        }
        assert_eq!(layer.seal_statistics().total(), 0);
        layer.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_was_taken_away_opens_nothing_more() {
    let server = Server::shared();
    let options = clear(&server, "taken_away");
    let old = options.clone().symmetric_encryption_keys([OLD]).connect().await.unwrap();
    let new = options.symmetric_encryption_keys([NEW]).connect().await.unwrap();
    old.send("jobs", &1).await.unwrap();
    new.send("jobs", &2).await.unwrap();
    assert_eq!(received(&new, "jobs").await, 2);
    assert_eq!(new.seal_statistics().no_key_opens, 1);
    new.send("jobs", &3).await.unwrap();
    old.send("jobs", &4).await.unwrap();
    assert_eq!(received(&old, "jobs").await, 4);
}
