"""One RESP3 connection of redis-py, used as a wire: calls are pipelined, published messages come between the replies.

Everything that redis-py does by itself is off: it retries nothing, and a wire that broke is never opened again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Callable

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError


class NotSent(ConnectionError):
    """There is no connection, or it broke first: the call was certainly not executed."""


class PerhapsSent(ConnectionError):
    """The connection broke before the reply came: the call was perhaps executed, so it is not repeated (R12)."""


class Wire:
    """A connection to one server, subscribed to one wake channel, or to none: then large replies may come over it (R58)."""

    def __init__(self, url: str, wake: bytes | None, timeout: float, on_message: Callable[[bytes], None],
                 on_lost: Callable[[], None]) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        kind: type[Any] = options.pop("connection_class", Connection)
        # Newer versions have defaults that are in the way, such as a timeout of reads, so each is named.
        options |= {"protocol": 3, "retry": Retry(NoBackoff(), 0), "retry_on_timeout": False, "health_check_interval": 0,
                    "socket_timeout": None, "socket_connect_timeout": timeout}
        self._connection = kind(**options)
        self._wake, self._timeout, self._on_message, self._on_lost = wake, timeout, on_message, on_lost
        self._outbox: deque[tuple[asyncio.Future[Any], tuple[Any, ...]]] = deque()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._more = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_lost = False

    async def open(self) -> None:
        """Connects, asks for the role, and subscribes. Raises `NotSent` at a replica (R30)."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.connect()
                self._tasks = [asyncio.create_task(self._guard(self._read())), asyncio.create_task(self._guard(self._write()))]
                greeting = await self.call("HELLO", 3)
                if greeting[b"role"] != b"master":
                    raise NotSent("the server is a replica")
                if self._wake is not None:
                    self._post(asyncio.get_running_loop().create_future(), ("SUBSCRIBE", self._wake))
                    await self._subscribed.wait()
        except (TimeoutError, OSError, RedisError) as error:
            raise NotSent(f"cannot connect: {error}") from error

    async def call(self, *command: Any) -> Any:
        """Returns the reply. Raises `ResponseError`, `NotSent` or `PerhapsSent`. A reply that is late ends the wire."""
        if self.is_lost:
            raise NotSent("the connection is lost")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._post(future, command)
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            self.drop()
            raise PerhapsSent(f"no reply within {self._timeout} s") from None

    def drop(self) -> None:
        """Ends the connection at once, and every call that waits."""
        if self.is_lost:
            return
        self.is_lost = True
        self._on_lost()
        for future, _ in self._outbox:
            if not future.done():
                future.set_exception(NotSent("the connection was lost"))
        for future in self._waiting:
            if not future.done():
                future.set_exception(PerhapsSent("the connection was lost before the reply"))
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Drops the wire and waits until the socket is closed."""
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._connection.disconnect(nowait=True)
        except (OSError, RedisError):
            pass

    def _post(self, future: asyncio.Future[Any], command: tuple[Any, ...]) -> None:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._outbox.append((future, command))
        self._more.set()

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except (OSError, RedisError):
            pass
        finally:
            self.drop()

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            # A call that was cancelled before it was written is not made.
            batch = [(future, command) for future, command in self._outbox if not future.done()]
            self._outbox.clear()
            if not self._connection.is_connected:
                raise NotSent("redis-py would open a connection of its own")
            # SUBSCRIBE has no reply; its confirmation is a pushed message.
            self._waiting.extend(future for future, command in batch if command[0] != "SUBSCRIBE")
            packed = self._connection.pack_commands([command for _, command in batch])
            await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        while True:
            try:
                reply = await self._connection.read_response(disable_decoding=True, push_request=True)
            except ResponseError as error:
                reply = error
            # No reply of a script has the wake channel in this place, so this is a pushed message.
            if self._wake is not None and isinstance(reply, list) and len(reply) == 3 and reply[1] == self._wake:
                self._subscribed.set()
                if reply[0] == b"message":
                    self._on_message(reply[2])
                continue
            future = self._waiting.popleft()
            if not future.done():
                if isinstance(reply, ResponseError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
