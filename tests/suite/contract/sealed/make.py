"""Writes vectors.json beside this file: sealed payloads and hidden names, made without any code of this crate.

Needs PyNaCl (libsodium) and cryptography (OpenSSL). `lua/README.md` describes the bytes.
"""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from nacl.bindings import crypto_secretbox

MARK, VERSION = 0xC1, 1


def seal(key, kind, name, sealed_at_ms, good_for_ms, message, nonce):
    plain = kind + struct.pack(">QQB", sealed_at_ms, good_for_ms, len(name)) + name.encode() + message
    # The tag comes first.
    return bytes([MARK, VERSION]) + nonce + crypto_secretbox(plain, nonce, hashlib.sha256(key.encode()).digest())


def hide(key, kind, name):
    plain = name.encode()
    plain += bytes(-len(plain) % 16)
    sealed = AESSIV(hashlib.sha256(key.encode()).digest()).encrypt(plain, [kind.encode()])
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def written(key, kind, name):
    if kind != "queue":
        return hide(key, kind, name)
    mark = "!" if name.endswith("!") else "?" if "?" in name else ""
    return hide(key, kind, name) + mark


def main():
    payloads = []
    for number, (key, kind, name, message) in enumerate(
        [
            ("a key of thirty-two bytes or more", b"c", "http.request", b"\x81\xa4text\xa2hi"),
            ("a key of thirty-two bytes or more", b"c", "http.request.body?Xy12", b"\xc4\x03\x00\x01\x02"),
            ("a key of thirty-two bytes or more", b"c", "http.response.client7!ab12", b"\x81\xa4text\xa2hi"),
            ("a key of thirty-two bytes or more", b"g", "room-7", b"\x81\xa4text\xa2hi"),
            ("kurz", b"c", "a", b"\xc0"),
            ("un cl\u00e9 de chiffrement \u2014 avec des accents", b"g", "g" * 100, bytes([0xC4, 200]) + bytes(range(200))),
        ]
    ):
        nonce = hashlib.sha256(b"nonce %d" % number).digest()[:24]
        at, good_for = 1_795_394_824_299 + number, 65_000
        payloads.append(
            {
                "key": key,
                "kind": {b"c": "channel", b"g": "group"}[kind],
                "name": name,
                "sealed_at_ms": at,
                "good_for_ms": good_for,
                "message": message.hex(),
                "nonce": nonce.hex(),
                "payload": seal(key, kind, name, at, good_for, message, nonce).hex(),
            }
        )
    name_key = "a key of names, thirty-two bytes or more"
    names = [
        {"key": name_key, "kind": kind, "name": name, "written": written(name_key, kind, name)}
        for kind, name in [
            ("queue", "http.request"),
            ("queue", "http.request.body?Xy12"),
            ("queue", "http.response.client7!"),
            ("queue", "sixteen.letters1"),
            ("queue", "q" * 100),
            ("address", "ab12"),
            ("group", "room-7"),
            ("group", "http.request"),
        ]
    ]
    file = pathlib.Path(__file__).with_name("vectors.json")
    file.write_text(json.dumps({"payloads": payloads, "names": names}, indent=2) + "\n")


main()
