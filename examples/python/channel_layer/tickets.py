"""Tickets: each is the promise of one receive to take one entry, or of one inbox to take one batch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Sequence

from .entries import ID_BYTES

if TYPE_CHECKING:
    from .link import Link

@dataclass(eq=False)
class Ticket:
    number: int
    queues: dict[Link, list[str]]
    waits: bool
    wake: asyncio.Event  # set when something happened to the ticket
    told: set[Link] = field(default_factory=set)  # servers that may know it
    answered: dict[Link, int] = field(default_factory=dict)  # how many pops that carried it were answered
    source: Link | None = None
    queue: str = ""
    entries: Sequence[bytes] = ()
    error: str | None = None
    came: float = 0.0  # when the entries came, by the monotonic clock


def _single_readers(queues: dict[Link, list[str]]) -> set[str]:
    return {queue for names in queues.values() for queue in names if queue[-1] == "!" or "?" in queue}


class Tickets:
    """The open tickets of a layer, over all its servers. Nothing here waits, so no step is half done."""

    def __init__(self) -> None:
        self.open_tickets: dict[int, Ticket] = {}
        self._single: set[str] = set()  # queues with one reader, for which a ticket is open
        self._last = 0

    def open(self, queues: dict[Link, list[str]], waits: bool, wake: asyncio.Event) -> Ticket:
        """Opens a ticket and puts it onto the agenda of its servers. Raises `RuntimeError` for a second one of a `?` channel."""
        single = _single_readers(queues)
        if single & self._single:
            raise RuntimeError("another receive of this layer waits for the same single-reader channel (R14)")
        self._single |= single
        self._last += 1
        ticket = Ticket(self._last, queues, waits, wake)
        self.open_tickets[ticket.number] = ticket
        for link in queues:
            link.ask(ticket)
        return ticket

    def finish(self, ticket: Ticket, delivered: bool) -> None:
        """Acknowledges what the ticket delivered, and releases it on every other server that may know it (R10, R17)."""
        if self.open_tickets.pop(ticket.number, None) is None:
            return
        self._single -= _single_readers(ticket.queues)
        for link in ticket.queues:
            link.forget(ticket)
        for link in ticket.told:
            mine = delivered and link is ticket.source
            link.finish(ticket.number, ticket.entries[-1][:ID_BYTES] if mine else b"")

    def arrived(self, link: Link, number: int, queue: str, entries: Sequence[bytes], came: float) -> None:
        """Fills the ticket with the first entry that comes; releases what comes for one that is not open (R9)."""
        ticket = self.open_tickets.get(number)
        if ticket is None:
            link.finish(number, b"")
        elif ticket.source is None and entries:
            ticket.source, ticket.queue, ticket.entries, ticket.came = link, queue, entries, came
            ticket.wake.set()
