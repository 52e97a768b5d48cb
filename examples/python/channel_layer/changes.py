"""Changes of memberships of one queue: those that meet share a call, and one call is under way at a time (R36, R53)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Iterable

from redis.exceptions import ResponseError

from .link import Link
from .log import Log, Operation
from .wire import NotSent

_OPERATIONS_OF_A_CALL = 128


class Line:
    """What waits to change the memberships of one queue. The owner of an inbox gives its log, which learns of each call."""

    def __init__(self, link: Link, queue: str, capacity: int, log: Log | None = None) -> None:
        self.link, self.queue, self.log = link, queue, log
        self.turn = asyncio.Lock()  # held by each call that has a number
        self.free = asyncio.Event()  # not set while the owner is in doubt (R45)
        self.free.set()
        self._capacity = capacity
        self._waiting: deque[tuple[Operation, asyncio.Future[None]]] = deque()
        self._repairs: deque[Operation] = deque()
        self._task: asyncio.Task[None] | None = None

    async def change(self, operation: Operation) -> None:
        """Makes a change. Once it waits here, a caller that is cancelled does not take it back."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append((operation, future))
        self._start()
        await future

    def repair(self, operations: Iterable[Operation]) -> None:
        self._repairs.extend(operations)
        self._start()

    def forget_repairs(self) -> None:
        self._repairs.clear()

    def close(self) -> None:
        """Ends what waits here; a call that is under way is made."""
        self._repairs.clear()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(NotSent("the layer was closed"))
        self._waiting.clear()
        self.free.set()

    @property
    def waiting(self) -> set[tuple[str, str]]:
        """Members of whom a change or a repair waits."""
        members = {(operation.group, operation.address) for operation, _ in self._waiting}
        return members | {(operation.group, operation.address) for operation in self._repairs}

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._call_all())

    async def _call_all(self) -> None:
        while self._waiting or self._repairs:
            await self.free.wait()
            async with self.turn:
                if not self.free.is_set():
                    continue
                asked = [self._waiting.popleft() for _ in range(min(len(self._waiting), _OPERATIONS_OF_A_CALL))]
                room = min(len(self._repairs), _OPERATIONS_OF_A_CALL - len(asked))
                repairs = [self._repairs.popleft() for _ in range(room)]
                if not asked and not repairs:
                    continue  # the repairs were forgotten while they waited for this turn
                try:
                    failures = await self.call([operation for operation, _ in asked] + repairs)
                except Exception as error:  # whatever it is, it is the callers'
                    for _, future in asked:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for place, (_, future) in enumerate(asked, 1):
                    if not future.done():
                        if place in failures:
                            future.set_exception(ResponseError(failures[place]))
                        else:
                            future.set_result(None)

    async def call(self, operations: list[Operation]) -> dict[int, str]:
        """Calls the script, in the caller's turn. Returns the failures by their places."""
        number = self.link.next_call()
        # These take no memory, so a full server executes them.
        script = "group_discard" if all(operation.kind in "-xe" for operation in operations) else "group_change"
        keys = [self.link.key(kind, self.queue) for kind in "iqs"]
        if self.log:
            self.log.calls(number, operations)

        def arguments() -> list[Any]:
            head = [self.link.prefix, self.queue, self.link.client, self.link.generation, number, self._capacity]
            return head + [part for operation in operations for part in operation]

        try:
            _, now, n, _, *failed = await self.link.call(script, keys, arguments)
        except (OSError, ResponseError):
            if self.log:
                self.log.failed(number)
            raise
        failures = {int(place): error.decode(errors="replace") for place, error in zip(failed[::2], failed[1::2])}
        if self.log:
            self.log.answered(number, int(n), int(now) // 1000, failures)
        return failures
