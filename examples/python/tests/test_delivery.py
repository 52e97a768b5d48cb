"""Nothing is lost, nothing comes twice, and no queue holds more than its capacity, while receives are cancelled at random."""

from __future__ import annotations

import asyncio
import os
import random
import unittest
from collections import Counter
from contextlib import AsyncExitStack

from channel_layer import ChannelFull, ChannelLayer
from tests.server import Server

SEED = int(os.environ.get("SEED", "7"))
MESSAGES = 500


async def send_all(layer: ChannelLayer, channel: str, numbers: range) -> None:
    """Sends numbers in order, and waits while the channel is full, and now and then so that receives wait too."""
    for number in numbers:
        if number % 10 == 0:
            await asyncio.sleep(0.01)
        while True:
            try:
                await layer.send(channel, number)
                break
            except ChannelFull:
                await asyncio.sleep(0.001)


async def receive_cancelled(layer: ChannelLayer, channel: str, chance: random.Random, got: list[int], until: asyncio.Event) -> int:
    """Receives until told to end, and cancels most receives at a random moment. Returns how many were cancelled."""
    cancelled = 0
    while not until.is_set():
        receive = asyncio.create_task(layer.receive([channel, "nobody.sends.here"] if channel == "jobs" else [channel], block=True))
        await asyncio.wait([receive], timeout=chance.choice([0, 0, 0.0003, 0.001, 0.003, 0.01, 0.05]))
        receive.cancel()
        try:
            got.append((await receive)[1])
        except asyncio.CancelledError:
            cancelled += 1
    return cancelled


class Ledger(unittest.IsolatedAsyncioTestCase):
    async def ledger(self, servers: int, channel: str, receivers: int) -> list[int]:
        """Returns what was received of all that was sent, in the order in which it was received."""
        chance = random.Random(SEED)
        got: list[int] = []
        ended = asyncio.Event()
        async with AsyncExitStack() as stack:
            urls = [stack.enter_context(Running()) for _ in range(servers)]
            layers = [await stack.enter_async_context(ChannelLayer(urls)) for _ in range(receivers + 1)]
            if channel.endswith("!"):
                channel = await layers[1].new_inbox(channel[:-1])
            target = channel + "ab" if channel.endswith("!") else channel
            reading = [asyncio.create_task(receive_cancelled(layer, channel, chance, got, ended)) for layer in layers[1:]]
            await asyncio.wait_for(send_all(layers[0], target, range(MESSAGES)), 60)
            for _ in range(2_000):
                if len(got) >= MESSAGES:
                    break
                await asyncio.sleep(0.005)
            ended.set()
            cancelled = sum(await asyncio.gather(*reading))
            # What would come twice would come now.
            left = await layers[1].receive([channel])
        self.assertEqual(left, (None, None))
        self.assertGreater(cancelled, 20, "receives were cancelled")
        self.assertEqual(Counter(got), Counter(range(MESSAGES)))
        return got

    async def test_cancelled_receives_of_two_clients_on_a_normal_channel(self) -> None:
        await self.ledger(1, "jobs", 2)

    async def test_cancelled_receives_of_two_clients_on_two_servers(self) -> None:
        await self.ledger(2, "jobs", 2)

    async def test_cancelled_receives_on_a_single_reader_channel_keep_its_order(self) -> None:
        self.assertEqual(await self.ledger(2, "body?Xy12", 1), list(range(MESSAGES)))

    async def test_cancelled_receives_on_an_inbox_keep_its_order(self) -> None:
        self.assertEqual(await self.ledger(2, "chat!", 1), list(range(MESSAGES)))


class Running:
    """A server as a context."""

    def __enter__(self) -> str:
        self._server = Server()
        return self._server.url

    def __exit__(self, *_: object) -> None:
        self._server.close()


class Capacity(unittest.IsolatedAsyncioTestCase):
    async def test_concurrent_senders_fill_a_channel_exactly(self) -> None:
        for servers in (1, 2):
            for channel in ("jobs", "body?Xy12", "chat!ab"):
                async with AsyncExitStack() as stack:
                    urls = [stack.enter_context(Running()) for _ in range(servers)]
                    layers = [await stack.enter_async_context(ChannelLayer(urls, capacity=51, inbox_capacity=51)) for _ in range(3)]
                    sends = [layer.send(channel, number) for number in range(40) for layer in layers]
                    outcomes = await asyncio.gather(*sends, return_exceptions=True)
                    with self.subTest(servers=servers, channel=channel):
                        full = [outcome for outcome in outcomes if outcome is not None]
                        self.assertTrue(all(isinstance(outcome, ChannelFull) for outcome in full), full)
                        self.assertEqual(len(full), 120 - 51)
                    if channel == "jobs":
                        taken = [await layers[0].receive([channel]) for _ in range(52)]
                        self.assertEqual([name for name, _ in taken].count(None), 1)
                        await layers[0].send(channel, "there is room again")


class Receives(unittest.IsolatedAsyncioTestCase):
    async def test_a_second_receive_on_a_single_reader_channel_is_refused(self) -> None:
        with Running() as url:
            async with ChannelLayer([url]) as layer:
                first = asyncio.create_task(layer.receive(["body?Xy12"], block=True))
                await asyncio.sleep(0.05)
                with self.assertRaises(RuntimeError):
                    await layer.receive(["body?Xy12"], block=True)
                await layer.send("body?Xy12", 1)
                self.assertEqual(await first, ("body?Xy12", 1))

    async def test_one_receive_waits_for_channels_of_every_kind(self) -> None:
        with Running() as one, Running() as two:
            async with ChannelLayer([one, two]) as layer, ChannelLayer([one, two]) as sender:
                inbox = await layer.new_inbox("chat")
                channels = ["jobs", "body?Xy12", inbox]
                for channel in ["jobs", "body?Xy12", f"{inbox}ab"] * 20:
                    receive = asyncio.create_task(layer.receive(channels, block=True))
                    await sender.send(channel, channel)
                    self.assertEqual(await asyncio.wait_for(receive, 5), (channel, channel))

    async def test_an_inbox_that_nobody_takes_from_stays_on_the_server_and_its_senders_are_told(self) -> None:
        with Running() as url:
            async with ChannelLayer([url]) as layer, ChannelLayer([url], inbox_capacity=1_500) as sender:
                inbox = await layer.new_inbox("chat")
                sent = 0
                with self.assertRaises(ChannelFull):
                    for sent in range(5_000):
                        await sender.send(f"{inbox}ab", sent)
                self.assertLess(sent, 4_000)
                got = [await asyncio.wait_for(layer.receive([inbox], block=True), 5) for _ in range(sent)]
                self.assertEqual(got, [(f"{inbox}ab", number) for number in range(sent)])
                self.assertEqual(await layer.receive([inbox]), (None, None))

    async def test_a_copy_that_comes_late_turns_no_acknowledgement_into_a_release(self) -> None:
        with Running() as url:
            async with ChannelLayer([url]) as layer:
                (link,) = layer._links
                await layer.receive(["jobs"])
                # Nothing is awaited in between, so no call carries the acknowledgement away.
                link.finish(7, b"0123456789")
                link._on_message(b"7 jobs 0123456789and the rest")
                self.assertEqual(link._finished[7], b"0123456789")

    async def test_large_messages_wake_who_waits(self) -> None:
        with Running() as url:
            async with ChannelLayer([url]) as layer, ChannelLayer([url]) as sender:
                inbox = await layer.new_inbox("chat")
                await sender.group_add("room", f"{inbox}ab")
                for channel in ("jobs", "body?Xy12", f"{inbox}ab"):
                    for size in (10_000, 20_000, 2_000_000):
                        receive = asyncio.create_task(layer.receive([inbox if "!" in channel else channel], block=True))
                        await asyncio.sleep(0.05)
                        await sender.send(channel, bytes(size))
                        self.assertEqual(await asyncio.wait_for(receive, 2), (channel, bytes(size)))
                receives = [layer.receive([inbox], block=True) for _ in range(20)]
                await asyncio.gather(*(sender.group_send("room", bytes(100_000)) for _ in range(20)))
                self.assertEqual(await asyncio.wait_for(asyncio.gather(*receives), 5), [(f"{inbox}ab", bytes(100_000))] * 20)

    async def test_a_thousand_receives_wait_and_each_is_woken(self) -> None:
        with Running() as url:
            async with ChannelLayer([url]) as layer, ChannelLayer([url]) as sender:
                receives = [asyncio.create_task(layer.receive([f"c.{number}"], block=True)) for number in range(1_000)]
                await asyncio.gather(*(sender.send(f"c.{number}", number) for number in range(1_000)))
                got = await asyncio.wait_for(asyncio.gather(*receives), 20)
                self.assertEqual(got, [(f"c.{number}", number) for number in range(1_000)])
