//! The seal: its bytes are those of the contract, and nothing else opens.

use std::borrow::Cow;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

use super::*;
use crate::vectors::{self, Hex};

const NOW_MS: u64 = 1_795_394_824_299;
const GOOD_FOR_MS: u64 = 65_000;
const QUEUE: Target<'_> = Target::Channel("http.request", "");
const MAILBOX: Target<'_> = Target::Channel("http.response.c7!", "ab12");
const ROOM: Target<'_> = Target::Group("room-7");

fn keyring(keys: &[&str]) -> Keyring {
    Keyring::new(&keys.iter().map(|key| Secret::new(key.as_bytes())).collect::<Vec<_>>())
}

fn sealed(keyring: &Keyring, target: Target<'_>, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    keyring.seal(&mut payload, target, NOW_MS, GOOD_FOR_MS, message).unwrap();
    payload
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seals {
    payloads: Vec<Payload>,
    refused: Vec<Refused>,
    opened: Vec<Opens>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    key: String,
    kind: String,
    name: String,
    sealed_at_ms: u64,
    good_for_ms: u64,
    message: Hex,
    nonce: Hex,
    payload: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    why: String,
    keys: Vec<String>,
    kind: String,
    name: String,
    at_ms: u64,
    payload: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opens {
    keys: Vec<String>,
    kind: String,
    name: String,
    at_ms: u64,
    payload: Hex,
    message: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HiddenNames {
    names: Vec<HiddenName>,
    refused: Vec<RefusedName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HiddenName {
    key: String,
    kind: String,
    name: String,
    written: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedName {
    key: String,
    kind: String,
    written: String,
}

/// Does something with where a payload of the vectors came.
fn with_target<T>(kind: &str, name: &str, use_it: impl FnOnce(Target<'_>) -> T) -> T {
    match (kind, name.split_once('!')) {
        ("channel", Some((inbox, address))) => use_it(Target::Channel(&format!("{inbox}!"), address)),
        ("channel", None) => use_it(Target::Channel(name, "")),
        ("group", _) => use_it(Target::Group(name)),
        other => panic!("{other:?}"),
    }
}

fn ring_of(keys: &[String]) -> Keyring {
    keyring(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn payloads_are_byte_for_byte_those_that_another_implementation_makes() {
    let Seals { payloads, refused, opened } = vectors::read("seal");
    assert!(payloads.len() >= 6 && refused.len() >= 9 && opened.len() >= 2);
    for Payload { key, kind, name, sealed_at_ms, good_for_ms, message, nonce, payload: due } in payloads {
        with_target(&kind, &name, |target| {
            let (keyring, mut payload) = (keyring(&[&key]), b"mab12 ".to_vec());
            let nonce = nonce.0.clone().try_into().unwrap();
            keyring.seal_with(&nonce, &mut payload, target, sealed_at_ms, good_for_ms, &message.0).unwrap();
            assert_eq!(payload[6..], due.0, "{name}");
            let opened = keyring.open(&payload[6..], target, sealed_at_ms).unwrap();
            assert_eq!(opened.message, message.0);
            assert_eq!(opened.until_ms, sealed_at_ms + good_for_ms + ALLOWANCE_MS);
        });
    }
    for Refused { why, keys, kind, name, at_ms, payload } in refused {
        let is_refused = if keys.is_empty() {
            is_sealed(&payload.0)
        } else {
            with_target(&kind, &name, |target| ring_of(&keys).open(&payload.0, target, at_ms).is_err())
        };
        assert!(is_refused, "{why}");
    }
    for Opens { keys, kind, name, at_ms, payload, message } in opened {
        let opened = with_target(&kind, &name, |target| ring_of(&keys).open(&payload.0, target, at_ms));
        assert_eq!(opened.unwrap().message, message.0);
    }
}

#[test]
fn hidden_names_are_letter_for_letter_those_that_another_implementation_makes() {
    let vectors: HiddenNames = vectors::read("hidden_names");
    assert!(vectors.names.len() >= 8 && vectors.refused.len() >= 4);
    for HiddenName { key, kind, name, written } in vectors.names {
        let names = Names::hidden(&Secret::new(key.as_bytes()));
        let (hidden, revealed) = match &*kind {
            "queue" => (names.queue(&name), names.reveal_queue(&written)),
            "address" => (names.address(&name), names.reveal_address(&written)),
            "group" => (names.group(&name), names.reveal_group(&written).map(Cow::into_owned)),
            other => panic!("{other}"),
        };
        assert_eq!((hidden.as_ref(), revealed), (&*written, Some(name.clone())));
    }
    for RefusedName { key, kind, written } in vectors.refused {
        let names = Names::hidden(&Secret::new(key.as_bytes()));
        let revealed = match &*kind {
            "queue" => names.reveal_queue(&written),
            "group" => names.reveal_group(&written).map(Cow::into_owned),
            other => panic!("{other}"),
        };
        assert_eq!(revealed, None, "{kind} {written}");
    }
}

#[test]
fn what_is_sealed_opens_with_any_of_the_keys_and_for_its_target_alone() {
    let (old, new) = (keyring(&["old"]), keyring(&["new", "old"]));
    for target in [QUEUE, MAILBOX, ROOM] {
        let payload = sealed(&old, target, b"\xa2hi");
        for reader in [&old, &new] {
            assert_eq!(reader.open(&payload, target, NOW_MS).unwrap().message, &b"\xa2hi"[..]);
        }
        assert_eq!(keyring(&["new"]).open(&payload, target, NOW_MS), Err(Refusal::NoKey));
        assert_eq!(old.open(&sealed(&new, target, b"\xa2hi"), target, NOW_MS), Err(Refusal::NoKey));
        assert!(!payload.windows(2).any(|part| part == b"hi"));
    }
    assert_ne!(sealed(&old, QUEUE, b""), sealed(&old, QUEUE, b""), "each has a nonce of its own");
}

#[test]
fn a_payload_that_was_changed_in_any_bit_or_cut_or_prolonged_does_not_open() {
    let keyring = keyring(&["new", "old"]);
    for (target, message) in [(QUEUE, &b"\x81\xa4text\xa2hi"[..]), (MAILBOX, b""), (ROOM, &[7; 200])] {
        let payload = sealed(&keyring, target, message);
        assert!(keyring.open(&payload, target, NOW_MS).is_ok());
        for place in 0..payload.len() {
            for other in 1..=255 {
                let mut tampered = payload.clone();
                tampered[place] ^= other;
                let due = match place {
                    0 => Refusal::ClearText,
                    1 => Refusal::Malformed,
                    _ => Refusal::NoKey,
                };
                assert_eq!(keyring.open(&tampered, target, NOW_MS), Err(due), "byte {place} ^ {other}");
            }
        }
        for length in 0..payload.len() {
            let refused = keyring.open(&payload[..length], target, NOW_MS).unwrap_err();
            let due = match length {
                0 => Refusal::ClearText,
                _ if length < OVERHEAD => Refusal::Malformed,
                _ => Refusal::NoKey,
            };
            assert_eq!(refused, due, "cut to {length}");
            assert!(keyring.open(&payload[payload.len() - length..], target, NOW_MS).is_err() || length == 0);
        }
        for more in [&b"\0"[..], b"more", &payload.clone()] {
            assert_eq!(keyring.open(&[&payload, more].concat(), target, NOW_MS), Err(Refusal::NoKey));
        }
    }
}

#[test]
fn who_has_no_keys_tells_sealed_from_all_else() {
    let payload = sealed(&keyring(&["key"]), QUEUE, b"");
    assert!(is_sealed(&payload) && !is_sealed(&payload[..payload.len() - 13]));
    assert!(!is_sealed(b"\xc1") && !is_sealed(b"") && !is_sealed(&[0x81; 100]));
}

#[test]
fn what_was_moved_to_another_channel_or_group_does_not_open() {
    let keyring = keyring(&["key"]);
    let targets = [
        QUEUE,
        MAILBOX,
        ROOM,
        Target::Channel("room-7", ""),
        Target::Group("http.request"),
        Target::Channel("http.response.c7!", "ab1"),
        Target::Channel("http.response.c7!", "ab123"),
        Target::Channel("http.response.c7!", ""),
        Target::Channel("http.response.c", ""),
        Target::Channel("http.response.c8!", "ab12"),
        Target::Channel("http.reques", ""),
        Target::Channel("", ""),
        Target::Group(""),
        Target::Group("room-"),
    ];
    for sent in targets {
        let payload = sealed(&keyring, sent, b"\xa2hi");
        for came in targets {
            let due = if sent == came { None } else { Some(Refusal::Moved) };
            assert_eq!(keyring.open(&payload, came, NOW_MS).err(), due, "{sent:?} to {came:?}");
        }
    }
}

#[test]
fn what_comes_after_its_time_does_not_open_whatever_the_numbers_are() {
    let keyring = keyring(&["key"]);
    let payload = sealed(&keyring, QUEUE, b"\xa2hi");
    let last = NOW_MS + GOOD_FOR_MS + ALLOWANCE_MS;
    for (now_ms, due) in [
        (0, None),
        (NOW_MS, None),
        (last, None),
        (last + 1, Some(Refusal::TooOld)),
        (u64::MAX, Some(Refusal::TooOld)),
    ] {
        assert_eq!(keyring.open(&payload, QUEUE, now_ms).err(), due, "at {now_ms}");
    }
    let mut for_ever = Vec::new();
    keyring.seal(&mut for_ever, QUEUE, u64::MAX, u64::MAX, b"").unwrap();
    assert_eq!(keyring.open(&for_ever, QUEUE, u64::MAX).unwrap().until_ms, u64::MAX);
}

#[test]
fn what_the_holder_of_a_key_sealed_badly_is_refused_too() {
    let keyring = keyring(&["key"]);
    let cipher = &keyring.ciphers[0];
    let by_hand = |plain: &[u8]| {
        let (nonce, mut plain) = ([9; NONCE], plain.to_vec());
        let tag = cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), b"", &mut plain).unwrap();
        [&[MARK, VERSION][..], &nonce, &tag, &plain].concat()
    };
    let head = [&b"c"[..], &NOW_MS.to_be_bytes(), &GOOD_FOR_MS.to_be_bytes()].concat();
    assert!(
        keyring.open(&by_hand(&[&head[..], b"\x01a"].concat()), Target::Channel("a", ""), NOW_MS).is_ok()
    );
    for plain in [&b""[..], b"c", &head, &[&head[..], b"\x02a"].concat(), &[&head[..], b"\xff"].concat()] {
        let refused = keyring.open(&by_hand(plain), Target::Channel("a", ""), NOW_MS);
        assert_eq!(refused, Err(Refusal::Malformed), "{plain:?}");
    }
    let other_kind = [&b"x"[..], &head[1..], b"\x01a"].concat();
    assert_eq!(keyring.open(&by_hand(&other_kind), Target::Channel("a", ""), NOW_MS), Err(Refusal::Moved));
    assert!(keyring.seal(&mut Vec::new(), Target::Group(&"g".repeat(256)), 0, 0, b"").is_err());
}

#[test]
fn a_hundred_thousand_random_inputs_do_not_open_and_do_not_panic() {
    let keyring = keyring(&["new", "old"]);
    let config = ProptestConfig { cases: 100_000, ..ProptestConfig::default() };
    let genuine = sealed(&keyring, QUEUE, b"\x81\xa4text\xa2hi");
    let random = prop::collection::vec(any::<u8>(), 0..160);
    // With the beginning of a sealed payload half of the time, so that the cipher is reached.
    let input = prop_oneof![
        random.clone(),
        random.clone().prop_map(|rest| [&[MARK, VERSION][..], &rest].concat()),
        (0..genuine.len(), random).prop_map(move |(kept, rest)| {
            let mut spliced = [&genuine[..kept], &rest].concat();
            if spliced == genuine {
                spliced.pop();
            }
            spliced
        }),
    ];
    let outcome = TestRunner::new(config).run(&input, |input| {
        for target in [QUEUE, MAILBOX, ROOM] {
            prop_assert!(keyring.open(&input, target, NOW_MS).is_err());
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn whatever_keeps_a_key_does_something_when_it_is_dropped() {
    fn zeroed<T: zeroize::ZeroizeOnDrop>() {}
    zeroed::<zeroize::Zeroizing<Vec<u8>>>();
    // Of all these only the zeroing needs a drop: what is zeroed are plain bytes.
    assert!(std::mem::needs_drop::<XSalsa20Poly1305>());
    assert!(std::mem::needs_drop::<aes::Aes128>());
    assert!(std::mem::needs_drop::<aes_siv::siv::Aes128Siv>());
}

#[test]
fn no_key_is_shown() {
    let key = Secret::new(b"a secret key");
    let shown = format!("{key:?} {:?} {:?}", Keyring::new(std::slice::from_ref(&key)), Names::hidden(&key));
    assert_eq!(shown, "*** Keyring { keys: 1, .. } Hidden(***)");
}
