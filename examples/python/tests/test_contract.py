"""What the contract says beside its vectors: sizes, scripts, entries of others, and rights."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import redis.asyncio

from channel_layer import ChannelLayer
from channel_layer.scripts import NAMES, read_scripts
from channel_layer.sealing import MessageTooLarge, pack
from tests.server import Server

ROOT = Path(__file__).resolve().parents[3]


class Sizes(unittest.TestCase):
    def test_messages_that_are_too_large_or_too_deep_are_refused(self) -> None:
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        for message in (deep, {"body": b"x" * 2_400_000}):
            with self.assertRaises(MessageTooLarge):
                pack(message)

    def test_a_script_that_is_not_that_of_the_manifest_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(ROOT / "dist", Path(folder) / "dist"))
            self.assertEqual(set(read_scripts(copy)), set(NAMES))
            (copy / "pop.lua").write_bytes((copy / "pop.lua").read_bytes().replace(b"\n", b"\r\n"))
            with self.assertRaises(ValueError):
                read_scripts(copy)


class Readme(unittest.TestCase):
    def test_the_example_of_the_readme_runs(self) -> None:
        text = (ROOT / "examples/python/README.md").read_text()
        code = text.split("```python\n")[1].split("```")[0]
        server = Server()
        self.addCleanup(server.close)
        code = code.replace("redis://localhost:6379/0", server.url)
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "examples/python", capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("{'text': 'hi'}", done.stdout)
        self.assertIn("ab12', {'text': 'to all'})", done.stdout)


class Wild(unittest.IsolatedAsyncioTestCase):
    """What stands in queues and is no message of this layer."""

    async def asyncSetUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)

    async def test_what_is_no_entry_is_dropped_and_the_next_message_arrives(self) -> None:
        async with ChannelLayer([self.server.url]) as layer, redis.asyncio.Redis(port=self.server.port) as other:
            inbox = await layer.new_inbox("chat")
            whole = struct.pack(">QHQ", 1, 1, 4_000_000_000_000)
            for queue in ("jobs", inbox):
                await other.rpush(f"asgi:q:{queue}", b"short", whole + b"z what kind", whole + b"m no-msgpack \xc1", whole + b"m")
            await layer.send("jobs", 1)
            await layer.send(f"{inbox}a", 2)
            self.assertEqual(await layer.receive(["jobs"]), ("jobs", 1))
            self.assertEqual(await layer.receive([inbox]), (f"{inbox}a", 2))
            self.assertEqual(layer.refused, 8)

    async def test_a_sealed_message_is_dropped_by_who_has_no_key_and_by_who_has_another(self) -> None:
        async with ChannelLayer([self.server.url], keys=["one"]) as one, ChannelLayer([self.server.url]) as clear:
            async with ChannelLayer([self.server.url], keys=["two", "one"]) as both:
                await one.send("jobs", "secret")
                self.assertEqual(await clear.receive(["jobs"]), (None, None))
                self.assertEqual(clear.refused, 1)
                await one.send("jobs", "secret")
                self.assertEqual(await both.receive(["jobs"]), ("jobs", "secret"))
                await both.send("jobs", "secret")
                self.assertEqual(await one.receive(["jobs"]), (None, None))
                await clear.send("jobs", "clear")
                self.assertEqual(await one.receive(["jobs"]), (None, None))
                self.assertEqual((one.refused, both.refused), (2, 0))

    async def test_the_rights_that_the_contract_lists_are_enough(self) -> None:
        block = (ROOT / "lua/README.md").read_text().split("```text\nACL ")[1].split("```")[0]
        self.server.command("ACL", *block.split())
        url = self.server.url.replace("//", "//asgi:secret@")
        async with ChannelLayer([url]) as layer:
            inbox = await layer.new_inbox("chat")
            waiting = asyncio.create_task(layer.receive(["jobs"], block=True))
            await layer.send("jobs", 1)
            self.assertEqual(await waiting, ("jobs", 1))
            await layer.group_add("room", f"{inbox}ab")
            await layer.group_send("room", 2)
            self.assertEqual(await layer.receive([inbox]), (f"{inbox}ab", 2))
            await layer.flush()
            self.assertEqual(await layer.group_channels("room"), [])

    async def test_data_of_another_schema_are_not_touched(self) -> None:
        self.server.command("SET", "asgi:schema", "2")
        async with ChannelLayer([self.server.url]) as layer:
            with self.assertRaisesRegex(ConnectionError, "schema"):
                await layer.send("jobs", 1)
            self.assertEqual(self.server.command("KEYS", "*"), [b"asgi:schema"])

    async def test_closing_leaves_no_record_of_a_ticket_and_no_inbox(self) -> None:
        async with ChannelLayer([self.server.url]) as layer:
            inbox = await layer.new_inbox("chat")
            await layer.group_add("room", f"{inbox}a")
            waits = asyncio.create_task(layer.receive(["jobs"], block=True))
            await asyncio.sleep(0.1)
        with self.assertRaises(RuntimeError):
            await waits
        client, = self.server.command("KEYS", "asgi:c:*")
        self.assertEqual(set(self.server.command("HKEYS", client)), {b"g", b"lease"})
        left = [key for key in self.server.command("KEYS", "*") if key[5:6] not in (b"c", b"s")]
        self.assertEqual(left, [])
