"""The vectors of `dist/vectors/`, which the crate's tests read too."""

from __future__ import annotations

import filecmp
import hashlib
import json
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path
from typing import Any

from channel_layer.entries import ID_BYTES, Control, read_control, read_entry, read_tag, read_wake_up
from channel_layer.log import Log, Operation
from channel_layer.names import Ring, check_channel, check_group, check_source, split
from channel_layer.sealing import Envelope, Refused, TooOld, pack

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "dist/vectors"
KINDS = {"channel": b"c", "group": b"g"}


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


class Vectors(unittest.TestCase):
    def test_the_files_are_those_that_an_independent_program_makes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, ROOT / "tests/suite/contract/vectors/make.py", folder], check=True)
            names = sorted(path.name for path in FOLDER.iterdir() if path.suffix == ".json")
            self.assertEqual(names, sorted(path.name for path in Path(folder).iterdir()))
            same, *other = filecmp.cmpfiles(FOLDER, folder, names, shallow=False)
            self.assertEqual(other, [[], []], "make.py writes them otherwise")

    def test_names(self) -> None:
        vectors = read("names")
        for vector in vectors["channels"]:
            check = check_source if vector["kind"] == "inbox" else check_channel
            self.assertEqual(split(check(vector["name"])), (vector["queue"], vector["address"]))
        for name in vectors["refused_channels"]:
            for check in (check_channel, check_source):
                with self.assertRaises(TypeError, msg=name):
                    check(name)
        for name in vectors["groups"]:
            self.assertEqual(check_group(name), name)
        for name in vectors["refused_groups"]:
            with self.assertRaises(TypeError, msg=name):
                check_group(name)

    def test_entries(self) -> None:
        vectors = read("entries")
        for vector in vectors["messages"]:
            entry = bytes.fromhex(vector["entry"])
            known = read_entry(entry)
            self.assertEqual(entry[:ID_BYTES].hex(), vector["id"])
            self.assertEqual((known.pushed_us, known.place, known.deadline_ms),
                             (vector["pushed_us"], vector["place"], vector["deadline_ms"]))
            name = vector["address"] if vector["kind"] == "m" else vector["group"]
            self.assertEqual((known.kind, known.name, known.payload.hex()), (vector["kind"], name, vector["payload"]))
        for vector in vectors["refused"]:
            entry = bytes.fromhex(vector["entry"])
            self.assertEqual(entry[:ID_BYTES].hex(), vector["id"])
            with self.assertRaises(Refused, msg=entry):
                read_entry(entry)

    def test_wake_ups(self) -> None:
        for kind, vectors in read("wake_ups").items():
            for vector in vectors:
                known = read_wake_up(bytes.fromhex(vector["message"]))
                self.assertEqual(known.kind, kind)
                self.assertEqual((known.ticket, known.queue, known.entry.hex()),
                                 (vector.get("ticket", 0), vector.get("queue", ""), vector.get("entry", "")))

    def test_control_entries_and_tags(self) -> None:
        vectors = read("control_entries")
        for vector in vectors["entries"]:
            self.assertEqual(_told(vector["body"], read_control(vector["body"])), vector)
        for body in vectors["refused"]:
            with self.assertRaises(Refused, msg=body):
                read_control(body)
        for vector in vectors["tags"]["tags"]:
            self.assertEqual(read_tag(vector["tag"]), (vector["client"], vector["call"]))
        for tag in vectors["tags"]["refused"]:
            with self.assertRaises(Refused, msg=tag):
                read_tag(tag)

    def test_histories_of_an_inbox(self) -> None:
        vectors = read("control_entries")
        for history in vectors["histories"]:
            owner = Owner(vectors["owner"], vectors["now_ms"])
            for number, step in enumerate(history["steps"]):
                with self.subTest(history["tells"], number=number, step=step):
                    getattr(self, f"step_{next(iter(step))}")(owner, **step)

    def step_read(self, owner: Owner, read: str) -> None:
        owner.log.read(read, owner.now_ms, set())

    def step_sends(self, owner: Owner, sends: Any) -> None:
        owner.log.calls(sends["call"], [Operation(*operation) for operation in sends["operations"]])

    def step_answer(self, owner: Owner, answer: Any) -> None:
        owner.log.answered(answer["call"], answer["n"], answer["now_us"] // 1000, {})

    def step_begins(self, owner: Owner, begins: int) -> None:
        owner.log.calls(begins, [Operation("e", "", "", "")])

    def step_asks(self, owner: Owner, asks: int) -> None:
        owner.log.page_asked(asks)

    def step_mirror(self, owner: Owner, mirror: Any) -> None:
        known = {group: {address: member.end for address, member in members.items()} for group, members in owner.log.mirror.items()}
        self.assertEqual(known, mirror)

    def step_last(self, owner: Owner, last: list[str]) -> None:
        self.assertEqual(list(owner.log.last), last)

    def step_due(self, owner: Owner, due: str, **place: Any) -> None:
        page = owner.log.page_due
        known = "begin" if owner.log.begin_due else "page" if page else "nothing"
        self.assertEqual(known, due)
        if page:
            self.assertEqual(list(page), place["from"])

    def step_repairs(self, owner: Owner, repairs: Any) -> None:
        known, owner.log.repairs = owner.log.repairs, []
        self.assertEqual(sorted(map(list, known)), repairs)

    def step_gets(self, owner: Owner, gets: Any) -> None:
        self.assertEqual(sorted(owner.log.members(gets["group"], gets["sent_ms"])), gets["addresses"])

    def test_rings_and_shares(self) -> None:
        vectors = read("ring")
        for vector in vectors["points"]:
            crc32 = zlib.crc32(vector["queue"].encode())
            self.assertEqual((crc32, crc32 % 4096), (vector["crc32"], vector["point"]))
        for vector in vectors["rings"]:
            ring = Ring(vector["servers"])
            self.assertEqual(hashlib.sha1(",".join(map(str, ring.table)).encode()).hexdigest(), vector["table_sha1"])
            self.assertEqual({queue: ring.server(queue) for queue in vector["server_of"]}, vector["server_of"])
        for vector in read("shares")["shares"]:
            self.assertEqual(Ring(vector["servers"]).shares(vector["queue"], vector["capacity"]), vector["shares"])

    def test_sealed_payloads(self) -> None:
        vectors = read("seal")
        for vector in vectors["payloads"]:
            payload, name, end = bytes.fromhex(vector["payload"]), vector["name"], vector["sealed_at_ms"] + vector["good_for_ms"] + 5_000
            message, until = Envelope(["another key", vector["key"]]).open(KINDS[vector["kind"]], name, payload, end)
            self.assertEqual((pack(message).hex(), until), (vector["message"], end))
            nonce = bytes.fromhex(vector["nonce"])
            sealed = Envelope([vector["key"]]).seal(KINDS[vector["kind"]], name, bytes.fromhex(vector["message"]),
                                                    vector["sealed_at_ms"], vector["good_for_ms"], nonce)
            self.assertEqual(sealed.hex(), vector["payload"])
            with self.assertRaises(TooOld):
                Envelope([vector["key"]]).open(KINDS[vector["kind"]], name, payload, end + 1)
        for vector in vectors["refused"]:
            with self.assertRaises(Refused, msg=vector["why"]):
                Envelope(vector["keys"]).open(KINDS[vector["kind"]], vector["name"], bytes.fromhex(vector["payload"]), vector["at_ms"])
        for vector in vectors["opened"]:
            message, _ = Envelope(vector["keys"]).open(KINDS[vector["kind"]], vector["name"], bytes.fromhex(vector["payload"]), vector["at_ms"])
            self.assertEqual(pack(message).hex(), vector["message"])

    def test_hidden_names(self) -> None:
        vectors = read("hidden_names")
        for vector in vectors["names"]:
            envelope = Envelope([], vector["key"])
            self.assertEqual(envelope.hide(vector["kind"], vector["name"]), vector["written"])
            self.assertEqual(envelope.show(vector["kind"], vector["written"]), vector["name"])
        for vector in vectors["refused"]:
            with self.assertRaises(Refused):
                Envelope([], vector["key"]).show(vector["kind"], vector["written"])


class Owner:
    """The log of the histories, and the time of its server."""

    def __init__(self, client: str, now_ms: int) -> None:
        self.log, self.now_ms = Log(client), now_ms


def _told(body: str, control: Control) -> dict[str, Any]:
    """What was read, as the vectors write it."""
    told: dict[str, Any] = {"body": body, "kind": control.kind}
    if control.kind in "ckw":
        told |= {"n": control.n, "tag": control.tag}
    if control.kind in "kw":
        told["call"] = control.call
    if control.kind == "c":
        told["parts"] = [_part(*part) for part in control.parts]
    if control.kind == "w":
        groups = [[group, int(is_whole), [list(member) for member in members]] for group, is_whole, members in control.groups]
        told |= {"from": list(control.begin), "to": list(control.end), "groups": groups}
    return told


def _part(mark: str, group: str, address: str, end: int) -> list[Any]:
    return [mark] + ([group] if mark in "+~-" else []) + ([address] if mark != "e" else []) + ([end] if mark in "+~" else [])
