"""Names of channels and groups, the ring that puts them on servers, and the shares of a capacity."""

from __future__ import annotations

import heapq
import re
import secrets
import string
import zlib

_CHANNEL = re.compile(r"[A-Za-z0-9\-_.]+(?:[?!][A-Za-z0-9\-_.]*)?\Z")
_GROUP = re.compile(r"[A-Za-z0-9\-_.]+\Z")
_POINTS = 4096


def check_channel(name: str) -> str:
    """Returns the name. Raises `TypeError` if it is not a channel to which a message can be sent."""
    if not isinstance(name, str) or len(name) > 100 or not _CHANNEL.match(name) or name[-1] in "?!":
        raise TypeError(f"{name!r} is no channel: 1 to 100 letters, digits, '-', '_', '.', and at most one '?' or '!' "
                        "which is not at the end")
    return name


def check_source(name: str) -> str:
    """Returns the name. Raises `TypeError` if a receive cannot take it: of a `!` channel it takes the inbox."""
    if isinstance(name, str) and name.endswith("!"):
        check_channel(name + "a")
        return name
    if "!" in check_channel(name):
        raise TypeError(f"{name!r} is one address of an inbox; receive from the inbox, the part up to and with '!'")
    return name


def check_group(name: str) -> str:
    """Returns the name. Raises `TypeError` if it is not a group's."""
    if not isinstance(name, str) or len(name) > 100 or not _GROUP.match(name):
        raise TypeError(f"{name!r} is no group: 1 to 100 letters, digits, '-', '_' and '.'")
    return name


def split(channel: str) -> tuple[str, str]:
    """Returns the queue of a channel, and its address inside an inbox or an empty text."""
    inbox, mark, address = channel.partition("!")
    return (inbox + mark, address) if mark else (channel, "")


def random_part() -> str:
    """Returns 12 random letters and digits, about 71 bits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))


class Ring:
    """Says on which of `servers` servers a queue lives, and which share of a capacity each server has."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        # Heaps of negative points, because the highest point of a server goes first.
        owned: list[list[int]] = [[-point for point in reversed(range(_POINTS))]] + [[] for _ in range(servers - 1)]
        for new in range(1, servers):
            for _ in range(_POINTS // (new + 1)):
                richest = max(range(servers), key=lambda server: (len(owned[server]), -server))
                heapq.heappush(owned[new], heapq.heappop(owned[richest]))
        server_of = {-point: server for server, points in enumerate(owned) for point in points}
        self.table = [server_of[point] for point in range(_POINTS)]

    def server(self, queue: str) -> int:
        """Returns the index of the server of a `?` channel, an inbox or a member."""
        return self.table[zlib.crc32(queue.encode()) % _POINTS]

    def shares(self, queue: str, capacity: int) -> list[int]:
        """Returns for each server how many messages of a normal channel it may hold."""
        first = self.server(queue)
        each, rest = divmod(capacity, self.servers)
        return [each + ((server - first) % self.servers < rest) for server in range(self.servers)]
