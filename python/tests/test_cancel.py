"""A receive may be cancelled at any point: that loses, repeats and reorders nothing."""

import asyncio
import random
import threading
import time

import pytest

from conftest import Make

MESSAGES = 1000


async def channel_of(layer, kind: str) -> str:
    return await layer.new_channel() if kind == "!" else "jobs"


async def check(layer, channel: str, receive_once, messages: int = MESSAGES) -> None:
    """Sends numbers while a reader receives and cancels, and compares what came with what was sent."""
    received: list[int] = []

    async def reader() -> None:
        while len(received) < messages:
            message = await receive_once()
            if message is not None:
                received.append(message["number"])

    async def writer() -> None:
        for number in range(messages):
            # Never far ahead, or no receive would wait.
            while number - len(received) > number % 4:
                await asyncio.sleep(0.0005)
            await layer.send(channel, {"type": "job", "number": number})

    await asyncio.wait_for(asyncio.gather(reader(), writer()), 60)
    lost = set(range(messages)) - set(received)
    assert not lost, f"{len(lost)} lost"
    assert len(received) == messages, f"{len(received) - messages} twice"
    assert received == sorted(received), "out of order"
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.05)


@pytest.mark.parametrize("kind", ["normal", "!"])
async def test_receives_cancelled_after_0_to_3_ms_keep_the_ledger(make: Make, kind: str) -> None:
    layer = make(capacity=10_000)
    channel = await channel_of(layer, kind)
    chance = random.Random(7)
    cancelled = 0

    async def once():
        nonlocal cancelled
        task = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(chance.random() * 0.003)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            cancelled += 1

    await check(layer, channel, once)
    assert cancelled > 20, "receives were cancelled"


@pytest.mark.parametrize("kind", ["normal", "!"])
async def test_receives_cancelled_at_every_step_under_load_keep_the_ledger(make: Make, kind: str) -> None:
    layer = make(capacity=10_000)
    channel = await channel_of(layer, kind)
    cancelled = set()
    turns = 0

    async def once():
        # One turn of the loop more each time: so the cancel meets the task before its first step, between all others, and
        # after the message has woken it.
        nonlocal turns
        turns = (turns + 1) % 24
        task = asyncio.ensure_future(layer.receive(channel))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            cancelled.add(turns)

    await check(layer, channel, once)
    assert {0, 1, 2, 3} <= cancelled


@pytest.mark.parametrize("kind", ["normal", "!"])
async def test_a_receive_that_is_cancelled_when_its_message_has_woken_it_gives_it_to_the_next(make: Make, kind: str) -> None:
    layer = make()
    channel = await channel_of(layer, kind)
    for number in range(20):
        first, second = (asyncio.ensure_future(layer.receive(channel)) for _ in range(2))
        await asyncio.sleep(0.005)
        # While the loop stands still, the message comes and wakes the first.
        sending = threading.Thread(target=layer.send_sync, args=(channel, {"number": number}))
        sending.start()
        sending.join()
        time.sleep(0.01)
        assert first.cancel()
        assert await asyncio.wait_for(second, 5) == {"number": number}
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize("kind", ["normal", "!"])
async def test_wait_for_loses_nothing(make: Make, kind: str) -> None:
    layer = make(capacity=10_000)
    channel = await channel_of(layer, kind)
    chance = random.Random(7)

    async def once():
        try:
            return await asyncio.wait_for(layer.receive(channel), chance.random() * 0.002)
        except asyncio.TimeoutError:
            return None

    await check(layer, channel, once, 800)


async def test_a_call_driven_by_hand_ends_at_each_step(make: Make) -> None:
    layer = make()
    await layer.send("jobs", {"number": 0})
    for steps in range(4):
        call = layer._engine.receive("other")
        for _ in range(steps):
            assert next(call.__await__()) is not None
        with pytest.raises(KeyError, match="own"):
            call.throw(KeyError("own"))
        with pytest.raises(RuntimeError, match="awaited already"):
            next(call.__await__())
    call = layer._engine.receive("jobs")
    call.close()
    assert await layer.receive("jobs") == {"number": 0}


async def test_a_cancelled_send_sends_once_or_not_at_all(make: Make) -> None:
    layer = make(capacity=10_000)
    sent, perhaps = [], []
    for number in range(300):
        task = asyncio.ensure_future(layer.send("jobs", {"number": number}))
        for _ in range(number % 6):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
            sent.append(number)
        except asyncio.CancelledError:
            perhaps.append(number)
    await layer.send("jobs", {"number": "end"})
    received = []
    while (message := await layer.receive("jobs"))["number"] != "end":
        received.append(message["number"])
    assert len(received) == len(set(received)) and set(sent) <= set(received) <= set(sent) | set(perhaps)
