"""Real servers, which the tests start, and layers on them."""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from channels_asgi_redis import InMemoryChannelLayer, LocalAndRemoteChannelLayer, RedisChannelLayer

PROGRAM = os.environ.get("REDIS_SERVER", "redis-server")
numbers = itertools.count()


class Server:
    """A server of the tests' own on a free port. It ends with the tests."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="channels-asgi-redis-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until and self.process.poll() is None, "the server does not start"
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str) -> str:
        """Sends one command in the plain form, and returns the reply as it is on the wire."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            wire.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words))
            reply = b""
            while not _is_whole(reply):
                reply += wire.recv(65536)
            return reply.decode()

    def keys(self, prefix: str) -> list[str]:
        return [line for line in self.command("KEYS", prefix + "*").split("\r\n") if line.startswith(prefix)]

    def clients(self) -> int:
        """How many connections layers have: those of clients that subscribed, which a layer's are."""
        return self.command("CLIENT", "LIST", "TYPE", "pubsub").count("\n") - 2


def _is_whole(reply: bytes) -> bool:
    lines = reply.split(b"\r\n")
    if len(lines) < 2:
        return False
    match reply[:1]:
        case b"*":
            return len(lines) - 2 >= 2 * int(lines[0][1:])
        case b"$":
            return len(reply) >= len(lines[0]) + 4 + int(lines[0][1:])
        case _:
            return True


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def second_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """For tests that stop it, or count its connections."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def prefix() -> str:
    return f"t{os.getpid()}-{next(numbers)}"


Make = Callable[..., RedisChannelLayer]


@pytest.fixture
async def make(server: Server, prefix: str) -> AsyncIterator[Make]:
    """Makes layers that share a prefix of their own, and closes them."""
    layers = []

    def make(**options: object) -> RedisChannelLayer:
        layers.append(RedisChannelLayer(**{"hosts": [server.url], "prefix": prefix} | options))
        return layers[-1]

    yield make
    for layer in layers:
        await layer.close()


KINDS = ["redis", "two servers", "sealed", "memory", "local and remote", "local and memory"]


@pytest.fixture(params=KINDS)
async def any_layer(request: pytest.FixtureRequest, server: Server, second_server: Server, prefix: str) -> AsyncIterator[object]:
    """A factory of layers of each kind, which takes their options."""
    layers = []

    def make(**options: object) -> object:
        both = {"hosts": [server.url, second_server.url], "prefix": prefix}
        one = {"hosts": [server.url], "prefix": prefix}
        match request.param:
            case "redis":
                layer: object = RedisChannelLayer(**one | options)
            case "two servers":
                layer = RedisChannelLayer(**both | options)
            case "sealed":
                layer = RedisChannelLayer(**one | {"symmetric_encryption_keys": ["k" * 32]} | options)
            case "memory":
                layer = InMemoryChannelLayer(**options)
            case "local and remote":
                layer = LocalAndRemoteChannelLayer(**one | {"local": second_server.url} | options)
            case _:
                layer = LocalAndRemoteChannelLayer(**one | options)
        layers.append(layer)
        return layer

    yield make
    for layer in layers:
        await layer.close()


async def until(condition: Callable[[], object], patience: float = 10.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + patience
    while True:
        if asyncio.iscoroutine(so := condition()):
            so = await so
        if so:
            return
        assert time.monotonic() < end, f"not within {patience} s: {condition}"
        await asyncio.sleep(0.02)


class Program:
    """A program of Python that runs beside the test; it writes lines, and the test reads them."""

    def __init__(self, text: str, *words: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            env=os.environ | environment,
        )

    def line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.process.stderr and self.process.stderr.read()}"
        return line.strip()

    def end(self, patience: float = 20) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=patience)
        return self.process.returncode, out, err

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def program() -> Iterator[Callable[..., Program]]:
    running = []

    def start(text: str, *words: str, **environment: str) -> Program:
        running.append(Program(text, *words, **environment))
        return running[-1]

    yield start
    for program in running:
        program.kill()
