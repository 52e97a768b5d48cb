"""Breaks one rule of the client on purpose, so that the driver can be seen to notice: `BREAK=repeats_a_push python -m tests.peer`."""

from __future__ import annotations

from typing import Any, Sequence

from channel_layer import layer as layers
from channel_layer import names
from channel_layer.inbox import Inbox
from channel_layer.link import Link
from channel_layer.log import Log
from channel_layer.sealing import Envelope
from channel_layer.tickets import Ticket, Tickets
from channel_layer.wire import PerhapsSent, Wire


def repeats_a_push() -> None:
    """R12: a push whose reply is lost is sent again."""
    call = Link.call

    async def twice(self: Link, script: str, keys: list[str], arguments: Any) -> list[Any]:
        try:
            return await call(self, script, keys, arguments)
        except PerhapsSent:
            return await call(self, script, keys, arguments)

    Link.call = twice  # type: ignore[method-assign]


def does_not_beat() -> None:
    """R7: open tickets are not asked for again."""
    def nothing(self: Link) -> None:
        pass

    Link._ask_all = nothing  # type: ignore[method-assign]


def forgets_acknowledgements() -> None:
    """R8: a finished ticket is taken off the list as soon as it is noted down for a call."""
    pop = Link._pop

    async def forgetful(self: Link, wire: Wire) -> bool:
        finished = dict(self._finished)
        try:
            return await pop(self, wire)
        finally:
            for number in finished:
                self._finished.pop(number, None)

    Link._pop = forgetful  # type: ignore[method-assign]


def delivers_copies() -> None:
    """R9: what comes for a ticket that is not open is dropped, and not released."""
    arrived = Tickets.arrived

    def deaf(self: Tickets, link: Link, number: int, queue: str, entries: Sequence[bytes], came: float) -> None:
        if number in self.open_tickets:
            arrived(self, link, number, queue, entries, came)

    Tickets.arrived = deaf  # type: ignore[method-assign]


def keeps_what_was_cancelled() -> None:
    """R10: a cancelled receive finishes nothing."""
    finish = Tickets.finish

    def silent(self: Tickets, ticket: Ticket, delivered: bool) -> None:
        if delivered:
            return finish(self, ticket, delivered)
        self.open_tickets.pop(ticket.number, None)

    Tickets.finish = silent  # type: ignore[method-assign]


def ignores_announcements() -> None:
    """R57: a ticket that is announced alone is not asked for."""
    on_message = Link._on_message

    def small_only(self: Link, message: bytes) -> None:
        if b" " in message or not message.isdigit():
            on_message(self, message)

    Link._on_message = small_only  # type: ignore[method-assign]


def asks_for_whole_replies() -> None:
    """R58: nothing is asked for in a brief mode, so a large reply comes over the connection that listens."""
    evalsha = Link._evalsha

    async def whole(self: Link, wire: Any, script: str, keys: list[str], arguments: list[Any]) -> Any:
        return await evalsha(self, wire, script, keys, [str(part).removesuffix("-brief") if isinstance(part, str) else part
                                                        for part in arguments])

    Link._evalsha = whole  # type: ignore[method-assign]


def ignores_moved() -> None:
    """R30: the word `moved` is not heard."""
    on_message = Link._on_message

    def stays(self: Link, message: bytes) -> None:
        if message != b"moved":
            on_message(self, message)

    Link._on_message = stays  # type: ignore[method-assign]


def sends_no_fence() -> None:
    """R15: pushes to ordered channels carry no client and no generation."""
    push = layers.ChannelLayer._push

    async def bare(self: Any, link: Link, queue: str, address: str, channel: str, packed: bytes, capacity: int, fenced: bool) -> bool:
        return await push(self, link, queue, address, channel, packed, capacity, False)

    layers.ChannelLayer._push = bare  # type: ignore[method-assign]


def believes_no_loss() -> None:
    """R44: the numbers of changes are not compared, so a loss is never found; and no page is asked for (R51)."""
    def nothing(self: Log, *_: Any) -> None:
        pass

    Log._conclude = nothing  # type: ignore
    Log.walk = nothing  # type: ignore
    Log.beat = nothing  # type: ignore


def gives_to_all_who_ever_joined() -> None:
    """R23: leaves are not applied."""
    def nothing(self: Log, group: str, address: str) -> None:
        pass

    Log._remove = nothing  # type: ignore[method-assign]


def leaves_its_inbox() -> None:
    """R29: closing does not remove the inbox."""
    async def nothing(self: Inbox) -> None:
        for task in self._tasks:
            task.cancel()

    Inbox.close = nothing  # type: ignore[method-assign]


def shares_nothing() -> None:
    """Several servers: each server gets the whole capacity."""
    def whole(self: names.Ring, queue: str, capacity: int) -> list[int]:
        return [capacity] * self.servers

    names.Ring.shares = whole  # type: ignore[method-assign]


def opens_what_was_moved() -> None:
    """Sealing: the place in a payload is not compared."""
    decrypt = Envelope._decrypt
    place: list[bytes] = [b"", b""]
    opens = Envelope.open

    def open_anywhere(self: Envelope, kind: bytes, name: str, payload: bytes, came_ms: int) -> tuple[Any, int | None]:
        place[:] = [kind, name.encode()]
        return opens(self, kind, name, payload, came_ms)

    def moved(self: Envelope, payload: bytes) -> bytes:
        plain = decrypt(self, payload)
        return place[0] + plain[1:17] + bytes([len(place[1])]) + place[1] + plain[18 + plain[17]:]

    Envelope.open, Envelope._decrypt = open_anywhere, moved  # type: ignore[method-assign]


def greets_at_once() -> None:
    """R11: hello is called as often as the server forgets its scripts."""
    greet = Link._greet

    async def hasty(self: Link, wire: Wire) -> None:
        self._hello_at = -1.0
        await greet(self, wire)

    Link._greet = hasty  # type: ignore[method-assign]
