"""The client and the Rust crate on the same servers, each sending to the other. Skipped without a built `asgi-redis`."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import unittest
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from channel_layer import ChannelLayer
from channel_layer.layer import SCRIPTS
from channel_layer.scripts import read_scripts
from tests.server import Server

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("ASGI_REDIS", ROOT / "target/debug/asgi-redis"))
KEY = "a key of thirty-two bytes or more"
NAME_KEY = "a key of names, thirty-two bytes or more"


@unittest.skipUnless(PROGRAM.exists(), "the crate's program is not built")
class Crate(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.stack = AsyncExitStack()
        self.addAsyncCleanup(self.stack.aclose)
        self.servers = [Server(), Server()]
        for server in self.servers:
            self.stack.callback(server.close)
        self.urls = [server.url for server in self.servers]
        self.config: list[str] = []

    async def layer(self, **options: Any) -> ChannelLayer:
        return await self.stack.enter_async_context(ChannelLayer(self.urls, **options))

    def configure(self, **options: Any) -> None:
        """Gives the program options that the command line does not have."""
        file = self.stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".json"))
        json.dump({"hosts": self.urls, **options}, file)
        file.flush()
        self.config = ["--config", file.name]

    async def program(self, *arguments: str) -> str:
        """Runs the program to its end and returns what it printed. Fails if its exit status is not 0."""
        servers = self.config or [word for url in self.urls for word in ("--redis", url)]
        process = await asyncio.create_subprocess_exec(PROGRAM, *arguments, *servers, stdout=asyncio.subprocess.PIPE,
                                                       stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        self.assertEqual(process.returncode, 0, err.decode())
        return out.decode()

    async def test_the_scripts_are_those_of_the_program(self) -> None:
        for name, script in read_scripts(SCRIPTS).items():
            self.assertEqual(await self.program("scripts", "show", name), script.text.decode(), name)

    async def messages_of_every_kind(self, layer: ChannelLayer) -> None:
        inbox = await layer.new_inbox("chat")
        for channel in ("jobs", "body?Xy12", f"{inbox}ab"):
            waiting = asyncio.create_task(layer.receive([inbox if "!" in channel else channel], block=True))
            await self.program("send", channel, '{"text": "hi", "n": [1, null]}')
            self.assertEqual(await asyncio.wait_for(waiting, 5), (channel, {"text": "hi", "n": [1, None]}))
        for channel in ("jobs", "body?Xy12"):
            taken = asyncio.create_task(self.program("receive", "--timeout", "10", channel))
            await layer.send(channel, {"body": b"\x00\xff"})
            self.assertEqual(json.loads(await taken), {"channel": channel, "message": {"body": {"$bytes": "AP8="}}})

    async def groups(self, layer: ChannelLayer) -> None:
        inbox = await layer.new_inbox("chat")
        await self.program("group", "add", "room", f"{inbox}theirs", "news")
        await layer.group_add("room", f"{inbox}ours")
        members = {f"{inbox}ours", f"{inbox}theirs", "news"}
        self.assertEqual(set((await self.program("group", "list", "room")).split()), members)
        self.assertEqual(set(await layer.group_channels("room")), members)
        await self.program("group", "send", "room", '{"by": "them"}')
        got = [await asyncio.wait_for(layer.receive([inbox, "news"], block=True), 5) for _ in range(3)]
        self.assertEqual({channel for channel, _ in got}, members)
        self.assertTrue(all(message == {"by": "them"} for _, message in got))
        await self.program("group", "discard", "room", f"{inbox}ours")
        await layer.group_discard("room", f"{inbox}theirs")
        await layer.group_send("room", 2)
        self.assertEqual(json.loads(await self.program("receive", "news"))["message"], 2)
        self.assertEqual(await layer.receive([inbox]), (None, None))

    async def test_each_receives_what_the_other_sends(self) -> None:
        await self.messages_of_every_kind(await self.layer())

    async def test_each_is_told_who_the_other_lets_join_and_leave(self) -> None:
        await self.groups(await self.layer())

    async def test_sealed_messages_and_hidden_names_are_the_same(self) -> None:
        self.configure(symmetric_encryption_keys=[KEY], hide_names=NAME_KEY)
        layer = await self.layer(keys=[KEY], name_key=NAME_KEY)
        await self.messages_of_every_kind(layer)
        await self.groups(layer)
        self.assertEqual([key for server in self.servers for key in server.command("KEYS", "*room*")], [])
        self.assertEqual(layer.refused, 0)

    async def test_a_flush_of_the_program_takes_members_out(self) -> None:
        layer = await self.layer()
        inbox = await layer.new_inbox("chat")
        await layer.group_add("room", f"{inbox}ab")
        await self.program("flush", "--yes")
        await layer.group_send("room", 1)
        await layer.send(f"{inbox}ab", 2)
        self.assertEqual(await asyncio.wait_for(layer.receive([inbox], block=True), 5), (f"{inbox}ab", 2))
