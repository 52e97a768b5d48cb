"""asgiref's own suite for channel layers of ASGI 1.0, on one server, on two, and on one with sealed messages and hidden names."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from asgiref.conformance import ConformanceTestCase  # type: ignore[import-untyped]

from channel_layer import ChannelLayer
from tests.server import Server


class Blocking:
    """The layer as the suite calls it, from a thread without a loop. The layer's loop runs in a thread of its own."""

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(layer.__aenter__())
        # Whoever sends to a group reaches only inboxes that have an owner, so this process owns the suite's inbox.
        self.receive(["tgp!"])

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._layer, name)
        if not asyncio.iscoroutinefunction(value):
            return value
        return lambda *arguments, **options: self._run(value(*arguments, **options))

    def close(self) -> None:
        self._run(self._layer.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Conformance(ConformanceTestCase):  # type: ignore[misc]
    servers = 0
    options: dict[str, Any] = {}
    expiry_delay = 1.1
    capacity_limit = 5

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.running = [Server() for _ in range(cls.servers)]
        urls = [server.url for server in cls.running]
        cls.channel_layer = Blocking(ChannelLayer(urls, expiry=1, group_expiry=1, capacity=5, inbox_capacity=5, **cls.options))

    @classmethod
    def tearDownClass(cls) -> None:
        cls.channel_layer.close()
        for server in cls.running:
            server.close()


class OneServer(Conformance):
    servers = 1


class TwoServers(Conformance):
    servers = 2


class Sealed(Conformance):
    servers = 1
    options = {"keys": ["a key of thirty-two bytes or more"], "name_key": "a key of names, thirty-two bytes or more"}


del Conformance, ConformanceTestCase  # abstract: unittest would run them
