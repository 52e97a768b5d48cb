//! Sealed payloads made and opened by hand, as `lua/README.md` describes them, with no code of the layer.

use asgi_redis::ChannelLayerExt;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use xsalsa20poly1305::aead::generic_array::GenericArray;
use xsalsa20poly1305::{AeadInPlace, KeyInit, XSalsa20Poly1305};

use super::{Intruder, KEY, NAME_KEY, payload_of, received, sealed};
use crate::support::{Push, Scripts, Server};

const VECTORS: &str = include_str!("../../../dist/vectors/hidden_names.json");

fn cipher() -> XSalsa20Poly1305 {
    XSalsa20Poly1305::new(&Sha256::digest(KEY))
}

fn seal(kind: u8, name: &str, at_ms: u64, good_for_ms: u64, message: &[u8]) -> Vec<u8> {
    let nonce: [u8; 24] = std::array::from_fn(|_| fastrand::u8(..));
    let length = u8::try_from(name.len()).unwrap();
    let mut plain =
        [&[kind][..], &at_ms.to_be_bytes(), &good_for_ms.to_be_bytes(), &[length], name.as_bytes(), message]
            .concat();
    let tag = cipher().encrypt_in_place_detached(&nonce.into(), b"", &mut plain).unwrap();
    [&[0xc1, 1][..], &nonce, &tag, &plain].concat()
}

fn open(payload: &[u8]) -> Vec<u8> {
    assert_eq!(payload[..2], [0xc1, 1]);
    let mut plain = payload[42..].to_vec();
    let (nonce, tag) =
        (GenericArray::from_slice(&payload[2..26]), GenericArray::from_slice(&payload[26..42]));
    cipher().decrypt_in_place_detached(nonce, b"", &mut plain, tag).unwrap();
    plain
}

#[tokio::test]
async fn what_is_sealed_by_hand_reaches_a_layer_and_the_other_way_round() {
    let server = Server::shared();
    let options = sealed(&server, "sealed_by_hand");
    let layer = options.connect().await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    let by_hand = Scripts::new(server.connection().await, &intruder.prefix);
    by_hand.load().await;
    let (seconds, us): (u64, u64) = by_hand.ask(&redis::cmd("TIME")).await;
    let now_ms = seconds * 1000 + us / 1000;
    for (at_ms, good_for_ms) in [(now_ms, 60_000), (now_ms - 3_000, 0)] {
        let payload = seal(b'c', "jobs", at_ms, good_for_ms, b"\x07");
        by_hand.push(&Push::to("jobs", &[[b"m ", &payload[..]].concat()])).await;
        assert_eq!(received(&layer, "jobs").await, 7);
    }
    let late = seal(b'c', "jobs", now_ms - 3_600_000, 60_000, b"\x08");
    let group = seal(b'g', "jobs", now_ms, 60_000, b"\x08");
    let bodies = [late, group].map(|payload| [b"m ", &payload[..]].concat());
    by_hand.push(&Push::to("jobs", &bodies)).await;
    assert!(layer.try_receive::<u64>(["jobs"]).await.unwrap().is_none());
    assert_eq!((layer.seal_statistics().too_old, layer.seal_statistics().moved), (1, 1));

    layer.group_add("room", "jobs").await.unwrap();
    layer.send("jobs", &7).await.unwrap();
    let _ = layer.group_send("room", &7).await.unwrap();
    for (kind, name) in [(b'c', "jobs"), (b'g', "room")] {
        let entry = intruder.take("jobs").await;
        let pushed_ms = u64::from_be_bytes(entry[..8].try_into().unwrap()) / 1000;
        let plain = open(&entry[payload_of(&entry)..]);
        assert_eq!(plain[0], kind);
        let sealed_ms = u64::from_be_bytes(plain[1..9].try_into().unwrap());
        assert!(pushed_ms.abs_diff(sealed_ms) < 2_000, "pushed {pushed_ms}, sealed {sealed_ms}");
        assert_eq!(u64::from_be_bytes(plain[9..17].try_into().unwrap()), 60_000 + 5_000);
        assert_eq!(plain[17] as usize, name.len());
        assert_eq!(&plain[18..], [name.as_bytes(), b"\x07"].concat());
    }
}

#[tokio::test]
async fn hidden_names_stand_in_the_keys_as_the_published_ones_do() {
    let vectors: Json = serde_json::from_str(VECTORS).unwrap();
    let written = |kind: &str, name: &str| -> String {
        let names = vectors["names"].as_array().unwrap();
        let row = names.iter().find(|row| row["kind"] == kind && row["name"] == name).unwrap();
        assert_eq!(row["key"], NAME_KEY);
        row["written"].as_str().unwrap().to_owned()
    };
    let server = Server::shared();
    let options = sealed(&server, "published_names").hide_names(NAME_KEY);
    let layer = options.connect().await.unwrap();
    layer.send("http.request", &7).await.unwrap();
    layer.send("http.request.body?Xy12", &7).await.unwrap();
    layer.send("http.response.client7!ab12", &7).await.unwrap();
    layer.group_add("room-7", "http.request").await.unwrap();
    let _ = layer.group_send("room-7", &7).await.unwrap();
    let mut intruder = Intruder::of(&server, &options).await;
    let queue = |name| written("queue", name);
    let direct = intruder.take(&queue("http.request")).await;
    assert_eq!(direct[18..20], *b"m ");
    let from_group = intruder.take(&queue("http.request")).await;
    assert!(from_group[18..].starts_with(format!("g{} ", written("group", "room-7")).as_bytes()));
    intruder.copy(&queue("http.request.body?Xy12")).await;
    let in_inbox = intruder.copy(&queue("http.response.client7!")).await;
    assert!(in_inbox[18..].starts_with(format!("m{} ", written("address", "ab12")).as_bytes()));
}
