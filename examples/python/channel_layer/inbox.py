"""An inbox and its owner: reads the inbox in batches, applies what it tells to the log, and keeps the inbox alive."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Awaitable, Callable

from redis.exceptions import ResponseError

from .changes import Line
from .entries import read_entry
from .link import Link
from .log import Log, Operation
from .sealing import Envelope, Refused
from .tickets import Ticket, Tickets

BYTES = 67_108_864
_ROOM = 1_000  # messages that wait in this process; then the inbox keeps what comes, and its senders are told

log = logging.getLogger(__name__)

# Opens a payload of a server: kind, name, payload, when it came. Returns the message and until when it may be kept.
Opener = Callable[[Link, bytes, str, bytes, float], Awaitable[tuple[Any, float]]]


@dataclass
class Kept:
    """A message that waits in this process, until a time of the monotonic clock (R54)."""

    channel: str
    message: Any
    until: float


class Inbox:
    """The inbox `name` of this process."""

    def __init__(self, link: Link, name: str, hidden: str, capacity: int, tickets: Tickets, envelope: Envelope,
                 open_payload: Opener) -> None:
        self.link, self.name = link, name
        self.failure: Exception | None = None
        self.refused = 0  # entries that were dropped because they were no messages, or did not open
        self.listeners: set[asyncio.Event] = set()
        self.log = Log(link.client)
        self.line = Line(link, hidden, capacity, self.log)
        self._hidden, self._tickets, self._envelope, self._open = hidden, tickets, envelope, open_payload
        self._kept: deque[Kept] = deque()
        self._taken = asyncio.Event()
        self._due = asyncio.Event()
        self._keep_due = True
        # Longer than that of the tickets, so that a short disconnection ends no membership.
        self._lease_ms = min(2 * link.lease_ms, 3_600_000)
        self._clock: tuple[float, float] | None = None  # the server's ms at a monotonic second
        self._seen_empty = time.monotonic()
        self._is_kept = asyncio.Event()
        self._ticket: Ticket | None = None
        self._tasks = [asyncio.create_task(self._guard(work)) for work in (self._keep(), self._read())]

    def take(self) -> tuple[str, Any] | None:
        """Returns the next message that has not expired, and its channel, or `None`."""
        while self._kept:
            kept = self._kept.popleft()
            self._taken.set()
            if kept.until > time.monotonic():
                return kept.channel, kept.message
        if self.failure:
            raise self.failure
        return None

    async def catch_up(self) -> None:
        """Waits until a message is here or the inbox was seen empty by a question that was asked now."""
        await self.link.wait_until_up()
        async with asyncio.timeout(self.link.timeout):
            await self._is_kept.wait()
        while not self._kept and not self.failure:
            ticket = self._ticket
            if ticket is None or ticket.source:
                await asyncio.sleep(0)  # the reader has a batch in its hands
            elif not await self.link.asked(ticket):
                return
            elif ticket is self._ticket and not ticket.source:
                return

    def forget_messages(self) -> None:
        self._kept.clear()
        self._taken.set()

    def greeted(self) -> None:
        """After each hello the owner gives a sign of life at once (R20)."""
        self.log.greeted()
        self._keep_due = True
        self._due.set()

    async def close(self) -> None:
        """Reads no more, leaves all groups and removes the inbox (R29)."""
        self.line.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ticket:
            self._tickets.finish(self._ticket, delivered=False)
        left: Any = None
        while self.link.is_up and left not in (0, b"taken"):
            try:
                (left,) = await self._call("inbox_close", "i", lambda: [])
            except (OSError, ResponseError):
                return

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            log.exception("inbox %s: its reader ended; receives on it fail from now on", self.name)
            self.failure = error
        finally:
            self._wake()

    def _wake(self) -> None:
        self._is_kept.set()
        for listener in self.listeners:
            listener.set()

    # Reading

    async def _read(self) -> None:
        await self._is_kept.wait()
        wake = asyncio.Event()
        while True:
            self._ticket = ticket = self._tickets.open({self.link: [self._hidden]}, waits=True, wake=wake)
            answers = 0
            while ticket.source is None:
                await wake.wait()
                wake.clear()
                if ticket.error:
                    raise ResponseError(ticket.error)
                if ticket.source is None and ticket.answered.get(self.link, 0) > answers:
                    answers, self._seen_empty = ticket.answered[self.link], time.monotonic()
            for entry in ticket.entries:
                await self._give(entry, ticket.came)
            # All of the batch is in this process, so it is acknowledged; the next ticket goes with the same call (R22).
            self._tickets.finish(ticket, delivered=True)
            self._ticket = None
            self._due.set()
            self._wake()
            while len(self._kept) >= _ROOM:
                self._taken.clear()
                await self._taken.wait()

    async def _give(self, entry: bytes, came: float) -> None:
        try:
            read = read_entry(entry)
            sent_us, name = read.pushed_us, read.name
            if read.control:
                self._read_control(read.control, sent_us // 1000)
                return
            # Looked up before anything is awaited: the log may not move between the entry and its members.
            if read.kind == "g":
                addresses = self.log.members(name, sent_us // 1000)
                if not addresses:
                    return
                place = self._envelope.show("group", name)
            else:
                addresses, place = [name], self.name + self._envelope.show("address", name)
            message, until = await self._open(self.link, read.kind.encode(), place, read.payload, came)
            waited = min(max(self.link.now_ms(came) - sent_us / 1000, 0) / 1000, came - self._seen_empty)
            until = min(until, came + (read.deadline_ms - sent_us / 1000) / 1000 - max(waited, 0))
            for number, address in enumerate(addresses):
                # Each gets a copy of its own, so that a program may alter what it received.
                own = copy.deepcopy(message) if number else message
                self._kept.append(Kept(self.name + self._envelope.show("address", address), own, until))
        except Refused as error:
            self.refused += 1
            log.warning("inbox %s: dropped an entry: %s", self.name, error)

    def _read_control(self, body: str, sent_ms: int) -> None:
        self.log.read(body, sent_ms, self.line.waiting)
        if self.log.doubt:
            self.line.free.clear()
            self.line.forget_repairs()
        else:
            self.line.free.set()
        repairs, self.log.repairs = self.log.repairs, []
        if repairs:
            self.line.repair(repairs)

    # Calls of the owner

    async def _keep(self) -> None:
        beat = self._lease_ms / 3000
        next_beat = time.monotonic() + beat
        while True:
            try:
                if self._keep_due:
                    async with self.line.turn:
                        await self._call_keep()
                if self.log.begin_due:
                    async with self.line.turn:
                        await self.line.call([Operation("e", "", "", "")])
                if self.log.page_due:
                    async with self.line.turn:
                        await self._call_page()
            except (OSError, ResponseError) as error:
                log.warning("inbox %s: %s; trying again", self.name, error)
                await asyncio.sleep(0.1)
                continue
            try:
                async with asyncio.timeout(max(next_beat - time.monotonic(), 0)):
                    await self._due.wait()
            except TimeoutError:
                next_beat = time.monotonic() + beat
                self.log.beat(2 * beat)
                self._keep_due = True
            self._due.clear()

    async def _call_keep(self) -> None:
        self._keep_due = False
        number = self.link.next_call()
        try:
            reply = await self._call("inbox_keep", "isf", lambda: [
                self.link.generation, self._lease_ms, BYTES, number, *self.log.last, "all", 0])
        except (OSError, ResponseError):
            self._keep_due = True
            raise
        if reply[0] == b"taken":
            raise RuntimeError(f"another process owns the inbox {self.name}")
        self.log.kept(int(reply[2]))
        self._is_kept.set()

    async def _call_page(self) -> None:
        place = self.log.page_due
        if place:
            number = self.link.next_call()
            self.log.page_asked(number)
            reply = await self._call("inbox_page", "isq", lambda: [number, *place])
            if reply[0] == b"taken":
                self._keep_due = True  # the server has forgotten the inbox
                self._due.set()

    async def _call(self, script: str, keys: str, arguments: Callable[[], list[Any]]) -> list[Any]:
        asked = time.monotonic()
        reply = await self.link.call(script, [self.link.key(kind, self._hidden) for kind in keys],
                                     lambda: [self.link.prefix, self._hidden, self.link.client, *arguments()])
        now = time.monotonic()
        if reply[0] == b"ok" and now - asked <= 1:
            server_ms, was = int(reply[1]) / 1000, self._clock
            self._clock = (server_ms, now)
            if was and abs((server_ms - was[0]) - (now - was[1]) * 1000) > 2_000:
                log.warning("inbox %s: the server's clock was set; all memberships are compared", self.name)
                self.log.clock_was_set(int(server_ms))
                self._keep_due = True
                self._due.set()
        return reply
