"""The chat of examples/django_chat on daphne and uvicorn: real servers, real websockets, several processes."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from channels_asgi_redis import RedisChannelLayer
from websockets.asyncio.client import connect

from conftest import Server, until

CHAT = Path(__file__).parents[2] / "examples" / "django_chat"
DAPHNE = ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}", "chat.asgi:application"]
UVICORN = ["-m", "uvicorn", "--log-level", "error", "--host", "127.0.0.1", "--port", "{port}", "chat.asgi:application"]
TWO_WORKERS = [*UVICORN, "--workers", "2"]
ASYNCIO = [*UVICORN, "--loop", "asyncio"]

Serve = Callable[[list[str]], tuple[int, subprocess.Popen]]


@pytest.fixture
def serve(server: Server) -> Iterator[Serve]:
    """Starts a server of the chat. Returns its port and its process, the leader of a group of its own."""
    running = []

    def start(program: list[str]) -> tuple[int, subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [sys.executable, *(word.format(port=port) for word in program)]
        environment = os.environ | {"REDIS_URL": server.url, "PYTHONPATH": str(CHAT), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(words, cwd=CHAT, env=environment, start_new_session=True)
        running.append(process)
        return port, process

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def heard(websocket) -> str:
    return json.loads(await asyncio.wait_for(websocket.recv(), 10))["text"]


def chat_layer(server: Server) -> RedisChannelLayer:
    return RedisChannelLayer(hosts=[server.url], prefix="django-chat")


@pytest.mark.parametrize(
    "programs",
    [[DAPHNE, DAPHNE], [UVICORN, ASYNCIO], [TWO_WORKERS], [DAPHNE, TWO_WORKERS]],
    ids=["daphne twice", "uvicorn twice", "uvicorn with two workers", "daphne and workers"],
)
async def test_all_who_are_in_a_room_hear_everything_once(serve: Serve, server: Server, programs: list[list[str]], request) -> None:
    room = f"room{abs(hash(request.node.name)) % 10**8}"
    ports = [serve(program)[0] for program in programs]
    for port in ports:
        await until(lambda port=port: accepts(port), 30)
    paths = [f"ws://127.0.0.1:{port}/ws/{kind}{room}/" for port in ports for kind in ("", "sync/", "", "sync/")]
    websockets = [await connect(path) for path in paths]
    try:
        for number, websocket in enumerate(websockets):
            await websocket.send(json.dumps({"text": f"from {number}"}))
        expected = sorted(f"from {number}" for number in range(len(websockets)))
        for websocket in websockets:
            assert sorted([await heard(websocket) for _ in websockets]) == expected

        def tell() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/{room}/tell/", data=b"from a view", timeout=10) as answer:
                return answer.read().decode()

        assert " 0 were full" in await asyncio.to_thread(tell)
        for websocket in websockets:
            assert await heard(websocket) == "from a view"
    finally:
        for websocket in websockets:
            await websocket.close()
    layer = chat_layer(server)

    async def is_empty() -> bool:
        return await layer.group_len(f"chat.{room}") == 0

    await until(is_empty)
    await layer.close()


@pytest.mark.parametrize("program", [UVICORN, DAPHNE], ids=["uvicorn", "daphne"])
async def test_a_server_that_is_told_to_stop_leaves_no_member(serve: Serve, server: Server, program: list[str], request) -> None:
    room = f"stop{abs(hash(request.node.name)) % 10**8}"
    port, process = serve(program)
    await until(lambda: accepts(port), 30)
    layer = chat_layer(server)
    async with connect(f"ws://127.0.0.1:{port}/ws/{room}/"):
        assert await layer.group_len(f"chat.{room}") == 1
        process.terminate()
        await asyncio.to_thread(process.wait, 20)

    async def is_empty() -> bool:
        return await layer.group_len(f"chat.{room}") == 0

    await until(is_empty, 2)
    await layer.close()
