"""Each message of a group reaches exactly its members of that moment, in several processes, and again after a loss of data."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import unittest
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from channel_layer import ChannelLayer
from tests.server import Server

SEED = int(os.environ.get("SEED", "7"))
FOLDER = Path(__file__).resolve().parents[1]


class Member:
    """A client in a process of its own, and what it has received."""

    async def start(self, servers: list[Server]) -> None:
        self.got: Counter[tuple[str, Any]] = Counter()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.member", *(server.url for server in servers), cwd=FOLDER, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self.inbox: str = json.loads(await self._lines.readline())
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while line := await self._lines.readline():
            channel, message = json.loads(line)
            self.got[channel, message] += 1

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


async def until(condition: Any, seconds: float = 15) -> bool:
    """Waits until the condition holds, and returns whether it does."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return bool(condition())


class Groups(unittest.IsolatedAsyncioTestCase):
    async def start(self, servers: int, members: int) -> tuple[list[Server], list[Member], ChannelLayer]:
        stack = AsyncExitStack()
        self.addAsyncCleanup(stack.aclose)
        running = [Server() for _ in range(servers)]
        for server in running:
            stack.callback(server.close)
        started = [Member() for _ in range(members)]
        for member in started:
            await member.start(running)
            stack.push_async_callback(member.close)
        layer = await stack.enter_async_context(ChannelLayer([server.url for server in running], lease=3, keys=["a key"]))
        return running, started, layer

    async def reaches(self, layer: ChannelLayer, members: list[Member], group: str, number: int, due: set[str]) -> None:
        """Sends a message, and a direct one behind it to each inbox, and asserts that exactly those who are due get it."""
        await layer.group_send(group, number)
        for member in members:
            await layer.send(f"{member.inbox}end", number)
        arrived = await until(lambda: all((f"{member.inbox}end", number) in member.got for member in members))
        self.assertTrue(arrived, "the direct messages arrived")
        got = [channel for member in members for (channel, message), count in member.got.items() for _ in range(count)
               if message == number and not channel.endswith("!end")]
        self.assertEqual(sorted(got), sorted(due))

    async def patient(self, call: Any, *arguments: Any) -> None:
        """Makes a call that may be repeated, until the server is back."""
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                await call(*arguments)
                return
            await asyncio.sleep(0.05)
        self.fail("the server did not come back")

    async def heals(self, layer: ChannelLayer, group: str, due: set[str]) -> None:
        found: list[str] = []
        for _ in range(400):
            with contextlib.suppress(ConnectionError):
                found = await layer.group_channels(group)
            if set(found) == due:
                return
            await asyncio.sleep(0.02)
        self.fail(f"{found} are in {group}")

    async def test_each_message_reaches_exactly_its_members(self) -> None:
        for servers in (1, 2):
            _, members, layer = await self.start(servers, 2)
            chance = random.Random(SEED)
            channels = [f"{member.inbox}m{number}" for member in members for number in range(5)]
            within: dict[str, set[str]] = {"hall": set(), "room": set()}
            expected: Counter[tuple[str, Any]] = Counter()
            for number in range(150):
                group = chance.choice(sorted(within))
                for channel in chance.sample(channels, 3):
                    if channel in within[group]:
                        await layer.group_discard(group, channel)
                        within[group].discard(channel)
                    else:
                        await layer.group_add(group, channel)
                        within[group].add(channel)
                await layer.group_send(group, number)
                expected.update((channel, number) for channel in within[group])
            for group, due in within.items():
                self.assertEqual(set(await layer.group_channels(group)), due)
            await until(lambda: sum(member.got.total() for member in members) >= expected.total())
            await asyncio.sleep(0.1)
            with self.subTest(servers=servers):
                self.assertEqual(sum((member.got for member in members), Counter()), expected)

    async def test_members_are_in_their_groups_again_after_the_server_lost_everything(self) -> None:
        (server,), members, layer = await self.start(1, 2)
        due = {f"{member.inbox}{name}" for member in members for name in ("a", "b")}
        for channel in due:
            await layer.group_add("room", channel)
        await self.reaches(layer, members, "room", 1, due)
        server.command("FLUSHALL")
        await self.heals(layer, "room", due)
        await self.reaches(layer, members, "room", 2, due)

    async def test_a_large_group_is_given_again_in_pages_and_gathered_calls(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        due = {f"{member.inbox}m{number}" for number in range(1_300)}
        server.command("CONFIG", "RESETSTAT")
        await asyncio.gather(*(layer.group_add("room", channel) for channel in due))
        calls = server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"]
        self.assertLess(calls, 100, "joins that meet share a call")
        self.assertEqual(set(await layer.group_channels("room")), due)
        await self.reaches(layer, [member], "room", 1, due)
        server.command("FLUSHALL")
        await self.heals(layer, "room", due)
        await self.reaches(layer, [member], "room", 2, due)

    async def test_who_joined_or_left_after_a_snapshot_stays_so_when_the_snapshot_comes_back(self) -> None:
        (server,), members, layer = await self.start(1, 2)
        one, two = members
        await layer.group_add("room", f"{one.inbox}left")
        await layer.group_add("room", f"{two.inbox}stays")
        server.command("SAVE")
        await layer.group_discard("room", f"{one.inbox}left")
        await layer.group_add("room", f"{one.inbox}joined")
        due = {f"{one.inbox}joined", f"{two.inbox}stays"}
        await self.reaches(layer, members, "room", 1, due)
        server.kill()
        server.start()
        await self.heals(layer, "room", due)
        await self.reaches(layer, members, "room", 2, due)

    async def test_an_owner_that_reads_a_change_of_the_old_state_first_keeps_what_it_knew(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        await layer.group_add("room", f"{member.inbox}stays")
        server.command("SAVE")
        for number in range(3):
            await layer.group_add("room", f"{member.inbox}joined{number}")
        due = {f"{member.inbox}{name}" for name in ("stays", "joined0", "joined1", "joined2")}
        await self.reaches(layer, [member], "room", 1, due)
        member.signal(signal.SIGSTOP)
        server.kill()
        server.start()
        await self.patient(layer.group_add, "hall", f"{member.inbox}stays")
        member.signal(signal.SIGCONT)
        await self.heals(layer, "room", due)
        await self.reaches(layer, [member], "room", 2, due)
        await self.reaches(layer, [member], "hall", 3, {f"{member.inbox}stays"})

    async def test_an_entry_that_an_old_state_repeats_brings_nobody_back(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        await layer.group_add("room", f"{member.inbox}stays")
        member.signal(signal.SIGSTOP)
        await layer.group_add("room", f"{member.inbox}left")
        server.command("SAVE")  # the entry of this join waits in the inbox
        member.signal(signal.SIGCONT)
        await self.reaches(layer, [member], "room", 1, {f"{member.inbox}stays", f"{member.inbox}left"})
        await layer.group_discard("room", f"{member.inbox}left")
        await self.reaches(layer, [member], "room", 2, {f"{member.inbox}stays"})
        server.kill()
        server.start()
        await self.heals(layer, "room", {f"{member.inbox}stays"})
        await self.reaches(layer, [member], "room", 3, {f"{member.inbox}stays"})

    async def test_a_membership_that_has_ended_gets_no_message_though_its_neighbour_does(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        async with ChannelLayer([server.url], group_expiry=0.3) as short:
            await layer.group_add("room", f"{member.inbox}long")
            await short.group_add("room", f"{member.inbox}short")
            await self.reaches(layer, [member], "room", 1, {f"{member.inbox}long", f"{member.inbox}short"})
            await asyncio.sleep(0.4)
            await self.reaches(layer, [member], "room", 2, {f"{member.inbox}long"})

    async def test_an_owner_that_missed_changes_takes_the_servers_word(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        await layer.group_add("room", f"{member.inbox}left")
        await layer.group_add("room", f"{member.inbox}stays")
        await self.reaches(layer, [member], "room", 1, {f"{member.inbox}left", f"{member.inbox}stays"})
        member.signal(signal.SIGSTOP)
        await layer.group_discard("room", f"{member.inbox}left")
        await layer.group_add("room", f"{member.inbox}joined")
        server.command("DEL", f"asgi:q:{member.inbox}")
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        member.signal(signal.SIGCONT)
        due = {f"{member.inbox}joined", f"{member.inbox}stays"}
        await self.heals(layer, "room", due)
        for number in range(2, 50):
            with contextlib.suppress(AssertionError):
                await self.reaches(layer, [member], "room", number, due)
                break
            await asyncio.sleep(0.1)
        await self.reaches(layer, [member], "room", 100, due)

    async def test_keys_that_were_removed_one_by_one_are_found_by_the_endless_walk(self) -> None:
        (server,), (member,), layer = await self.start(1, 1)
        due = {f"{member.inbox}{name}" for name in "abc"}
        for channel in due:
            await layer.group_add("room", channel)
        for key in (f"asgi:m:room {member.inbox}", "asgi:d:room", "asgi:g:room", f"asgi:s:{member.inbox}"):
            self.assertEqual(server.command("DEL", key), 1, key)
            await self.heals(layer, "room", due)
            for attempt in range(100):
                with contextlib.suppress(AssertionError):
                    await self.reaches(layer, [member], "room", hash((key, attempt)), due)
                    break
                await asyncio.sleep(0.1)
            self.assertTrue(await until(lambda: server.command("EXISTS", key)), key)

    async def test_a_flush_takes_all_members_out_and_they_stay_out(self) -> None:
        _, members, layer = await self.start(2, 2)
        for member in members:
            await layer.group_add("room", f"{member.inbox}a")
        await layer.flush()
        await self.reaches(layer, members, "room", 1, set())
        await asyncio.sleep(1)
        self.assertEqual(await layer.group_channels("room"), [])
        await layer.group_add("room", f"{members[0].inbox}a")
        await self.reaches(layer, members, "room", 2, {f"{members[0].inbox}a"})

    async def test_a_killed_process_gets_nothing_more_and_hinders_nobody(self) -> None:
        _, (dead, alive), layer = await self.start(1, 2)
        await layer.group_add("room", f"{dead.inbox}a")
        await layer.group_add("room", f"{alive.inbox}a")
        await dead.close()
        await self.reaches(layer, [alive], "room", 1, {f"{alive.inbox}a"})
