"""Writes the vectors of `dist/vectors/`, without any code of the crate or of the client in plain Python.

Needs PyNaCl (libsodium) and cryptography (OpenSSL). `lua/README.md` describes the bytes. Run it as
`python3 tests/suite/contract/vectors/make.py [FOLDER]`.
"""

import base64
import hashlib
import json
import pathlib
import struct
import sys
import zlib

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from nacl.bindings import crypto_secretbox

ROOT = pathlib.Path(__file__).resolve().parents[4]
MARK, VERSION = 0xC1, 1
NOW_MS = 1_795_394_824_299
HI = b"\x81\xa4text\xa2hi"
FOR_EVER_MS = 4_102_444_800_000


# Names


def names():
    def channel(name, kind, queue, address=""):
        return {"name": name, "kind": kind, "queue": queue, "address": address}

    channels = [
        channel("http.request", "normal", "http.request"),
        channel("a", "normal", "a"),
        channel("A-z_0.9", "normal", "A-z_0.9"),
        channel("n" * 100, "normal", "n" * 100),
        channel("http.request.body?Xy12", "single-reader", "http.request.body?Xy12"),
        channel("http.response.client7!", "inbox", "http.response.client7!"),
        channel("http.response.client7!ab12", "mailbox", "http.response.client7!", "ab12"),
        channel("chat.7f!a", "mailbox", "chat.7f!", "a"),
    ]
    refused = ["", "!", "?", "a?", "?a", "!a", "a b", "a!b!c", "a!b?c", "a?b?", "a:b", "a/b", "\u00e4", "a\n", "n" * 101]
    return {
        "channels": channels,
        "refused_channels": refused,
        "groups": ["room", "room-7", "a", "A-z_0.9", "g" * 100],
        "refused_groups": ["", "a b", "room!", "room?", "a:b", "\u00e4", "a\n", "g" * 101],
    }


# Entries


def header(pushed_us, place, deadline_ms):
    return struct.pack(">QHQ", pushed_us, place, deadline_ms)


def entries():
    def message(queue, body, kind, name, payload, pushed_us=NOW_MS * 1000 + 123, place=1, deadline_ms=NOW_MS + 60_000):
        entry = header(pushed_us, place, deadline_ms) + body
        return {
            "queue": queue,
            "entry": entry.hex(),
            "id": entry[:10].hex(),
            "pushed_us": pushed_us,
            "place": place,
            "deadline_ms": deadline_ms,
            "kind": kind,
            "address": name if kind == "m" else "",
            "group": name if kind == "g" else "",
            "payload": payload.hex(),
        }

    messages = [
        # Those of the session in lua/README.md.
        session_entry("greetings", rb"\x00\x06`\xe6\xee\xb35\t\x00\x01\x00\x00\x01\xa2\x05\xdf\xd0\x92m \x81\xa4text\xa2hi"),
        session_entry("greetings", rb"\x00\x06`\xe6\xee\xbdX!\x00\x01\x00\x00\x01\xa2\x05\xdf\xd3*m \x81\xa4text\xa2hi"),
        session_entry("chat.7f!", rb"\x00\x06`\xe6\xee\xb39\t\x00\x01\x00\x00\x01\xa2\x05\xdf\xd0\x92groom \x81\xa4text\xa2hi"),
        message("jobs", b"m \x07", "m", "", b"\x07"),
        message("jobs", b"m  \x20 ", "m", "", b" \x20 ", place=65_535),
        message("jobs", b"m ", "m", "", b""),
        message("body?1", b"m " + HI, "m", "", HI, place=500),
        message("chat.7f!", b"mab12 " + HI, "m", "ab12", HI),
        message("chat.7f!", b"groom-7 " + HI, "g", "room-7", HI),
        message("jobs", b"gg " + bytes(range(256)), "g", "g", bytes(range(256)), pushed_us=1, deadline_ms=2),
        # A marker of a sealed payload is no concern of the entry.
        message("jobs", b"m \xc1", "m", "", b"\xc1", pushed_us=2**53 - 1, deadline_ms=FOR_EVER_MS),
    ]
    whole = header(NOW_MS * 1000, 1, NOW_MS)
    refused = [b"", b"short", b"ten bytes!", whole[:17], whole, whole + b"m", whole + b"mab12", whole + b"z ab", whole + b"M ", whole + b" m "]
    return {
        "messages": messages,
        "refused": [{"entry": entry.hex(), "id": entry[:10].hex()} for entry in refused],
    }


def session_entry(queue, shown):
    """An entry as redis-cli shows it: letters and escapes."""
    entry = shown.decode().encode().decode("unicode_escape").encode("latin-1")
    pushed_us, place, deadline_ms = struct.unpack(">QHQ", entry[:18])
    name, _, payload = entry[19:].partition(b" ")
    kind = chr(entry[18])
    return {
        "queue": queue,
        "entry": entry.hex(),
        "id": entry[:10].hex(),
        "pushed_us": pushed_us,
        "place": place,
        "deadline_ms": deadline_ms,
        "kind": kind,
        "address": name.decode() if kind == "m" else "",
        "group": name.decode() if kind == "g" else "",
        "payload": payload.hex(),
    }


def wake_ups():
    entry = header(NOW_MS * 1000, 1, NOW_MS + 60_000) + b"m \x81\xa4text\xa2h i"

    def case(message, **means):
        return {"message": message.hex(), **means}

    return {
        "handed": [
            case(b"1 greetings " + entry, ticket=1, queue="greetings", entry=entry.hex()),
            case(b"999999999999999 chat.7f! " + entry, ticket=999_999_999_999_999, queue="chat.7f!", entry=entry.hex()),
            case(b"12 a an entry with spaces", ticket=12, queue="a", entry=b"an entry with spaces".hex()),
            case(b"12 a ", ticket=12, queue="a", entry=""),
        ],
        # The ticket alone, or a ticket with something of later scripts behind it.
        "announced": [case(b"7", ticket=7), case(b"7 ", ticket=7), case(b"7 queue", ticket=7)],
        "moved": [case(b"moved")],
        "again": [case(b"again")],
        "ignored": [case(text) for text in (b"", b"x", b"-7", b"x queue entry", b" 7", b"moved 7", b"again ")],
    }


# Memberships

ME = "3fb0c94d1e7a4c58a1d2f6e09b7c5a13"
YOU = "0d9b5b1c4f0e4c7d9a51b7f7f8a1c2e3"
END = NOW_MS + 60_000
LATER = NOW_MS + 90_000


def tag(client, call):
    return f"{client}:{call}"


def page(n, by, call, groups, begin=("", "", ""), end=("", "", "")):
    words = [f"w{n}", by, str(call), f">{begin[0]}", str(begin[1]), begin[2], f"<{end[0]}", str(end[1]), end[2]]
    for group, is_whole, members in groups:
        words += [f":{group}", str(is_whole)]
        for address, ends in members:
            words += [address, str(ends)]
    return " ".join(words)


def parts():
    """Bodies of control entries, and what they say, word by word."""
    return [
        {"body": "r", "kind": "r"},
        {"body": "f", "kind": "f"},
        {"body": "k7 3fb0:7 12", "kind": "k", "n": 7, "tag": "3fb0:7", "call": 12},
        {"body": "k0 : 1", "kind": "k", "n": 0, "tag": ":", "call": 1},
        {"body": "c1 : +room ab12 1795394884305", "kind": "c", "n": 1, "tag": ":", "parts": [["+", "room", "ab12", 1795394884305]]},
        {
            "body": "c3 3fb0:7 +room ab 9 -hall cd ~room ef 0 *gh e",
            "kind": "c",
            "n": 3,
            "tag": "3fb0:7",
            "parts": [["+", "room", "ab", 9], ["-", "hall", "cd"], ["~", "room", "ef", 0], ["*", "gh"], ["e"]],
        },
        # An address may look like a part.
        {
            "body": "c4 : -hall e +room -x 9 *e",
            "kind": "c",
            "n": 4,
            "tag": ":",
            "parts": [["-", "hall", "e"], ["+", "room", "-x", 9], ["*", "e"]],
        },
        {"body": "c5 :", "kind": "c", "n": 5, "tag": ":", "parts": []},
        {
            "body": "w1 : 2 >   <   :room 1 ab12 1795394884305",
            "kind": "w",
            "n": 1,
            "tag": ":",
            "call": 2,
            "from": ["", "", ""],
            "to": ["", "", ""],
            "groups": [["room", 1, [["ab12", 1795394884305]]]],
        },
        {
            "body": "w3 3fb0:7 8 >hall 1795394884305 ab12 <room   :hall 1 cd34 1795394884317 :room 1 ab12 1795394884305",
            "kind": "w",
            "n": 3,
            "tag": "3fb0:7",
            "call": 8,
            "from": ["hall", "1795394884305", "ab12"],
            "to": ["room", "", ""],
            "groups": [["hall", 1, [["cd34", 1795394884317]]], ["room", 1, [["ab12", 1795394884305]]]],
        },
        {
            "body": "w9 : 3 >a 5 b <c 7 d :c 0",
            "kind": "w",
            "n": 9,
            "tag": ":",
            "call": 3,
            "from": ["a", "5", "b"],
            "to": ["c", "7", "d"],
            "groups": [["c", 0, []]],
        },
    ]


REFUSED_CONTROLS = [
    "c", "c3", "c3 7", "c3 client:", "c3 :7x", "c-1 :", "c3 : +room", "c3 : +room ab", "c3 : +room ab x",
    "c3 : ?room ab", "c3 : -room ", "rr", "f ", "k3 :", "k3 : x", "k3 : 1 2", "w3 : 1 >", "w3 : 1 >   <",
    "w3 : 1 >   <   ab 1", "w3 : 1 >   <   :room 2", "w3 : 1 >   <   :room 1 ab",
]


def tags():
    return {
        "tags": [
            {"tag": ":", "client": "", "call": None},
            {"tag": tag(ME, 0), "client": ME, "call": 0},
            {"tag": tag(ME, 41), "client": ME, "call": 41},
            {"tag": "3fb0:999999999999999", "client": "3fb0", "call": 999_999_999_999_999},
        ],
        "refused": ["", "7", "client:", ":x", "client:x", "client:-1", "client:7 ", "client"],
    }


def histories():
    """What an inbox's owner reads and does, step by step, and what it then knows. The owner's client is ME."""
    you, mine = (lambda call: tag(YOU, call)), (lambda call: tag(ME, call))
    join = f"+room a {END}"

    def read(*bodies):
        return [{"read": body} for body in bodies]

    def begin(n, call):
        return [{"due": "begin"}, {"begins": call}, {"due": "nothing"}, {"read": f"c{n} {mine(call)} e"}]

    def asks(call, *place):
        return [{"due": "page", "from": list(place) or ["", "", ""]}, {"asks": call}, {"due": "nothing"}]

    def history(tells, rules, *steps):
        flat = []
        for step in steps:
            flat += step if isinstance(step, list) else [step]
        return {"tells": tells, "rules": rules, "steps": flat}

    def mirror(**groups):
        return {"mirror": groups}

    first = f"c1 {you(1)} {join}"
    return [
        history(
            "The mirror is what the changes add up to, in the order of the inbox.", ["R23"],
            read(f"c1 {you(1)} {join} +room b {END} -room a"), mirror(room={"b": END}),
            read(f"c2 {you(2)} {join} +hall b {LATER}", f"c3 : *b"), mirror(room={"a": END}), {"last": ["3", ":"]},
            read(f"c4 {mine(9)} +room a {LATER}"), mirror(room={"a": LATER}), {"last": ["4", mine(9)]},
        ),
        history(
            "Who gets a message is told by when it was sent.", ["R24"],
            read(f"c1 : {join} +room b {LATER}"),
            {"gets": {"group": "room", "sent_ms": END - 1, "addresses": ["a", "b"]}},
            {"gets": {"group": "room", "sent_ms": END, "addresses": ["b"]}},
            {"gets": {"group": "room", "sent_ms": LATER, "addresses": []}},
            {"gets": {"group": "hall", "sent_ms": 1, "addresses": []}},
        ),
        history(
            "A repeat is ignored, and tells that the server went back: the mirror is right.", ["R43", "R44", "R47"],
            read(first, f"c2 {you(2)} -room a", first), mirror(),
            begin(2, 1), asks(2), read(page(2, mine(1), 2, [("room", 1, [("a", END)])])), mirror(),
            {"repairs": [["x", "room", "a", str(END)]]}, {"due": "nothing"},
        ),
        history(
            "A number that is too high tells that entries are missing: the server is right.", ["R44", "R45", "R46"],
            read(first, f"c3 {you(3)} +room c {END}"), mirror(room={"a": END, "c": END}),
            begin(4, 1), asks(2),
            read(page(4, mine(1), 2, [("room", 1, [("b", LATER), ("c", END)])])), mirror(room={"b": LATER, "c": END}),
            {"repairs": []}, {"due": "nothing"}, {"last": ["4", mine(1)]},
        ),
        history(
            "A number that is not higher tells that the server went back: the mirror is right, and the server is repaired.",
            ["R44", "R47", "R56"],
            read(first, f"c2 {you(2)} +room b {LATER}", f"c2 {you(3)} +hall d {END}"),
            begin(3, 1), asks(2), read(page(3, mine(1), 2, [("hall", 1, [("d", END)])])),
            mirror(room={"a": END, "b": LATER}, hall={"d": END}),
            {"repairs": [["a", "room", "a", f"{END} 3"], ["a", "room", "b", f"{LATER} 3"]]},
        ),
        history(
            "A sign of life that agrees is silent; one that names an older change makes the mirror right.", ["R37", "R44"],
            read(first, f"k1 {you(1)} 1"), {"due": "nothing"},
            read("k0 : 2"), begin(1, 3), asks(4), read(page(1, mine(3), 4, [])), mirror(room={"a": END}),
            {"repairs": [["a", "room", "a", f"{END} 1"]]},
        ),
        history(
            "A sign of life that names a later change makes the server right.", ["R37", "R44"],
            read(first, f"k5 {you(9)} 1"), begin(6, 2), asks(3), read(page(6, mine(2), 3, [])), mirror(), {"repairs": []},
        ),
        history(
            "The same number by another tag is another change.", ["R44"],
            read(first, f"k1 {you(7)} 1"), {"due": "begin"},
        ),
        history(
            "After r the server is right.", ["R25", "R41"],
            read(first, "r"), mirror(room={"a": END}), begin(9, 1), asks(2),
            read(page(9, mine(1), 2, [("hall", 1, [("z", END)])])), mirror(hall={"z": END}), {"repairs": []},
        ),
        history(
            "f empties the mirror; what joins behind it is in.", ["R25", "R41"],
            read(first, "f"), mirror(), begin(3, 1), read(f"c4 {you(2)} {join}"), mirror(room={"a": END}),
            asks(2), read(page(4, you(2), 2, [("room", 1, [("a", END)])])), mirror(room={"a": END}), {"repairs": []},
            {"due": "nothing"},
        ),
        history(
            "After an f the mirror is empty also when it was right before.", ["R25", "R44"],
            read(first, first), {"due": "begin"}, read("f"), mirror(), {"due": "begin"},
        ),
        history(
            "While the entry of an answered change is unread, no number is named.", ["R21", "R26"],
            {"last": ["0", ":"]}, {"sends": {"call": 1, "operations": [["+", "room", "a", "60000"]]}}, {"last": ["0", ":"]},
            {"answer": {"call": 1, "n": 1, "now_us": NOW_MS * 1000}}, {"last": ["", ":"]}, mirror(),
            read(f"c1 {mine(1)} {join}"), mirror(room={"a": END}), {"last": ["1", mine(1)]},
        ),
        history(
            "An own change that was answered and lost is made true again if the mirror is right.", ["R26", "R46"],
            read(first), {"sends": {"call": 1, "operations": [["+", "room", "b", "60000"], ["-", "room", "a", ""]]}},
            {"answer": {"call": 1, "n": 2, "now_us": NOW_MS * 1000}},
            read(f"k1 {you(1)} 2"), mirror(room={"a": END}), begin(2, 3), mirror(room={"b": END}),
            asks(4), read(page(2, mine(3), 4, [("room", 1, [("a", END)])])),
            {"repairs": [["a", "room", "b", f"{END} 2"], ["x", "room", "a", str(END)]]},
        ),
        history(
            "An own change that was answered before a flush is not made again after it.", ["R25", "R46"],
            {"sends": {"call": 7, "operations": [["+", "room", "a", "60000"]]}},
            {"answer": {"call": 7, "n": 5, "now_us": (NOW_MS - 1) * 1000}},
            read(f"c1 {you(1)} +room b {END}", f"c1 {you(1)} +room b {END}", "f"), begin(4, 9), mirror(),
        ),
        history(
            "Another's change under a number that the owner was told: the server went back.", ["R26", "R44"],
            {"sends": {"call": 1, "operations": [["+", "room", "a", "60000"]]}},
            {"answer": {"call": 1, "n": 1, "now_us": NOW_MS * 1000}},
            read(f"c1 {you(1)} +room b {END}"), begin(2, 2), mirror(room={"a": END, "b": END}),
        ),
        history(
            "If a later entry of the owner comes without the e, it is sent again.", ["R45"],
            read("r"), {"due": "begin"}, {"begins": 1}, {"due": "nothing"}, read(f"k0 : 2"), {"due": "begin"},
        ),
        history(
            "A page is compared within its range; a group whose other keys are not there is put right whole.", ["R38", "R47"],
            read(f"c1 : +hall a {END} +room a {END} +room b {LATER}", "k0 : 1"), begin(2, 2), asks(3),
            read(page(2, mine(2), 3, [("hall", 1, [("a", END)]), ("room", 0, [("a", END)])], end=("room", END, "a"))),
            {"repairs": [["a", "room", "a", f"{END} 2"]]},
            asks(4, "room", str(END), "a"), read(page(2, mine(2), 4, [], begin=("room", END, "a"))),
            {"repairs": [["a", "room", "b", f"{LATER} 2"]]}, {"due": "nothing"},
        ),
        history(
            "Whose end differs is set, on the condition of the end in the page.", ["R39", "R47"],
            read(f"c1 : {join}", "k0 : 1"), begin(2, 2), asks(3),
            read(page(2, mine(2), 3, [("room", 1, [("a", LATER)])])), {"repairs": [["s", "room", "a", f"{END} {LATER}"]]},
        ),
        history(
            "A page that was not asked for last is not used.", ["R48"],
            read(first, "r"), begin(2, 1), asks(2), read("r"), read(page(2, mine(1), 2, [])), mirror(room={"a": END}),
            begin(3, 3), asks(4), read(page(3, mine(3), 2, [])), mirror(room={"a": END}),
        ),
        history(
            "A repair that a condition refused is missing in its entry: all is compared once more.", ["R49"],
            read(f"c1 : {join}", "k0 : 1"), begin(2, 2), asks(3), read(page(2, mine(2), 3, [])),
            {"repairs": [["a", "room", "a", f"{END} 2"]]}, {"due": "nothing"},
            {"sends": {"call": 4, "operations": [["a", "room", "a", f"{END} 2"]]}},
            {"answer": {"call": 4, "n": 3, "now_us": NOW_MS * 1000}}, read(f"c3 {mine(4)}"), {"due": "page", "from": ["", "", ""]},
        ),
        history(
            "No repair of a member of whom a change is under way.", ["R47"],
            read(f"c1 : {join}", "k0 : 1"), begin(2, 2), asks(3),
            {"sends": {"call": 4, "operations": [["-", "room", "a", ""]]}},
            read(page(2, mine(2), 3, [])), {"repairs": []},
        ),
    ]


def controls():
    return {
        "owner": ME,
        "now_ms": NOW_MS,
        "entries": parts(),
        "refused": REFUSED_CONTROLS,
        "tags": tags(),
        "histories": histories(),
    }


# Several servers

POINTS = 4096


def points(servers):
    owned = [list(range(POINTS))] + [[] for _ in range(servers - 1)]
    for new in range(1, servers):
        for _ in range(POINTS // (new + 1)):
            most = max(len(points) for points in owned)
            richest = next(points for points in owned if len(points) == most)
            richest.sort()
            owned[new].append(richest.pop())
    table = [0] * POINTS
    for server, its in enumerate(owned):
        for point in its:
            table[point] = server
    return table


QUEUES = ["http.request", "http.request.body?Xy12", "http.response.client7!", "http.disconnect", "a", "websocket.receive", "q" * 100]


def ring():
    rings = []
    for servers in (1, 2, 3, 5, 8, 32):
        table = points(servers)
        of = {queue: table[zlib.crc32(queue.encode()) % POINTS] for queue in QUEUES}
        whole = ",".join(map(str, table))
        rings.append({"servers": servers, "table_sha1": hashlib.sha1(whole.encode()).hexdigest(), "server_of": of})
    return {
        "points": [{"queue": queue, "crc32": zlib.crc32(queue.encode()), "point": zlib.crc32(queue.encode()) % POINTS} for queue in QUEUES],
        "rings": rings,
    }


def shares():
    cases = []
    for servers in (1, 2, 3, 5):
        table = points(servers)
        for queue in ("http.request", "a", "websocket.receive"):
            first = table[zlib.crc32(queue.encode()) % POINTS]
            for capacity in (1, 2, 100, 10_001):
                of = [capacity // servers] * servers
                for step in range(capacity % servers):
                    of[(first + step) % servers] += 1
                cases.append({"servers": servers, "queue": queue, "capacity": capacity, "shares": of})
    return {"shares": cases}


# Sealed payloads and hidden names


def key(text):
    return hashlib.sha256(text.encode()).digest()


def seal(secret, kind, name, sealed_at_ms, good_for_ms, message, nonce):
    plain = kind + struct.pack(">QQB", sealed_at_ms, good_for_ms, len(name)) + name.encode() + message
    # The tag comes first.
    return bytes([MARK, VERSION]) + nonce + crypto_secretbox(plain, nonce, key(secret))


def seals():
    payloads = []
    secret = "a key of thirty-two bytes or more"
    for number, (text, kind, name, message) in enumerate(
        [
            (secret, b"c", "http.request", HI),
            (secret, b"c", "http.request.body?Xy12", b"\xc4\x03\x00\x01\x02"),
            (secret, b"c", "http.response.client7!ab12", HI),
            (secret, b"g", "room-7", HI),
            ("kurz", b"c", "a", b"\xc0"),
            ("un cl\u00e9 de chiffrement \u2014 avec des accents", b"g", "g" * 100, bytes([0xC4, 200]) + bytes(range(200))),
        ]
    ):
        nonce = hashlib.sha256(b"nonce %d" % number).digest()[:24]
        at, good_for = NOW_MS + number, 65_000
        payloads.append(
            {
                "key": text,
                "kind": {b"c": "channel", b"g": "group"}[kind],
                "name": name,
                "sealed_at_ms": at,
                "good_for_ms": good_for,
                "message": message.hex(),
                "nonce": nonce.hex(),
                "payload": seal(text, kind, name, at, good_for, message, nonce).hex(),
            }
        )

    nonce = hashlib.sha256(b"nonce of refused ones").digest()[:24]
    whole = seal(secret, b"c", "jobs", NOW_MS, 65_000, HI, nonce)
    last = NOW_MS + 65_000 + 5_000

    def refused(why, payload, keys=(secret,), kind="channel", name="jobs", at=NOW_MS):
        return {"why": why, "keys": list(keys), "kind": kind, "name": name, "at_ms": at, "payload": payload.hex()}

    return {
        "payloads": payloads,
        # Each is refused where it came, at that time by the clock of the server, by a client with these keys.
        "refused": [
            refused("in clear, and there are keys", HI),
            refused("sealed, and there are no keys", whole, keys=()),
            refused("of a later version", whole[:1] + b"\x02" + whole[2:]),
            refused("cut", whole[:-1]),
            refused("too short", whole[:59]),
            refused("sealed with another key", whole, keys=("another key",)),
            refused("a changed bit", whole[:-1] + bytes([whole[-1] ^ 1])),
            refused("moved to another channel", whole, name="job"),
            refused("moved to a group of that name", whole, kind="group"),
            refused("too old by a millisecond", whole, at=last + 1),
        ],
        # The same payload opens with a list of keys, and at the last millisecond.
        "opened": [
            {"keys": [secret], "kind": "channel", "name": "jobs", "at_ms": last, "payload": whole.hex(), "message": HI.hex()},
            {"keys": ["another key", secret], "kind": "channel", "name": "jobs", "at_ms": NOW_MS, "payload": whole.hex(), "message": HI.hex()},
        ],
    }


def hide(secret, kind, name):
    plain = name.encode()
    plain += bytes(-len(plain) % 16)
    sealed = AESSIV(key(secret)).encrypt(plain, [kind.encode()])
    text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    if kind != "queue":
        return text
    return text + ("!" if name.endswith("!") else "?" if "?" in name else "")


def hidden_names():
    secret = "a key of names, thirty-two bytes or more"
    shown = [
        ("queue", "http.request"),
        ("queue", "http.request.body?Xy12"),
        ("queue", "http.response.client7!"),
        ("queue", "sixteen.letters1"),
        ("queue", "q" * 100),
        ("address", "ab12"),
        ("group", "room-7"),
        ("group", "http.request"),
    ]
    jobs = hide(secret, "queue", "jobs")
    return {
        "names": [{"key": secret, "kind": kind, "name": name, "written": hide(secret, kind, name)} for kind, name in shown],
        # They belong to another layer: another key, another kind, or no hidden name at all.
        "refused": [
            {"key": "another key", "kind": "queue", "written": jobs},
            {"key": secret, "kind": "group", "written": jobs},
            {"key": secret, "kind": "queue", "written": "jobs"},
            {"key": secret, "kind": "queue", "written": jobs[:-1] + ("A" if jobs[-1] != "A" else "B")},
        ],
    }


def lines(value, depth=0):
    """JSON in which each case has a line, so that a change is seen where it is."""
    if isinstance(value, dict) and depth < 2 and any(isinstance(part, (dict, list)) for part in value.values()) and value.get("why") is None:
        inner = [f'{" " * (depth + 1)}{json.dumps(key)}: {lines(part, depth + 1)}' for key, part in value.items()]
        return "{\n" + ",\n".join(inner) + "\n" + " " * depth + "}"
    if isinstance(value, list) and depth < 2 and value and not isinstance(value[0], str):
        inner = [" " * (depth + 1) + json.dumps(part) for part in value]
        return "[\n" + ",\n".join(inner) + "\n" + " " * depth + "]"
    return json.dumps(value)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist/vectors"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "names": names, "entries": entries, "wake_ups": wake_ups, "control_entries": controls, "ring": ring, "shares": shares,
        "seal": seals, "hidden_names": hidden_names,
    }
    for name, make in files.items():
        (folder / f"{name}.json").write_text(lines(make()) + "\n")


main()
