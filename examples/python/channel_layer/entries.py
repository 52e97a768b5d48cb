"""What stands in queues and what a wake channel tells: bytes to values. Whatever does not fit is `Refused`, so nothing is half read."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Iterator, NamedTuple

from .sealing import Refused

HEADER_BYTES = 18
ID_BYTES = 10
_CONTROLS = "ckwrf"


@dataclass(frozen=True)
class Entry:
    """A message (`m`), a group's message (`g`), or a control entry of an inbox, whose body is a text."""

    pushed_us: int
    place: int
    deadline_ms: int
    kind: str
    name: str = ""  # the address inside the inbox, or the group, as the server sees it
    payload: bytes = b""
    control: str = ""


def read_entry(entry: bytes) -> Entry:
    """Reads an entry. Raises `Refused` for what is none, such as another program's."""
    if len(entry) <= HEADER_BYTES:
        raise Refused(f"an entry of {len(entry)} bytes has no body")
    pushed_us, place, deadline_ms = struct.unpack(">QHQ", entry[:HEADER_BYTES])
    kind = chr(entry[HEADER_BYTES])
    try:
        if kind in _CONTROLS:
            return Entry(pushed_us, place, deadline_ms, kind, control=entry[HEADER_BYTES:].decode("ascii"))
        name, space, payload = entry[HEADER_BYTES + 1:].partition(b" ")
        if kind in "mg" and space:
            return Entry(pushed_us, place, deadline_ms, kind, name.decode("ascii"), payload)
    except UnicodeDecodeError:
        pass
    raise Refused("the entry has an unknown kind or form")


class WakeUp(NamedTuple):
    """What a wake channel tells: `handed`, `announced` (the ticket alone), `moved`, `again`, or `ignored`."""

    kind: str
    ticket: int = 0
    queue: str = ""
    entry: bytes = b""


def read_wake_up(message: bytes) -> WakeUp:
    if message in (b"moved", b"again"):
        return WakeUp(message.decode())
    number, _, rest = message.partition(b" ")
    if not number.isdigit():
        return WakeUp("ignored")
    queue, space, entry = rest.partition(b" ")
    if not space or not queue.isascii():
        # The ticket alone, because the entry is too large to be published, or a form of later scripts (R57).
        return WakeUp("announced", int(number))
    return WakeUp("handed", int(number), queue.decode(), entry)


class Tag(NamedTuple):
    """Who made a change: a client and its call, or nobody who can be told apart."""

    client: str
    call: int | None


def read_tag(text: str) -> Tag:
    client, colon, call = text.partition(":")
    if not colon or bool(client) != bool(call) or (call and not _is_number(call)):
        raise Refused(f"{text!r} is no tag")
    return Tag(client, int(call) if call else None)


class Part(NamedTuple):
    """What a change did with one member; of `*` and `e` some parts are empty."""

    mark: str
    group: str = ""
    address: str = ""
    end: int = 0


Place = tuple[str, str, str]  # group, end, address; as the script takes it and the entry has it


@dataclass(frozen=True)
class Control:
    """A control entry, read. Which parts it has is told by its kind: `r`, `f`, `c`, `k` or `w`."""

    kind: str
    n: int = 0
    tag: str = ":"
    call: int = 0
    parts: list[Part] = field(default_factory=list)
    begin: Place = ("", "", "")
    end: Place = ("", "", "")
    groups: list[tuple[str, bool, list[tuple[str, int]]]] = field(default_factory=list)


def read_control(body: str) -> Control:
    """Reads the body of a control entry. Raises `Refused` if it is none."""
    kind, words = body[:1], iter(body[1:].split(" "))
    try:
        if body in ("r", "f"):
            return Control(kind)
        n, tag = _number(next(words)), next(words)
        read_tag(tag)
        if kind == "c":
            return Control(kind, n, tag, parts=list(_parts(words)))
        if kind == "k":
            control = Control(kind, n, tag, _number(next(words)))
            if next(words, None) is None:
                return control
        elif kind == "w":
            call = _number(next(words))
            begin, end = (_place(mark, words) for mark in "><")
            return Control(kind, n, tag, call, begin=begin, end=end, groups=_groups(words))
    except (StopIteration, RuntimeError):  # too few words; in a generator it is a RuntimeError
        pass
    raise Refused(f"{body[:60]!r} is no control entry")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str) -> int:
    if not _is_number(text):
        raise Refused(f"{text[:60]!r} is no number")
    return int(text)


def _name(text: str) -> str:
    if not text:
        raise Refused("a name is empty")
    return text


def _parts(words: Iterator[str]) -> Iterator[Part]:
    for word in words:
        mark, name = word[:1], word[1:]
        if mark in ("+", "~"):
            yield Part(mark, _name(name), _name(next(words)), _number(next(words)))
        elif mark == "-":
            yield Part(mark, _name(name), _name(next(words)))
        elif mark == "*":
            yield Part(mark, "", _name(name))
        elif word == "e":
            yield Part(mark)
        else:
            raise Refused(f"{word[:60]!r} is no part of a change")


def _place(mark: str, words: Iterator[str]) -> Place:
    group, end, address = next(words), next(words), next(words)
    if group[:1] != mark or (end and not _is_number(end)):
        raise Refused(f"{group[:60]!r} is no place of a page")
    return group[1:], end, address


def _groups(words: Iterator[str]) -> list[tuple[str, bool, list[tuple[str, int]]]]:
    groups: list[tuple[str, bool, list[tuple[str, int]]]] = []
    for word in words:
        following = next(words)
        if word.startswith(":") and following in "01" and following:
            groups.append((_name(word[1:]), following == "1", []))
        elif not word.startswith(":") and groups:
            groups[-1][2].append((_name(word), _number(following)))
        else:
            raise Refused(f"{word[:60]!r} is no part of a page")
    return groups
