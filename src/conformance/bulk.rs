//! Many messages in one call, with an outcome for each.

use std::collections::BTreeMap;

use super::subject::Subject;
use super::support::{all_waiting, capacity, clients, mailed, soon};
use crate::{ChannelLayer, ChannelLayerExt, ErrorKind};

pub(super) async fn each_of_many_messages_has_an_outcome_of_its_own(subject: &dyn Subject) {
    const EACH: u64 = 150;
    let [sender, receiver] = clients(subject, &capacity(100)).await;
    let channels = ["a", "b?1", "no name", "c"];
    let messages = (0..EACH).flat_map(|number| channels.map(|channel| (channel, number)));
    let outcomes = soon("sending", sender.send_many(messages)).await;
    assert_eq!(outcomes.len(), channels.len() * usize::try_from(EACH).unwrap());
    let mut accepted: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let (number, channel) = (place / channels.len(), channels[place % channels.len()]);
        match outcome.map_err(|error| error.kind()) {
            Ok(()) => accepted.entry(channel).or_default().push(number.try_into().unwrap()),
            Err(ErrorKind::ChannelFull) => assert_ne!(channel, "no name"),
            Err(kind) => assert_eq!((kind, channel), (ErrorKind::InvalidName, "no name")),
        }
    }
    for channel in ["a", "b?1", "c"] {
        let mut waiting = all_waiting(&receiver, channel).await;
        waiting.sort_unstable();
        assert_eq!((waiting.len(), Some(&waiting)), (100, accepted.get(channel)), "{channel}");
    }
    assert!(sender.send_many::<&str, u64>([]).await.is_empty());
}

pub(super) async fn each_of_many_groups_has_a_receipt_of_its_own(subject: &dyn Subject) {
    const GROUPS: usize = 100;
    let [sender, owner] = clients(subject, &capacity(1_000)).await;
    let inbox = owner.open_inbox("rooms").await.unwrap();
    let mut mailbox = inbox.open_mailbox().unwrap();
    let names: Vec<String> = (0..GROUPS).map(|number| format!("room-{number}")).collect();
    sender.group_add_many(&names, mailbox.name()).await.unwrap();
    let messages = names.iter().map(String::as_str).chain(["empty", "no name!"]).zip(0_u64..);
    let mut receipts = soon("sending", sender.group_send_many(messages)).await;
    assert_eq!(receipts.pop().unwrap().unwrap_err().kind(), ErrorKind::InvalidName);
    assert_eq!(receipts.pop().unwrap().unwrap().delivered(), 0);
    assert!(receipts.into_iter().all(|receipt| receipt.unwrap().delivered() == 1));
    let mut seen = Vec::new();
    for _ in 0..GROUPS {
        seen.push(mailed(&mut mailbox).await);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<u64>>());
}
