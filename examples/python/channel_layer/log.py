"""The log of an inbox: reads control entries in order, keeps the mirror of the memberships, and finds out what was lost.

A `Log` does no input or output. It says what is due: `e` (`begin_due`), a page (`page_due`), repairs (`repairs`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .entries import Control, read_control, read_tag

Right = Literal["mirror", "server"]
Member = tuple[str, str]  # group, address
Place = tuple[str, float, str]  # group, end, address
BEGIN: Place = ("", -1, "")
END: Place = ("\x7f", math.inf, "")


class Operation(NamedTuple):
    """One operation of `group_change`."""

    kind: str
    group: str
    address: str
    time: str


@dataclass
class Call:
    """A call of the owner whose entry was not read yet (R26)."""

    operations: list[Operation]
    n: int | None = None  # as the reply told; without a reply nothing is known
    now_ms: int = 0


@dataclass
class Membership:
    end: int  # in ms of the server
    until: float  # the same by the monotonic clock, which no step of the server's clock changes (R52)


@dataclass
class Log:
    """What the owner of one inbox knows of its memberships. `client` is the owner's name on its server."""

    client: str
    mirror: dict[str, dict[str, Membership]] = field(default_factory=dict)
    n: int = 0
    tag: str = ":"
    doubt: Right | None = None  # who is right, until `e` is read
    begin_due: bool = False
    repairs: list[Operation] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _calls: dict[int, Call] = field(default_factory=dict)
    _lost: dict[int, Call] = field(default_factory=dict)
    _begin_call: int | None = None
    _read_in_doubt: dict[Member, list[tuple[int | None, int]]] = field(default_factory=dict)  # own call or None, and n
    _repairing: dict[Member, bool] = field(default_factory=dict)  # whether something was read of the member since
    _walks_for: Right = "mirror"
    _place: Place = BEGIN
    _pages_due: float = 0
    _walk_again: bool = False
    _asked: int | None = None
    _asked_at: float = 0.0

    # Calls of the owner

    @property
    def last(self) -> tuple[str, str]:
        """What `inbox_keep` names: the last change that was read; no number while an answered change is unread (R21)."""
        is_unsure = any(call.n is not None for call in self._calls.values())
        return ("" if is_unsure else str(self.n)), self.tag

    def calls(self, number: int, operations: list[Operation]) -> None:
        self._calls[number] = Call(operations)
        if any(operation.kind == "e" for operation in operations):
            self._begin_call, self.begin_due = number, False

    def answered(self, number: int, n: int, now_ms: int, failures: dict[int, str]) -> None:
        call = self._calls.get(number)
        if call:  # else its entry was read before the reply came
            self._walk_again = self._walk_again or any(call.operations[place - 1].kind in "asx" for place in failures)
            call.operations = [operation for place, operation in enumerate(call.operations, 1) if place not in failures]
            call.n, call.now_ms = n, now_ms

    def failed(self, number: int) -> None:
        """A call has no reply: its entry comes or does not. What it was to repair is compared again."""
        call = self._calls.get(number)
        self._walk_again = self._walk_again or bool(call and any(operation.kind in "asx" for operation in call.operations))
        if self.doubt and number == self._begin_call:
            self.begin_due = True

    def busy(self) -> set[Member]:
        """Members of whom a change is under way or unread (R47)."""
        return {(operation.group, operation.address) for call in self._calls.values() for operation in call.operations}

    def greeted(self) -> None:
        """After a hello `e` is sent again (R45), and the page that was asked for does not come any more (R50)."""
        self.begin_due = self.doubt is not None
        self._asked = None

    def kept(self, groups: int) -> None:
        """`inbox_keep` tells in how many groups the server has members of the inbox (R51)."""
        if groups < len(self.mirror):
            self.walk()

    def walk(self) -> None:
        """Begins to compare all pages with the mirror, unless they are taken over just now."""
        if self._walks_for == "server" and self._pages_due:
            self._walk_again = True
        elif not self.doubt:
            self._walks_for, self._place, self._pages_due, self._asked = "mirror", BEGIN, math.inf, None

    def beat(self, two_thirds_of_lease: float) -> None:
        """A third of the inbox's lease has passed: one more page is due (R51), and one that did not come (R50)."""
        if self._asked is not None and time.monotonic() - self._asked_at >= two_thirds_of_lease:
            self._asked = None
        if not self._pages_due:
            self._walks_for, self._pages_due = "mirror", 1
        self._seen = dict(list(self._seen.items())[-4096:])

    @property
    def page_due(self) -> tuple[str, str, str] | None:
        """From where to ask for the next page, as the script takes it, or `None`."""
        if not self._pages_due and self._walk_again and not self.doubt:
            self._walk_again = False
            self.walk()
        if self.doubt or not self._pages_due or self._asked is not None:
            return None
        group, end, address = self._place
        return group, "" if self._place == BEGIN or end == math.inf else str(int(end)), address

    def page_asked(self, number: int) -> None:
        self._asked, self._asked_at = number, time.monotonic()

    def clock_was_set(self, now_ms: int) -> None:
        """The server's clock was set: ends are now and what is left by the counting clock, and all pages are compared (R52)."""
        for group, members in list(self.mirror.items()):
            for address, membership in list(members.items()):
                left = (membership.until - time.monotonic()) * 1000
                if left <= 0:
                    self._remove(group, address)
                elif abs(now_ms + left - membership.end) > 1_000:
                    membership.end = int(now_ms + left)
        self.walk()

    # Reading

    def members(self, group: str, sent_ms: int) -> list[str]:
        """Returns who gets a message that was sent to the group at that time (R24)."""
        return [address for address, membership in self.mirror.get(group, {}).items() if membership.end > sent_ms]

    def read(self, body: str, sent_ms: int, busy: set[Member]) -> None:
        """Reads a control entry. `busy` are the members of whom a change of this process waits."""
        control = read_control(body)
        if control.kind == "r":
            self._conclude("server")
        elif control.kind == "f":
            self.mirror.clear()
            self.repairs.clear()
            self._lost.clear()
            # What was answered before it is lost, or would have been removed by it (R25).
            self._calls = {number: call for number, call in self._calls.items() if call.n is None or call.now_ms > sent_ms}
            self._conclude("server")
            self.begin_due = True
        elif control.kind == "c":
            self._read_change(control, sent_ms)
        elif self._is_next(control.call, control.n):
            if not self.doubt and (control.n, control.tag) != (self.n, self.tag):
                self._conclude("server" if control.n > self.n else "mirror")
            if control.kind == "w" and not self.doubt and control.call == self._asked:
                self._read_page(control, sent_ms, busy)

    def _is_next(self, number: int, n: int) -> bool:
        """Notes that the entry of an own call was read, and which calls were lost (R26). Returns `False` for a repeat (R43)."""
        if number <= self._seen.get(self.client, -1):
            self._conclude("mirror")
            return False
        self._see(self.client, number)
        for earlier in sorted(call for call in self._calls if call < number):
            call = self._calls.pop(earlier)
            if call.n is not None:
                self._conclude("mirror" if call.n > n else "server")
                self._lost[earlier] = call
        if self.doubt and self._begin_call is not None and number > self._begin_call:
            self.begin_due = True
        return True

    def _see(self, client: str, number: int) -> None:
        self._seen.pop(client, None)  # so that who was read last stands last
        self._seen[client] = number

    def _read_change(self, control: Control, sent_ms: int) -> None:
        n, done = control.n, control.parts
        client, call = read_tag(control.tag)
        number = -1 if call is None else call
        is_own = client == self.client
        own: Call | None = None
        if is_own:
            if not self._is_next(number, n):
                return
            own = self._calls.pop(number, None)
        else:
            if client and number <= self._seen.get(client, -1):
                return self._conclude("mirror")
            if client:
                self._see(client, number)
            if any(call.n == n for call in self._calls.values()):
                self._conclude("mirror")
        if self.doubt and is_own and any(mark == "e" for mark, *_ in done):
            self._begin_anew()
        elif not self.doubt and n != self.n + 1:
            self._conclude("server" if n > self.n else "mirror")
        self.n, self.tag = n, control.tag
        for mark, group, address, end in done:
            groups = list(self.mirror) if mark == "*" else [group] if mark in "+-" else []
            for changed in groups:
                self._note((changed, address), number if is_own else None, n)
                self._remove(changed, address)
            if mark == "+":
                self._set(group, address, end, sent_ms)
            elif mark == "~":
                self._read_repair(group, address, end, sent_ms)
        if own and sum(mark == "~" for mark, *_ in done) < sum(operation.kind in "asx" for operation in own.operations):
            for operation in own.operations:
                self._repairing.pop((operation.group, operation.address), None)
            self._walk_again = True  # a condition refused a repair (R49)

    def _note(self, member: Member, number: int | None, n: int) -> None:
        if self.doubt:
            self._read_in_doubt.setdefault(member, []).append((number, n))
        if member in self._repairing:
            self._repairing[member] = True

    def _read_repair(self, group: str, address: str, end: int, sent_ms: int) -> None:
        if self._repairing.pop((group, address), False):
            mine = self.mirror.get(group, {}).get(address)
            if mine and mine.end != end:
                self._plan(Operation("s", group, address, f"{mine.end} {end}") if end else self._add(group, address, mine))
            elif end and not mine:
                self._plan(Operation("x", group, address, str(end)))
        elif end:
            self._set(group, address, end, sent_ms)
        else:
            self._remove(group, address)

    def _set(self, group: str, address: str, end: int, sent_ms: int) -> None:
        until = time.monotonic() + (end - sent_ms) / 1000
        self.mirror.setdefault(group, {})[address] = Membership(end, until)

    def _remove(self, group: str, address: str) -> None:
        members = self.mirror.get(group)
        if members is not None:
            members.pop(address, None)
            if not members:
                del self.mirror[group]

    # Doubt

    def _conclude(self, right: Right) -> None:
        """Notes who is right, and that `e` is due (R44, R45)."""
        if self.doubt is None:
            self._read_in_doubt.clear()
            self._begin_call, self.begin_due, self._pages_due, self._asked = None, True, 0, None
        if self.doubt != "mirror":
            self.doubt = right

    def _begin_anew(self) -> None:
        """At `e`: own changes that were lost are made true if the mirror is right; then all pages are read (R46)."""
        right, self.doubt, self.begin_due = self.doubt or "server", None, False
        self.repairs.clear()
        self._repairing.clear()
        for lost, call in sorted(self._lost.items()) if right == "mirror" else ():
            for operation in call.operations:
                later = self._read_in_doubt.get((operation.group, operation.address), [])
                if any(own > lost if own is not None else n >= (call.n or 0) for own, n in later):
                    continue
                if operation.kind == "+":
                    self._set(operation.group, operation.address, call.now_ms + int(operation.time), call.now_ms)
                elif operation.kind == "-":
                    self._remove(operation.group, operation.address)
        self._lost.clear()
        self._walks_for, self._place, self._pages_due, self._asked = right, BEGIN, math.inf, None

    # Pages

    def _read_page(self, control: Control, sent_ms: int, busy: set[Member]) -> None:
        start, stop = ((group, int(end) if end else math.inf, address) for group, end, address in (control.begin, control.end))
        start, stop = start if start[0] else BEGIN, stop if stop[0] else END
        page: dict[Member, int] = {}
        lacking: set[str] = set()
        for group, is_whole, members in control.groups:
            if not is_whole:
                lacking.add(group)
            page.update({(group, address): end for address, end in members})
        inside = [(group, address) for group, members in self.mirror.items() for address, mine in members.items()
                  if start < (group, mine.end, address) <= stop]
        if self._walks_for == "server":
            for member in inside:
                self._remove(*member)
            for (group, address), end in page.items():
                self._set(group, address, end, sent_ms)
        else:
            self._compare(page, lacking, inside, sent_ms, busy | self.busy())
        self._pages_due -= 1
        self._place, self._asked = stop, None
        if stop == END:
            self._place = BEGIN
            self._pages_due = 0

    def _compare(self, page: dict[Member, int], lacking: set[str], inside: list[Member], now_ms: int, busy: set[Member]) -> None:
        for member in inside:
            group, address = member
            mine = self.mirror[group][address]
            if mine.end <= now_ms:
                if member not in page:
                    self._remove(group, address)  # it has ended, on the server too
            elif (member not in page or group in lacking) and member not in busy:
                self._plan(self._add(group, address, mine))
        for (group, address), end in page.items():
            member_of = self.mirror.get(group, {}).get(address)
            if (group, address) in busy or end <= now_ms:
                continue
            if member_of is None:
                self._plan(Operation("x", group, address, str(end)))
            elif member_of.end != end and group not in lacking:
                self._plan(Operation("s", group, address, f"{member_of.end} {end}"))

    def _add(self, group: str, address: str, mine: Membership) -> Operation:
        return Operation("a", group, address, f"{mine.end} {self.n}")

    def _plan(self, operation: Operation) -> None:
        self._repairing[(operation.group, operation.address)] = False
        self.repairs.append(operation)
