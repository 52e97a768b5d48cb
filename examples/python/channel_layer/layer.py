"""The channel layer of ASGI 1.0, for asyncio, over one Redis or several."""

from __future__ import annotations

import asyncio
import fnmatch
import itertools
import logging
import math
import random
import time
import weakref
from pathlib import Path
from typing import Any, Mapping, Sequence

from . import names
from .changes import Line
from .entries import read_entry
from .inbox import Inbox
from .link import Link
from .log import Operation
from .scripts import read_scripts
from .sealing import Envelope, MessageTooLarge, Refused, TooOld, pack
from .tickets import Ticket, Tickets
from .wire import NotSent, PerhapsSent

SCRIPTS = Path(__file__).resolve().parents[3] / "dist"

log = logging.getLogger(__name__)


class ChannelFull(Exception):
    """As many messages wait on the channel as its capacity allows; nothing was sent."""


class ChannelLayer:
    """Sends and receives messages by name. Use it as an async context manager, in one event loop and one process.

    `hosts` are URLs, the same ones in the same order in all programs. `expiry` and `group_expiry` are in seconds.
    `capacity` is that of a channel and `inbox_capacity` that of an inbox, for all its addresses together. `keys` seal
    messages, and `name_key` hides names. `lease` is the time in seconds after which a dead process no longer waits.
    """

    extensions = ["groups", "flush"]
    ChannelFull = ChannelFull
    MessageTooLarge = MessageTooLarge

    def __init__(self, hosts: Sequence[str] = ("redis://localhost:6379/0",), prefix: str = "asgi:", expiry: float = 60,
                 group_expiry: float = 86_400, capacity: int = 100, inbox_capacity: int = 10_000,
                 channel_capacity: Mapping[str, int] | None = None, keys: Sequence[str] = (), name_key: str | None = None,
                 lease: float = 30, timeout: float = 5, scripts: Path = SCRIPTS) -> None:
        self.expiry, self.group_expiry, self.capacity = expiry, group_expiry, capacity
        self.inbox_capacity = inbox_capacity
        self._refused = 0
        self._hosts, self._prefix, self._timeout, self._lease_ms = list(hosts), prefix, timeout, int(lease * 1000)
        self._expiry_ms = max(1, int(expiry * 1000))
        self._channel_capacity = dict(channel_capacity or {})
        self._envelope = Envelope(keys, name_key)
        self._ring = names.Ring(len(self._hosts))
        self._scripts = read_scripts(scripts)
        self._tickets = Tickets()
        self._links: list[Link] = []
        self._inboxes: dict[str, Inbox] = {}
        # A line of another process's queue lives while a change of it is under way.
        self._lines: weakref.WeakValueDictionary[str, Line] = weakref.WeakValueDictionary()
        self._turn = itertools.count(random.randrange(1 << 16))
        self._is_closed = False

    async def __aenter__(self) -> ChannelLayer:
        self._links = [Link(host, self._prefix, self._scripts, self._tickets, self._lease_ms, self._timeout, self._greeted)
                       for host in self._hosts]
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all receives with `RuntimeError`, closes the inboxes, and ends the lease on each server (R16)."""
        self._is_closed = True
        for ticket in list(self._tickets.open_tickets.values()):
            ticket.wake.set()
        for inbox in self._inboxes.values():
            inbox._wake()
        await asyncio.sleep(0)  # the receives end, and their tickets are released
        await asyncio.gather(*(inbox.close() for inbox in self._inboxes.values()))
        await asyncio.gather(*(link.close() for link in self._links))

    # Messages

    async def send(self, channel: str, message: Any) -> None:
        """Sends a message. Raises `ChannelFull`, `MessageTooLarge`, `NotSent`, or `PerhapsSent` if the reply was lost."""
        queue, address = names.split(names.check_channel(channel))
        packed = pack(message)
        capacity = self.get_capacity(queue)
        hidden = self._envelope.hide("queue", queue)
        if "?" in queue or queue[-1] == "!":
            if not await self._push(self._links[self._ring.server(hidden)], hidden, address, channel, packed, capacity, True):
                raise ChannelFull(channel)
            return
        is_full, failure = False, NotSent("no server has a share of the channel's capacity")
        shares = self._ring.shares(hidden, capacity)
        first = next(self._turn)
        order = [(first + step) % len(self._links) for step in range(len(self._links))]
        # A server that is not connected is asked last, because the call waits for it.
        for server in sorted(order, key=lambda server: not self._links[server].is_up):
            if shares[server] == 0:
                is_full = True
                continue
            if is_full and not self._links[server].is_up:
                continue
            try:
                if await self._push(self._links[server], hidden, address, channel, packed, shares[server], False):
                    return
                is_full = True
            except NotSent as error:
                failure = error
        raise ChannelFull(channel) if is_full else failure

    async def _push(self, link: Link, queue: str, address: str, channel: str, packed: bytes, capacity: int, fenced: bool) -> bool:
        head = b"m" + self._envelope.hide("address", address).encode() + b" "

        def arguments() -> list[Any]:
            payload = self._seal(link, b"c", channel, packed)
            fence = [link.client, link.generation] if fenced else ["", ""]
            return [self._prefix, self._expiry_ms, *fence, capacity, 1, head + payload]

        reply = await link.call("push", [link.key("q", queue)], arguments)
        if len(reply) > 1 and isinstance(reply[2], bytes):
            raise RuntimeError(f"{link.url}: {reply[2].decode(errors='replace')}")
        return len(reply) == 1

    async def receive(self, channels: Sequence[str], block: bool = False) -> tuple[str | None, Any]:
        """Returns a channel and a message. Without `block` it returns `(None, None)` if nothing is there now, and raises
        `NotSent` if no server can be asked.

        Cancel safe: a message leaves the layer in the step in which this returns. It is at most once: what a process had
        received is lost with it.
        """
        queues = [names.check_source(channel) for channel in dict.fromkeys(channels)]
        inboxes = [self._own(queue) for queue in queues if queue[-1] == "!"]
        others = {self._envelope.hide("queue", queue): queue for queue in queues if queue[-1] != "!"}
        wake = asyncio.Event()
        for inbox in inboxes:
            inbox.listeners.add(wake)
        try:
            if not block:
                return await self._receive_now(inboxes, others, wake)
            return await self._receive_next(inboxes, others, wake)
        finally:
            for inbox in inboxes:
                inbox.listeners.discard(wake)

    async def _receive_next(self, inboxes: list[Inbox], others: dict[str, str], wake: asyncio.Event) -> tuple[str, Any]:
        places = self._places(list(others))
        ticket: Ticket | None = None
        try:
            while True:
                if ticket is None and places:
                    ticket = self._tickets.open(places, True, wake)
                for inbox in random.sample(inboxes, len(inboxes)):
                    if taken := inbox.take():
                        return taken
                if ticket and (ticket.source or ticket.error):
                    message = await self._open_ticket(ticket, others)
                    self._tickets.finish(ticket, delivered=True)
                    if message:
                        return message
                    ticket = None
                    continue
                if self._is_closed:
                    raise RuntimeError("the layer was closed")
                await wake.wait()
                wake.clear()
        finally:
            if ticket:
                self._tickets.finish(ticket, delivered=False)

    async def _receive_now(self, inboxes: list[Inbox], others: dict[str, str], wake: asyncio.Event) -> tuple[str | None, Any]:
        for inbox in random.sample(inboxes, len(inboxes)):
            await inbox.catch_up()
            if taken := inbox.take():
                return taken
        places = self._places(list(others))
        # A server that is down is not waited for if another can be asked.
        candidates = [link for link in places if not link.is_down] or list(places)
        for link in random.sample(candidates, len(candidates)):
            await link.wait_until_up()
            while True:
                ticket = self._tickets.open({link: places[link]}, False, wake)
                try:
                    await link.asked(ticket)
                    if not ticket.source and not ticket.error:
                        break
                    message = await self._open_ticket(ticket, others)
                    self._tickets.finish(ticket, delivered=True)
                    if message:
                        return message
                finally:
                    self._tickets.finish(ticket, delivered=False)
        return None, None

    async def _open_ticket(self, ticket: Ticket, others: dict[str, str]) -> tuple[str, Any] | None:
        """Returns what a ticket took, or `None` if it was no message that opens: then it is acknowledged and counted."""
        if ticket.error or ticket.source is None:
            raise RuntimeError(ticket.error)
        try:
            entry = read_entry(ticket.entries[-1])
            channel = others[ticket.queue]
            if entry.control:
                raise Refused("a control entry stands outside of an inbox")
            place = channel if entry.kind == "m" else self._envelope.show("group", entry.name)
            message, _ = await self._open(ticket.source, entry.kind.encode(), place, entry.payload, ticket.came)
            return channel, message
        except (Refused, KeyError) as error:
            self._refused += 1
            log.warning("%s: dropped an entry: %s", ticket.queue, error)
            return None

    async def new_channel(self, pattern: str) -> str:
        """Returns the name of a new single-reader channel. The pattern ends with `?`."""
        if not isinstance(pattern, str) or not pattern.endswith("?"):
            raise TypeError(f"{pattern!r} does not end with '?'")
        return names.check_channel(pattern + names.random_part())

    async def new_inbox(self, stem: str) -> str:
        """Returns the name of a new inbox of this process, such as `chat.x7f3!`; its channels are the name and any address."""
        name = names.check_source(f"{stem}.{names.random_part()}!")
        await self._own(name).catch_up()
        return name

    # Groups

    async def group_add(self, group: str, channel: str) -> None:
        """Lets the channel be a member for `group_expiry` seconds from now on."""
        await self._change("+", group, channel, str(max(1, int(self.group_expiry * 1000))))

    async def group_discard(self, group: str, channel: str) -> None:
        await self._change("-", group, channel, "")

    async def group_send(self, group: str, message: Any) -> None:
        """Sends to who is a member now. It never raises `ChannelFull`: a full channel misses the message."""
        hidden = self._envelope.hide("group", names.check_group(group))
        packed = pack(message)
        outcomes = await asyncio.gather(*(self._group_send(link, group, hidden, packed) for link in self._links),
                                        return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    send_group = group_send  # as asgiref 1 calls it

    async def _group_send(self, link: Link, group: str, hidden: str, packed: bytes) -> None:
        cursor = b""
        while True:
            reply = await link.call("group_send", [link.key("g", hidden)], lambda: [
                self._prefix, hidden, self._expiry_ms, link.client, link.generation, cursor, "",
                b"g" + hidden.encode() + b" " + self._seal(link, b"g", group, packed)])
            cursor = reply[1]
            if not cursor:
                return

    async def group_channels(self, group: str) -> list[str]:
        """Returns the members of a group."""
        hidden = self._envelope.hide("group", names.check_group(group))
        found: list[str] = []
        for link in self._links:
            queue, cursor = b"", b"0"
            while True:
                reply = await link.call("group_list", [link.key("g", hidden)], lambda: [self._prefix, hidden, queue, cursor])
                queue, cursor = reply[0], reply[1]
                for name in reply[2:]:
                    inbox, address = names.split(name.decode())
                    found.append(self._envelope.show("queue", inbox) + self._envelope.show("address", address))
                if not queue:
                    break
        return list(dict.fromkeys(found))  # a scan may name a member twice

    async def _change(self, kind: str, group: str, channel: str, lifetime: str) -> None:
        names.check_group(group)
        queue, address = names.split(names.check_channel(channel))
        hidden = self._envelope.hide("queue", queue)
        line = self._inboxes[queue].line if queue in self._inboxes else self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = Line(self._links[self._ring.server(hidden)], hidden, self.get_capacity(queue))
        await line.change(Operation(kind, self._envelope.hide("group", group), self._envelope.hide("address", address), lifetime))

    async def flush(self) -> None:
        """Removes all messages and groups under the prefix, on all servers."""
        for link in self._links:
            for script in ("flush", "flush_inboxes"):
                cursor: Any = 0
                while True:
                    reply = await link.call(script, [f"{self._prefix}schema"], lambda: [self._prefix, cursor, 1000])
                    if reply == [b"more"]:
                        continue
                    cursor = int(reply[0])
                    if not cursor:
                        break
        for inbox in self._inboxes.values():
            inbox.forget_messages()

    # Parts of the above

    @property
    def refused(self) -> int:
        """How many entries were dropped because they were no messages of this layer, or did not open."""
        return self._refused + sum(inbox.refused for inbox in self._inboxes.values())

    def get_capacity(self, queue: str) -> int:
        """Returns the capacity of a queue: of the first pattern that fits, else that of the layer."""
        fitting = (capacity for pattern, capacity in self._channel_capacity.items() if fnmatch.fnmatchcase(queue, pattern))
        return next(fitting, self.inbox_capacity if queue.endswith("!") else self.capacity)

    def _own(self, name: str) -> Inbox:
        if name not in self._inboxes:
            hidden = self._envelope.hide("queue", name)
            self._inboxes[name] = Inbox(self._links[self._ring.server(hidden)], name, hidden, self.get_capacity(name),
                                        self._tickets, self._envelope, self._open_kept)
        return self._inboxes[name]

    def _places(self, hidden: list[str]) -> dict[Link, list[str]]:
        """Returns which queues to ask for on which server: normal channels on all, a `?` channel on its own."""
        places = {link: [queue for queue in hidden if "?" not in queue or self._ring.server(queue) == index]
                  for index, link in enumerate(self._links)}
        return {link: queues for link, queues in places.items() if queues}

    def _greeted(self, link: Link) -> None:
        for inbox in self._inboxes.values():
            if inbox.link is link:
                inbox.greeted()

    def _seal(self, link: Link, kind: bytes, name: str, packed: bytes) -> bytes:
        return self._envelope.seal(kind, name, packed, link.now_ms(), self._expiry_ms + int(self._timeout * 1000))

    async def _open(self, link: Link, kind: bytes, name: str, payload: bytes, came: float) -> tuple[Any, int | None]:
        kind = b"g" if kind == b"g" else b"c"
        try:
            return self._envelope.open(kind, name, payload, link.now_ms(came))
        except TooOld:
            await link.read_clock()  # it may have been set
            return self._envelope.open(kind, name, payload, link.now_ms(came))

    async def _open_kept(self, link: Link, kind: bytes, name: str, payload: bytes, came: float) -> tuple[Any, float]:
        message, until = await self._open(link, kind, name, payload, came)
        return message, math.inf if until is None else time.monotonic() + (until - link.now_ms()) / 1000


__all__ = ["ChannelFull", "ChannelLayer", "MessageTooLarge", "NotSent", "PerhapsSent"]
