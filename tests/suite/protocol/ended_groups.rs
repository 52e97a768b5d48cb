//! Memberships that ended without a word: nobody sends to their group or leaves it any more, and still they do not pile
//! up in what lives on.

use redis::Cmd;

use super::{Owner, Shard};
use crate::support::Add;

const ADDED: usize = 2_000;
/// In milliseconds; some tens are added in it.
const BRIEF: u64 = 10;
/// Of those that were added. Half of what is there may have ended.
const MOST: u64 = 300;

async fn size(shard: &Shard, command: &str, kind: char, name: &str) -> u64 {
    shard.ask(Cmd::new().arg(command).arg(shard.key(kind, name))).await
}

#[tokio::test]
async fn the_groups_in_which_an_inbox_has_no_member_any_more_do_not_pile_up() {
    let shard = Shard::new().await;
    let _owner = Owner::new(&shard, "one!").await;
    shard.group_add(&Add::to("lasts", &["one!stays"])).await;
    for number in 0..ADDED {
        shard.group_add(&Add::to(&format!("call-{number:04}"), &["one!stays"]).expiry(BRIEF)).await;
    }
    let groups = size(&shard, "ZCARD", 's', "one!").await;
    assert!(groups < MOST, "{groups} of {ADDED} are still there");
    assert_eq!(shard.inbox_members("one!").await.iter().filter(|(group, _)| group == "lasts").count(), 1);
}

#[tokio::test]
async fn the_queues_of_a_group_that_is_only_counted_do_not_pile_up() {
    let shard = Shard::new().await;
    shard.group_add(&Add::to("online", &["lasts"])).await;
    for number in 0..ADDED {
        shard.group_add(&Add::to("online", &[&format!("user?{number:04}")]).expiry(BRIEF)).await;
    }
    for (command, kind) in [("ZCARD", 'g'), ("HLEN", 'd')] {
        let queues = size(&shard, command, kind, "online").await;
        assert!(queues < MOST, "{kind}: {queues} of {ADDED} are still there");
    }
    assert_eq!(shard.group_list("online").await.0.iter().filter(|name| *name == "lasts").count(), 1);
}
