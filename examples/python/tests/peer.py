"""The client as a peer of `asgi-redis conformance`: lines of JSON in, lines of JSON out (docs/contract/driver.md)."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import os
import sys
from typing import Any

from channel_layer import ChannelFull, ChannelLayer, MessageTooLarge, NotSent, PerhapsSent

TIERS = ["sender", "taker", "waiter", "servers", "inbox", "sealing", "hiding"]


def _read(value: Any) -> Any:
    """JSON to a message."""
    if isinstance(value, list):
        return [_read(part) for part in value]
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: _read(part) for key, part in value.items()}
    return value


def _written(value: Any) -> Any:
    """A message to JSON."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [_written(part) for part in value]
    if isinstance(value, dict):
        return {key: _written(part) for key, part in value.items()}
    return value


class Peer:
    def __init__(self) -> None:
        self._layer: ChannelLayer | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        print(json.dumps({"tiers": TIERS}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            number = request.pop("id")
            task = asyncio.create_task(self._answer(number, request))
            self._tasks[number] = task
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks = {number: other for number, other in self._tasks.items() if other is not task}

    async def _answer(self, number: int, request: dict[str, Any]) -> None:
        what = request.pop("do")
        try:
            answer: dict[str, Any] = {"ok": await getattr(self, f"do_{what}")(**request)}
        except asyncio.CancelledError:
            answer = {"error": "cancelled"}
        except Exception as error:  # whatever it is, it is told
            kinds = [(ChannelFull, "full"), (PerhapsSent, "perhaps_sent"), (NotSent, "not_sent"), (MessageTooLarge, "too_large"),
                     (TypeError, "invalid"), (RuntimeError, "closed")]
            kind = next((kind for sort, kind in kinds if isinstance(error, sort)), "other")
            answer = {"error": kind, "text": str(error)}
        print(json.dumps({"id": number, **answer}), flush=True)

    @property
    def layer(self) -> ChannelLayer:
        if self._layer is None:
            raise RuntimeError("nothing is open")
        return self._layer

    async def do_open(self, hosts: list[str], prefix: str, lease_ms: int, timeout_ms: int, expiry_ms: int, capacity: int,
                      inbox_capacity: int, keys: list[str], name_key: str | None) -> None:
        layer = ChannelLayer(hosts, prefix, expiry_ms / 1000, capacity=capacity, inbox_capacity=inbox_capacity, keys=keys,
                             name_key=name_key, lease=lease_ms / 1000, timeout=timeout_ms / 1000)
        self._layer = await layer.__aenter__()

    async def do_send(self, channel: str, message: Any) -> None:
        await self.layer.send(channel, _read(message))

    async def do_receive(self, channels: list[str], block: bool) -> Any:
        channel, message = await self.layer.receive(channels, block=block)
        return None if channel is None else [channel, _written(message)]

    async def do_cancel(self, cancel: int) -> bool:
        task = self._tasks.get(cancel)
        return task is not None and task.cancel()

    async def do_new_inbox(self, stem: str) -> str:
        return await self.layer.new_inbox(stem)

    async def do_group_add(self, group: str, channel: str) -> None:
        await self.layer.group_add(group, channel)

    async def do_group_discard(self, group: str, channel: str) -> None:
        await self.layer.group_discard(group, channel)

    async def do_group_send(self, group: str, message: Any) -> None:
        await self.layer.group_send(group, _read(message))

    async def do_close(self) -> None:
        await self.layer.close()


if __name__ == "__main__":
    if "BREAK" in os.environ:
        getattr(importlib.import_module("tests.broken"), os.environ["BREAK"])()
    asyncio.run(Peer().run())
