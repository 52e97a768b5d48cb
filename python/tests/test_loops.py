"""One layer in many event loops and threads."""

import asyncio
import gc
import os
import threading
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.exceptions import ChannelFull
from channels_asgi_redis import RedisChannelLayer

from conftest import Make, Server


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def layer(server: Server, prefix: str):
    layer = RedisChannelLayer(hosts=[server.url], prefix=prefix, capacity=10_000)
    yield layer
    asyncio.run(layer.close())


def test_a_hundred_loops_one_after_the_other_leave_no_descriptor(layer) -> None:
    async def there_and_back(number: int) -> None:
        await layer.send("jobs", {"number": number})
        assert await layer.receive("jobs") == {"number": number}

    async def abandoned() -> None:
        asyncio.ensure_future(layer.receive("nothing"))
        await asyncio.sleep(0.001)

    asyncio.run(there_and_back(0))
    before = descriptors()
    for number in range(100):
        asyncio.run(there_and_back(number))
        asyncio.run(abandoned())
    assert descriptors() <= before


def test_a_loop_that_is_closed_with_a_receive_under_way_loses_nothing(layer) -> None:
    event_loop = asyncio.new_event_loop()
    task = event_loop.create_task(layer.receive("jobs"))
    event_loop.run_until_complete(asyncio.sleep(0.05))
    event_loop.close()
    del task, event_loop
    gc.collect()

    async def there_and_back() -> None:
        await layer.send("jobs", {"number": 1})
        assert await asyncio.wait_for(layer.receive("jobs"), 5) == {"number": 1}

    asyncio.run(there_and_back())


def test_a_channel_outlives_the_loop_in_which_it_was_named(layer) -> None:
    name = async_to_sync(layer.new_channel)()
    async_to_sync(layer.send)(name, {"number": 1})
    async_to_sync(layer.close_pools)()
    assert async_to_sync(layer.receive)(name) == {"number": 1}


@pytest.mark.parametrize("turns", range(4))
def test_a_loop_that_stands_still_in_its_first_calls_holds_up_no_thread(layer, turns: int) -> None:
    still = asyncio.new_event_loop()
    calls = layer.receive("jobs"), layer.new_channel(), layer.send("other", {}), layer.group_add("room", "jobs")
    tasks = [still.create_task(call) for call in calls]
    for _ in range(turns + 1):
        still.run_until_complete(asyncio.sleep(0))

    def work(_: int) -> None:
        layer.send_sync("jobs", {"number": 1})
        assert "!" in asyncio.run(asyncio.wait_for(layer.new_channel(), 5))
        asyncio.run(asyncio.wait_for(layer.group_add("room", "jobs"), 5))

    thread = threading.Thread(target=work, args=(0,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    results = still.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks), 10))
    assert results[0] == {"number": 1}
    still.close()


def run_in_threads(count: int, work) -> None:
    failures = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("kind", ["normal", "!"])
def test_loops_in_threads_receive_from_one_channel_at_once(layer, kind: str) -> None:
    channel = asyncio.run(layer.new_channel()) if kind == "!" else "jobs"
    received: list[int] = []

    async def work(number: int) -> None:
        async def read() -> None:
            while (message := await layer.receive(channel))["number"] is not None:
                received.append(message["number"])

        reading = asyncio.ensure_future(read())
        for count in range(200):
            await layer.send(channel, {"number": 200 * number + count})
        barrier.wait()
        await layer.send(channel, {"number": None})
        await reading

    barrier = threading.Barrier(8)
    run_in_threads(8, lambda number: asyncio.run(asyncio.wait_for(work(number), 50)))
    assert sorted(received) == list(range(1600))


def test_threads_without_a_loop_send_in_their_own_way(layer) -> None:
    name = asyncio.run(layer.new_channel())
    asyncio.run(layer.group_add("room", name))

    def work(number: int) -> None:
        for count in range(50):
            layer.send_sync("jobs", {"number": 50 * number + count})
        assert layer.group_send_sync("room", {"number": number}).delivered == 1

    run_in_threads(8, work)

    async def collect() -> tuple[list[int], list[int]]:
        jobs = [(await layer.receive("jobs"))["number"] for _ in range(400)]
        return sorted(jobs), sorted([(await layer.receive(name))["number"] for _ in range(8)])

    assert asyncio.run(collect()) == (list(range(400)), list(range(8)))


async def test_a_call_that_blocks_is_refused_where_a_loop_runs(make: Make) -> None:
    layer = make(capacity=1)
    with pytest.raises(RuntimeError, match="an event loop runs in this thread"):
        layer.send_sync("jobs", {})
    with pytest.raises(RuntimeError, match="an event loop runs in this thread"):
        layer.group_send_sync("room", {})
    await sync_to_async(layer.send_sync)("jobs", {"number": 1})
    with pytest.raises(ChannelFull):
        await sync_to_async(layer.send_sync)("jobs", {"number": 1})
    await sync_to_async(async_to_sync(layer.group_send))("room", {"number": 1})
    assert await layer.receive("jobs") == {"number": 1}


async def test_receives_that_are_always_ready_let_other_tasks_run(make: Make) -> None:
    layer = make(capacity=10_000)
    name = await layer.new_channel()
    for number in range(1000):
        await layer.send(name, {"number": number})
    await asyncio.sleep(0.2)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    for _ in range(1000):
        await layer.receive(name)
    task.cancel()
    assert turns >= 1000 // 64 - 1


def test_uvloop_does_the_same(layer) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work() -> None:
        name = await layer.new_channel()
        waiting = [asyncio.ensure_future(layer.receive(name)) for _ in range(50)]
        await asyncio.sleep(0.01)
        for task in waiting[:25]:
            task.cancel()
        for number in range(25):
            await layer.send(name, {"number": number})
        received = await asyncio.wait_for(asyncio.gather(*waiting[25:]), 10)
        assert [message["number"] for message in received] == list(range(25))

    def run() -> None:
        event_loop = uvloop.new_event_loop()
        try:
            event_loop.run_until_complete(work())
        finally:
            event_loop.close()

    run()
    before = descriptors()
    for _ in range(20):
        run()
    assert descriptors() <= before


async def test_calls_do_not_pile_up(make: Make) -> None:
    """Cancelled receives leave nothing in the port of their loop."""
    layer = make()
    port = None
    for _ in range(300):
        task = asyncio.ensure_future(layer.receive("nothing"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    port = asyncio.get_running_loop()._channels_asgi_redis_port
    gc.collect()
    assert len(gc.get_referents(port)) < 10


def test_a_layer_that_is_dropped_closes_its_connections(own_server: Server) -> None:
    async def use() -> None:
        layer = RedisChannelLayer(hosts=[own_server.url])
        name = await layer.new_channel()
        await layer.group_add("room", name)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(layer.receive(name), 0.05)
        assert own_server.clients() >= 1

    for _ in range(5):
        asyncio.run(use())
    gc.collect()
    end = time.monotonic() + 10
    while own_server.clients():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert own_server.keys("asgi:") == ["asgi:schema"]
