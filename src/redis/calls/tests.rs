//! Replies that several calls read, and those that none does.

use redis::Value;

use super::reply::made_up::{bulk, list};
use super::*;

#[test]
fn each_reply_of_a_list_is_read() {
    assert_eq!(GroupLen::decode(list([bulk("a!"), Value::Int(7)])), Ok(("a!".to_owned(), 7)));
    let (place, channels) =
        GroupList::decode(list([bulk("a!"), bulk("17"), bulk("a!x"), bulk("a!y")])).unwrap();
    assert_eq!(place, ListPlace { name: "a!".to_owned(), cursor: "17".to_owned() });
    assert_eq!(channels, ["a!x", "a!y"]);
    let (last, none) = GroupList::decode(list([bulk(""), bulk("0")])).unwrap();
    assert!(last.is_start() && none.is_empty());
    let groups = ChannelGroups::decode(list([bulk(""), bulk("room-7")]));
    assert_eq!(groups, Ok((String::new(), vec!["room-7".to_owned()])));
}

#[test]
fn replies_that_are_not_listed_are_given_back_and_not_guessed_at() {
    let unknown = [
        Value::Nil,
        Value::Int(1),
        bulk("ok"),
        list([]),
        list([bulk("new")]),
        list([bulk("ok")]),
        list([bulk("ok"), Value::Int(-1)]),
        list([bulk("ok"), Value::Int(1), bulk("x"), bulk("queue"), bulk("entry")]),
        list([bulk("ok"), Value::Int(1), bulk("1"), bulk("queue")]),
        list([bulk("sent"), Value::Int(1)]),
        list([bulk("sent"), Value::Int(-1), Value::Int(1)]),
        list([bulk("stale"), Value::Int(-7)]),
    ];
    for reply in unknown {
        assert!(Hello::decode(reply.clone()).is_err(), "{reply:?}");
        assert!(Push::decode(reply.clone()).is_err(), "{reply:?}");
        assert!(Pop::decode(reply.clone()).is_err(), "{reply:?}");
    }
    assert!(Flush::decode(list([Value::Int(0), Value::Int(0)])).is_err());
}

#[test]
fn replies_about_groups_that_are_not_listed_are_given_back() {
    for reply in [
        Value::Nil,
        bulk("ok"),
        list([]),
        list([bulk("ok")]),
        list([bulk("ok"), Value::Int(-1)]),
        list([bulk("stale"), Value::Int(1)]),
        list([Value::Int(1), Value::Int(2)]),
    ] {
        assert!(GroupChange::decode(reply.clone()).is_err(), "{reply:?}");
        assert!(GroupLeave::decode(reply.clone()).is_err(), "{reply:?}");
        assert!(GroupSend::decode(reply.clone()).is_err(), "{reply:?}");
        assert!(GroupList::decode(reply.clone()).is_err(), "{reply:?}");
    }
    assert!(GroupLen::decode(list([bulk("a"), Value::Int(-1)])).is_err());
    assert!(ChannelGroups::decode(list([Value::Int(0)])).is_err());
}

#[test]
fn a_reply_is_stale_only_of_a_call_that_names_a_generation_and_only_if_it_is_nothing_else() {
    let stale = list([bulk("stale")]);
    assert!(!Hello::is_stale(&stale) && !GroupList::is_stale(&stale));
    for other in [bulk("stale"), list([]), list([bulk("stale"), Value::Int(7)]), list([bulk("ok")])] {
        assert!(!Push::is_stale(&other), "{other:?}");
    }
}
