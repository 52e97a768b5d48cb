"""What becomes of messages while a server forgets its scripts, loses its data, or is killed and comes back."""

from __future__ import annotations

import asyncio
import unittest
from collections import Counter
from typing import Any, Awaitable, Callable

from channel_layer import ChannelFull, ChannelLayer, NotSent, PerhapsSent
from tests.server import Server

MESSAGES = 300


class Restarts(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.server = Server(keeps=True)
        self.addCleanup(self.server.close)

    async def traffic(self, channel: str, in_the_middle: list[str]) -> None:
        """Sends and receives; does something to the server three times; asserts that nothing is lost and nothing comes twice."""
        sure: list[int] = []
        perhaps: list[int] = []
        got: list[int] = []
        meddling: list[asyncio.Task[None]] = []

        async def receive(layer: ChannelLayer) -> None:
            while True:
                got.append((await layer.receive([channel], block=True))[1])

        async with ChannelLayer([self.server.url]) as sender, ChannelLayer([self.server.url]) as receiver:
            if channel == "inbox":
                channel = await receiver.new_inbox("chat")
            target = channel + "ab" if channel.endswith("!") else channel
            reading = asyncio.create_task(receive(receiver))
            for number in range(MESSAGES):
                if number % 100 == 50:
                    meddling.append(asyncio.create_task(asyncio.to_thread(self.meddle, in_the_middle)))
                while True:
                    try:
                        await asyncio.wait_for(sender.send(target, number), 20)
                        sure.append(number)
                        break
                    except PerhapsSent:
                        perhaps.append(number)
                        break
                    except (NotSent, ChannelFull):
                        await asyncio.sleep(0.01)
            await asyncio.gather(*meddling)
            for _ in range(1_000):
                if set(sure) <= set(got):
                    break
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        self.assertEqual([number for number, count in Counter(got).items() if count > 1], [], "came twice")
        self.assertEqual(sorted(set(sure) - set(got)), [], "was lost")
        self.assertLessEqual(set(got), set(sure) | set(perhaps))
        self.assertLessEqual(len(perhaps), 3, "one at most for each disturbance")
        if "?" in channel or "!" in channel:
            self.assertEqual(got, sorted(got), "in order")

    def meddle(self, what: list[str]) -> None:
        if what == ["kill"]:
            self.server.kill()
            self.server.start()
        else:
            self.server.command(*what)

    async def test_scripts_that_are_flushed_are_seen_by_nobody(self) -> None:
        for channel in ("jobs", "body?Xy12", "inbox"):
            with self.subTest(channel=channel):
                await self.traffic(channel, ["SCRIPT", "FLUSH"])

    async def test_a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing(self) -> None:
        for channel in ("jobs", "body?Xy12", "inbox"):
            with self.subTest(channel=channel):
                await self.traffic(channel, ["kill"])

    async def test_connections_that_are_cut_lose_and_repeat_nothing(self) -> None:
        for channel in ("jobs", "body?Xy12", "inbox"):
            with self.subTest(channel=channel):
                await self.traffic(channel, ["CLIENT", "KILL", "SKIPME", "yes"])

    async def test_a_receive_that_waits_is_woken_after_all_data_were_lost(self) -> None:
        async with ChannelLayer([self.server.url], lease=1) as layer, ChannelLayer([self.server.url]) as sender:
            inbox = await layer.new_inbox("chat")
            receives = [asyncio.create_task(layer.receive([channel], block=True)) for channel in ("jobs", "body?Xy12", inbox)]
            await asyncio.sleep(0.1)
            self.server.command("FLUSHALL")
            self.server.command("SCRIPT", "FLUSH")
            await sender.send("jobs", 1)
            await sender.send("body?Xy12", 2)
            await sender.send(f"{inbox}ab", 3)
            got = await asyncio.wait_for(asyncio.gather(*receives), 5)
            self.assertEqual(got, [("jobs", 1), ("body?Xy12", 2), (f"{inbox}ab", 3)])

    async def test_a_receive_that_waits_is_woken_soon_after_its_connection_was_cut(self) -> None:
        async with ChannelLayer([self.server.url]) as layer:
            inbox = await layer.new_inbox("chat")
            for channel in ("jobs", "body?Xy12", f"{inbox}ab"):
                receive = asyncio.create_task(layer.receive([inbox if "!" in channel else channel], block=True))
                await asyncio.sleep(0.1)
                self.server.command("CLIENT", "KILL", "SKIPME", "yes")
                # Who sends connects later, so that it is not cut off too.
                async with ChannelLayer([self.server.url]) as sender:
                    await sender.send(channel, 1)
                    self.assertEqual(await asyncio.wait_for(receive, 3), (channel, 1))

    async def test_calls_whose_order_counts_are_refused_after_a_later_hello_and_made_again(self) -> None:
        async with ChannelLayer([self.server.url]) as layer:
            await layer.receive(["jobs"])
            (link,) = layer._links
            hello = link._scripts["hello"].sha
            calls: list[tuple[Callable[[str, Any], Awaitable[None]], str, Any]] = [
                (layer.send, "body?Xy12", 1), (layer.send, "other!ab", 1), (layer.group_add, "room", "body?Xy12"),
                (layer.group_send, "room", 2)]
            for call, name, value in calls:
                known = link.generation + 1
                reply = self.server.command("EVALSHA", hello, 2, link.key("c", link.client), "asgi:schema", known, 60_000, 3)
                self.assertEqual(reply[0], b"ok")
                await call(name, value)
                self.assertGreater(link.generation, known, "the client has said hello")
            self.assertEqual([await layer.receive(["body?Xy12"]) for _ in range(3)],
                             [("body?Xy12", 1), ("body?Xy12", 2), (None, None)])
            self.assertEqual(await layer.receive(["other!"]), ("other!ab", 1))

    async def test_an_inbox_is_read_at_once_though_an_old_state_has_a_ticket_that_nobody_knows(self) -> None:
        server = Server()
        self.addCleanup(server.close)
        async with ChannelLayer([server.url]) as layer, ChannelLayer([server.url]) as sender:
            inbox = await layer.new_inbox("chat")
            await layer.receive([inbox])
            server.command("SAVE")  # a ticket waits for the inbox
            for number in range(3):
                await sender.send(f"{inbox}ab", number)
                await layer.receive([inbox], block=True)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(1)
            for number in range(3, 6):
                await sender.send(f"{inbox}ab", number)
                self.assertEqual(await asyncio.wait_for(layer.receive([inbox], block=True), 2), (f"{inbox}ab", number))

    async def test_a_send_to_a_server_that_is_away_says_that_nothing_was_sent(self) -> None:
        other = Server()
        self.addCleanup(other.close)
        async with ChannelLayer([self.server.url, other.url], capacity=4, timeout=0.5) as layer:
            await layer.send("jobs", 0)
            await layer.receive(["jobs"])
            self.server.kill()
            await asyncio.sleep(0.1)
            await layer.send("jobs", 1)
            await layer.send("jobs", 2)
            with self.assertRaises(ChannelFull):
                await layer.send("jobs", 3)
            self.assertEqual({(await layer.receive(["jobs"]))[1], (await layer.receive(["jobs"]))[1]}, {1, 2})
            other.kill()
            await asyncio.sleep(0.1)
            with self.assertRaises(NotSent):
                await layer.send("jobs", 4)
            with self.assertRaises(NotSent):
                await layer.receive(["jobs"])
            self.server.start()
            for _ in range(100):
                try:
                    await layer.send("jobs", 5)
                    break
                except NotSent:
                    await asyncio.sleep(0.05)
            self.assertEqual(await layer.receive(["jobs"], block=True), ("jobs", 5))
