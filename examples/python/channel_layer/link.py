"""The link to one server: connects, says hello, asks for tickets, beats, and begins anew whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from typing import Any, Callable

from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from .entries import read_wake_up
from .scripts import SCHEMA, Script
from .tickets import Ticket, Tickets
from .wire import NotSent, PerhapsSent, Wire

_TICKETS_OF_A_CALL = 500
_KEYS_OF_A_CALL = 1_000
_TRIES = 5

log = logging.getLogger(__name__)


class Link:
    """One client of one server. Its name is random, and its generation rises with each hello (R5)."""

    def __init__(self, url: str, prefix: str, scripts: dict[str, Script], tickets: Tickets, lease_ms: int, timeout: float,
                 greeted: Callable[[Link], None]) -> None:
        self.url, self.prefix, self.timeout, self.lease_ms = url, prefix, timeout, lease_ms
        self.client = secrets.token_hex(16)
        self.generation = 0
        self.failure: Exception | None = None  # why the link has given up for good
        self.is_down = False  # the last attempt to connect failed, or the connection broke
        self._scripts, self._tickets, self._greeted = scripts, tickets, greeted
        self._wire: Wire | None = None
        self._ready = asyncio.Event()
        self._work = asyncio.Event()
        self._to_ask: dict[int, Ticket] = {}
        self._finished: dict[int, bytes] = {}
        self._in_flight: dict[int, Ticket] = {}
        self._announced: dict[int, str] = {}  # tickets of which a reply only announced what they hold, and the queue
        self._fetching: asyncio.Task[None] | None = None
        self._calls = 0
        self._clock = (0.0, 0.0)  # the server's ms at a monotonic second
        self._clock_read = 0.0
        self._has_greeted = False
        self._hello_at = -1.0
        self._task = asyncio.create_task(self._run())

    # What the layer says and asks

    def key(self, kind: str, name: str) -> str:
        return f"{self.prefix}{kind}:{name}"

    @property
    def is_up(self) -> bool:
        return self._ready.is_set() and self.failure is None

    def next_call(self) -> int:
        """Returns the number of the next change, sign of life or page (R36)."""
        self._calls += 1
        return self._calls

    def now_ms(self, at: float | None = None) -> int:
        """Returns the server's clock, as far as the client knows it, at a monotonic time or now."""
        return int(self._clock[0] + ((time.monotonic() if at is None else at) - self._clock[1]) * 1000)

    async def read_clock(self, max_age: float = 1.0) -> None:
        """Asks the server for its time, unless it was asked within `max_age` seconds."""
        if time.monotonic() - self._clock_read >= max_age:
            wire = await self.wait_until_up()
            asked = time.monotonic()
            seconds, micros = await wire.call("TIME")
            self._set_clock(int(seconds) * 1000 + int(micros) / 1000, asked)

    def ask(self, ticket: Ticket) -> None:
        self._to_ask[ticket.number] = ticket
        self._work.set()

    def forget(self, ticket: Ticket) -> None:
        self._to_ask.pop(ticket.number, None)

    def finish(self, number: int, delivered: bytes) -> None:
        """Notes a finished ticket. What is noted stays: a copy that comes late must not turn an acknowledgement into a release."""
        self._finished.setdefault(number, delivered)
        self._work.set()

    async def asked(self, ticket: Ticket) -> bool:
        """Asks for the ticket now and waits for the reply. Returns `False` if the connection broke or there is none."""
        wanted = ticket.answered.get(self, 0) + (2 if ticket.number in self._in_flight else 1)
        while self.is_up and ticket.number in self._tickets.open_tickets:
            if ticket.source or ticket.error or ticket.answered.get(self, 0) >= wanted:
                return True
            if ticket.number not in self._in_flight:
                self.ask(ticket)
            ticket.wake.clear()
            await ticket.wake.wait()
        return False

    async def call(self, script: str, keys: list[str], arguments: Callable[[], list[Any]]) -> list[Any]:
        """Calls a script; once more after `stale` and `NOSCRIPT`, which mean that nothing was done (R12).

        `arguments` is asked anew for each try, because the generation and the server's clock are among them.
        """
        for _ in range(_TRIES):
            wire = await self.wait_until_up()
            generation = self.generation
            try:
                reply = await self._evalsha(wire, script, keys, arguments())
            except NoScriptError:
                reply = [b"stale"]
            if reply != [b"stale"]:
                return reply if isinstance(reply, list) else [reply]
            self._begin_anew(generation)
        raise NotSent(f"{script} was refused {_TRIES} times as the server forgot the client or the script")

    async def close(self) -> None:
        """Finishes all tickets, ends the lease and closes the connection (R16). The layer has no open tickets any more."""
        try:
            async with asyncio.timeout(self.timeout):
                while self.is_up and (self._finished or self._in_flight):
                    self._work.set()
                    await asyncio.sleep(0.005)
                if self.is_up:
                    await self.call("pop", [self.key("c", self.client)], lambda: [self.prefix, self.client, self.generation, 0, 0])
        except (TimeoutError, OSError, ResponseError):
            pass
        tasks = [task for task in (self._task, self._fetching) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The task of the link

    async def _run(self) -> None:
        pause = 0.05
        while True:
            wake = f"{self.prefix}wake:{self.client}".encode()
            self._wire = wire = Wire(self.url, wake, self.timeout, self._on_message, self._work.set)
            try:
                await wire.open()
                self.is_down = False
                await self._greet(wire)
                pause = 0.05
                await self._serve(wire)
            except (NotSent, PerhapsSent, ResponseError) as error:
                remedy = "giving up" if self.failure else "connecting anew"
                log.warning("%s: connection lost or refused (%s); %s", self.url, error, remedy)
            except Exception:
                log.exception("%s: a mistake of this client; connecting anew", self.url)
            finally:
                self.is_down = True
                self._ready.clear()
                await wire.close()
                for ticket in self._tickets.open_tickets.values():
                    ticket.wake.set()
            if self.failure:
                return self._ready.set()  # whoever waits is told
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 2.0)

    async def _greet(self, wire: Wire) -> None:
        """Loads missing scripts, says hello, asks for all open tickets, and finishes those that nobody knows (R6, R31)."""
        # Also after one that was refused: another program may go on removing scripts (R11).
        await asyncio.sleep(max(0.0, self._hello_at + 0.5 - time.monotonic()))
        shas = [script.sha for script in self._scripts.values()]
        for script, is_there in zip(self._scripts.values(), await wire.call("SCRIPT", "EXISTS", *shas)):
            if not is_there:
                await wire.call("SCRIPT", "LOAD", script.text)
        while True:
            self.generation += 1
            asked = self._hello_at = time.monotonic()
            reply = await self._evalsha(wire, "hello", [self.key("c", self.client), f"{self.prefix}schema"],
                                        [self.generation, self.lease_ms, SCHEMA])
            if reply[0] == b"ok":
                break
            if reply[0] == b"schema":
                self.failure = NotSent(f"the data under {self.prefix!r} have schema {reply[1]}, this client has {SCHEMA}")
                raise self.failure
            self.generation = int(reply[1])
        self._set_clock(reply[1], asked)
        is_first, self._has_greeted = not self._has_greeted, True
        self._ask_all()
        while self._finished or self._to_ask:
            if not await self._pop(wire):
                return
        if not is_first and not await self._finish_unknown(wire):
            return
        self._ready.set()
        self._greeted(self)

    async def _finish_unknown(self, wire: Wire) -> bool:
        cursor: Any = 0
        unknown = False
        while True:
            reply = await self._evalsha(wire, "client_tickets", [self.key("c", self.client)], [self.generation, cursor])
            if reply == [b"stale"]:
                return False
            cursor = int(reply[1])
            for number in map(int, reply[2:]):
                if number not in self._tickets.open_tickets and number not in self._finished:
                    self._finished[number] = b""
                    unknown = True
            if not cursor:
                break
        if unknown:
            self._ask_all()
        return True

    async def _serve(self, wire: Wire) -> None:
        beat = time.monotonic() + self.lease_ms / 3000
        while not wire.is_lost:
            if not self.is_up:
                await self._greet(wire)
            elif time.monotonic() >= beat:
                beat = time.monotonic() + self.lease_ms / 3000
                await self.read_clock()
                self._ask_all()
                await self._pop(wire)
            elif self._to_ask or self._finished:
                await self._pop(wire)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(beat - time.monotonic()):
                        await self._work.wait()
                self._work.clear()

    async def _pop(self, wire: Wire) -> bool:
        """Makes one pop of what is finished and what is open now. Returns `False` if the client is to begin anew (R11)."""
        finished = dict(list(self._finished.items())[:_TICKETS_OF_A_CALL])
        carried: dict[int, Ticket] = {}
        keys = [self.key("c", self.client)]
        arguments: list[Any] = [self.prefix, self.client, self.generation, self.lease_ms, len(finished)]
        arguments += [part for item in finished.items() for part in item]
        # A new ticket must not overtake the release of an old one (R8).
        for number, ticket in list(self._to_ask.items()) if len(finished) == len(self._finished) else []:
            names = random.sample(ticket.queues[self], len(ticket.queues[self]))
            if carried and (len(carried) == _TICKETS_OF_A_CALL or len(keys) + len(names) > _KEYS_OF_A_CALL):
                break
            keys += [self.key("q", name) for name in names]
            arguments += [number, "wait-brief" if ticket.waits else "try-brief", len(names)]
            carried[number] = self._to_ask.pop(number)
            ticket.told.add(self)
        self._in_flight = carried
        try:
            reply = await self._evalsha(wire, "pop", keys, arguments)
        except NoScriptError:
            reply = [b"stale"]
        finally:
            self._in_flight = {}
        if reply == [b"stale"]:
            self._begin_anew(self.generation)
            return False
        for number, delivered in finished.items():
            if self._finished.get(number) == delivered:
                del self._finished[number]
        self._answered(carried, reply)
        return True

    def _answered(self, carried: dict[int, Ticket], reply: list[Any]) -> None:
        came = time.monotonic()
        for number, queue, entry in zip(map(int, reply[2::3]), reply[3::3], reply[4::3]):
            if queue and entry == b"":
                self._announced.setdefault(number, queue.decode())
            elif queue:
                self._tickets.arrived(self, number, queue.decode(), entry if isinstance(entry, list) else [entry], came)
            elif number in self._tickets.open_tickets:
                self._tickets.open_tickets[number].error = entry.decode(errors="replace")
        for place, (number, ticket) in enumerate(carried.items()):
            if number not in self._tickets.open_tickets:
                continue
            if place >= reply[1]:
                self._to_ask[number] = ticket  # it was not looked at (R18)
                continue
            if number in self._announced:
                continue  # not empty: it is being fetched for (R58)
            ticket.answered[self] = ticket.answered.get(self, 0) + 1
            if not ticket.waits and ticket.source is not self and not ticket.error:
                ticket.told.discard(self)  # a try that found nothing left nothing (R10)
            ticket.wake.set()
        if self._announced and (self._fetching is None or self._fetching.done()):
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        """Brings what was only announced over a connection that does not listen, which the server would cut for it (R58)."""
        plain = Wire(self.url, None, self.timeout, lambda message: None, lambda: None)
        try:
            await plain.open()
            while self._announced:
                number, queue = next(iter(self._announced.items()))
                ticket = self._tickets.open_tickets.get(number)
                if ticket and ticket.source is None:
                    reply = await self._evalsha(plain, "fetch", [self.key("c", self.client), self.key("q", queue)],
                                                [self.prefix, self.generation, number])
                    if reply[1:]:
                        entries = reply[2] if isinstance(reply[2], list) else [reply[2]]
                        self._tickets.arrived(self, number, reply[1].decode(), entries, time.monotonic())
                    else:  # it has expired, or the client begins anew
                        self.ask(ticket)
                self._announced.pop(number, None)
        except (NotSent, PerhapsSent, ResponseError) as error:
            log.warning("%s: a large message did not come (%s); asking again", self.url, error)
            await asyncio.sleep(0.5)
        finally:
            await plain.close()
            for number in self._announced:
                if ticket := self._tickets.open_tickets.get(number):
                    self.ask(ticket)
            self._announced.clear()

    def _on_message(self, message: bytes) -> None:
        wake_up = read_wake_up(message)
        ticket = self._tickets.open_tickets.get(wake_up.ticket)
        if wake_up.kind == "moved":
            self._drop()
        elif wake_up.kind == "again":
            self._begin_anew(self.generation)
        elif wake_up.kind == "handed":
            self._tickets.arrived(self, wake_up.ticket, wake_up.queue, [wake_up.entry], time.monotonic())
        elif wake_up.kind == "ignored":
            log.warning("%s: ignored a malformed wake-up message", self.url)
        elif ticket is None:
            self.finish(wake_up.ticket, b"")
        elif ticket.source is None:
            self.ask(ticket)

    def _ask_all(self) -> None:
        for number, ticket in self._tickets.open_tickets.items():
            if self in ticket.queues and ticket.source is None and (ticket.waits or self in ticket.told):
                self._to_ask.setdefault(number, ticket)

    def _begin_anew(self, generation: int) -> None:
        if generation == self.generation:
            self._ready.clear()
            self._work.set()

    def _drop(self) -> None:
        self._ready.clear()
        if self._wire:
            self._wire.drop()

    def _set_clock(self, server_ms: float, asked: float) -> None:
        now = time.monotonic()
        self._clock, self._clock_read = (server_ms, (asked + now) / 2), now

    async def wait_until_up(self) -> Wire:
        try:
            async with asyncio.timeout(self.timeout):
                await self._ready.wait()
        except TimeoutError:
            raise NotSent(f"not connected to {self.url} within {self.timeout} s; nothing was sent") from None
        if self.failure or not self._wire:
            raise self.failure or NotSent("the link is closed")
        return self._wire

    async def _evalsha(self, wire: Wire, script: str, keys: list[str], arguments: list[Any]) -> Any:
        try:
            return await wire.call("EVALSHA", self._scripts[script].sha, len(keys), *keys, *arguments)
        except ReadOnlyError as error:
            self._drop()  # no longer the primary (R30)
            raise NotSent(f"{self.url} takes no writes: {error}") from None
