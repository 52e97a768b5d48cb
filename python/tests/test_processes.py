"""Several processes, forks, ends of each kind, and servers that go and come back."""

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from channels_asgi_redis import RedisChannelLayer

from conftest import Make, Program, Server, until

HEAD = """
import asyncio, os, random, signal, sys, time
from channels_asgi_redis import RedisChannelLayer
layer = RedisChannelLayer(hosts=[sys.argv[1]], prefix=sys.argv[2], capacity=100_000, membership_lease=2)
def say(text): print(text, flush=True)
"""

CONSUMER = (
    HEAD
    + """
async def main():
    chance, received = random.Random(int(sys.argv[3])), []
    say("ready")
    while True:
        task = asyncio.ensure_future(layer.receive("jobs"))
        await asyncio.sleep(chance.random() * 0.003)
        task.cancel()
        try:
            message = await task
        except asyncio.CancelledError:
            continue
        if message["number"] is None:
            break
        received.append(message["number"])
    import json
    say(json.dumps(received))
asyncio.run(main())
"""
)


async def test_two_consumers_that_cancel_share_the_messages_without_loss(make: Make, server: Server, prefix: str, program) -> None:
    layer = make(capacity=100_000)
    consumers = [program(CONSUMER, server.url, prefix, str(seed)) for seed in (1, 2)]
    for consumer in consumers:
        assert consumer.line() == "ready"
    for number in range(2000):
        await layer.send("jobs", {"number": number})
        if number % 5 == 0:
            await asyncio.sleep(0.001)
    for _ in consumers:
        await layer.send("jobs", {"number": None})
    received = [json.loads(consumer.line()) for consumer in consumers]
    assert all(len(share) > 100 for share in received), "each had its share"
    assert sorted(received[0] + received[1]) == list(range(2000))


FORKING = (
    HEAD
    + """
async def there_and_back(who):
    name = await layer.new_channel()
    await layer.group_add("room", name)
    await layer.send(name, {"who": who})
    assert await asyncio.wait_for(layer.receive(name), 10) == {"who": who}
    await layer.send("jobs", {"who": who})
    return name

if sys.argv[3] == "used":
    parents = asyncio.run(there_and_back("parent"))
    # Receives that wait in a loop which the child inherits and never runs.
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(layer.receive(channel)) for channel in ("nothing", parents)]
    loop.run_until_complete(asyncio.sleep(0.05))
child = os.fork()
if child == 0:
    asyncio.run(there_and_back("child"))
    grandchild = os.fork()
    if grandchild == 0:
        asyncio.run(there_and_back("grandchild"))
        # Everything that was inherited is collected too.
        layer = loop = tasks = None
        import gc
        gc.collect()
        sys.exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0
    asyncio.run(there_and_back("child again"))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(there_and_back("parent again"))
say("done")
"""
)


@pytest.mark.parametrize("when", ["unused", "used"])
async def test_a_layer_works_in_the_children_of_forks(make: Make, server: Server, prefix: str, program, when: str) -> None:
    layer = make()
    forking = program(FORKING, server.url, prefix, when)
    code, out, err = forking.end()
    assert (code, out) == (0, "done\n"), err
    messages = len(["child", "grandchild", "child again", "parent again"]) + (when == "used")
    who = [(await layer.receive("jobs"))["who"] for _ in range(messages)]
    assert {"child", "grandchild", "child again", "parent again"} <= set(who)

    async def all_have_left() -> bool:
        return await layer.group_len("room") == 0

    await until(all_have_left, 1)


KILLED_PARENT = (
    HEAD
    + """
async def use():
    name = await layer.new_channel()
    await layer.group_add("room", name)
    await asyncio.wait([asyncio.ensure_future(layer.receive("jobs"))], timeout=0.1)
    say("used")
    child = os.fork()
    if child == 0:
        signal.pause()
    say(child)
    await layer.receive("jobs")
asyncio.run(use())
"""
)


async def test_a_server_notices_that_the_parent_died_while_its_child_lives(own_server: Server, prefix: str, program) -> None:
    parent = program(KILLED_PARENT, own_server.url, prefix)
    assert parent.line() == "used"
    child = int(parent.line())
    try:
        assert own_server.clients() == 1
        parent.process.kill()
        await until(lambda: own_server.clients() == 0, 5)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


ENDING = (
    HEAD
    + """
async def main():
    global name
    name = await layer.new_channel()
    await layer.group_add("room", name)
    waiting = asyncio.ensure_future(layer.receive(name))
    await asyncio.sleep(0.05)
    say("joined")
    how = sys.argv[3]
    if how == "exception":
        raise KeyError("on purpose")
    if how == "SystemExit":
        sys.exit(3)
    if how in ("SIGINT", "SIGTERM"):
        await asyncio.sleep(60)
asyncio.run(main())
"""
)


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("exception", 1), ("SystemExit", 3), ("SIGINT", -2), ("SIGTERM", -15)]
)
async def test_the_end_of_a_process(make: Make, server: Server, prefix: str, program, how: str, code: int) -> None:
    layer = make()
    ending: Program = program(ENDING, server.url, prefix, how)
    assert ending.line() == "joined"
    if how in ("SIGINT", "SIGTERM"):
        assert await layer.group_len("room") == 1
        ending.process.send_signal(getattr(signal, how))
    began = time.monotonic()
    assert ending.end()[0] in (code, 130 if how == "SIGINT" else code)
    assert time.monotonic() - began < 5

    async def has_left() -> bool:
        return await layer.group_len("room") == 0

    # At once; where no handler runs, with the lease.
    await until(has_left, 6 if how == "SIGTERM" else 0.5)


async def test_an_end_is_not_held_up_by_a_server_that_is_gone(own_server: Server, prefix: str, program) -> None:
    ending = program(
        HEAD
        + """
async def main():
    global name
    name = await layer.new_channel()
    await layer.group_add("room", name)
    say("joined")
    sys.stdin.readline()
asyncio.run(main())
""",
        own_server.url,
        prefix,
    )
    assert ending.line() == "joined"
    own_server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert ending.end()[0] == 0
    assert time.monotonic() - began < 6
    own_server.process.send_signal(signal.SIGCONT)


async def test_while_a_server_is_down_sends_fail_and_receives_wait(own_server: Server, prefix: str) -> None:
    layer = RedisChannelLayer(hosts=[own_server.url], prefix=prefix)
    name = await layer.new_channel()
    waiting = [asyncio.ensure_future(layer.receive(channel)) for channel in ("jobs", name)]
    await asyncio.sleep(0.05)
    own_server.kill()

    async def send_fails() -> bool:
        try:
            await layer.send("jobs", {})
        except ConnectionError as error:
            return error.may_retry and not error.perhaps_sent
        return False

    await until(send_fails)
    with pytest.raises(ConnectionError):
        await layer.group_send("room", {})
    assert not (await layer.health())[0]["is_up"]
    own_server.start()

    async def send_works(channel: str) -> bool:
        try:
            await layer.send(channel, {"after": "outage"})
        except (ConnectionError, TimeoutError):
            return False
        return True

    for channel in "jobs", name:
        await until(lambda channel=channel: send_works(channel))
    assert await asyncio.wait_for(asyncio.gather(*waiting), 10) == [{"after": "outage"}] * 2
    await layer.close()


async def test_a_receive_waits_for_a_server_that_is_not_up_yet(own_server: Server, prefix: str) -> None:
    own_server.kill()
    layer = RedisChannelLayer(hosts=[own_server.url], prefix=prefix)
    with pytest.raises(ConnectionError) as refused:
        await layer.send("jobs", {})
    assert refused.value.may_retry
    waits = asyncio.ensure_future(layer.receive("jobs"))
    await asyncio.sleep(0.2)
    assert not waits.done()
    own_server.start()
    await asyncio.sleep(1.2)
    await layer.send("jobs", {"number": 1})
    assert await asyncio.wait_for(waits, 10) == {"number": 1}
    await layer.close()


async def test_a_silent_server_is_a_timeout(own_server: Server, prefix: str) -> None:
    layer = RedisChannelLayer(hosts=[own_server.url], prefix=prefix, response_timeout=0.5)
    await layer.send("jobs", {"number": 1})
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError) as late:
            await layer.send("jobs", {"number": 2})
        assert late.value.perhaps_sent and not late.value.may_retry
    finally:
        own_server.process.send_signal(signal.SIGCONT)
    await layer.close()


async def test_no_key_is_left(make: Make, server: Server, prefix: str) -> None:
    layer = make()
    name = await layer.new_channel()
    await layer.group_add("room", name)
    await layer.send("jobs", {})
    await layer.receive("jobs")
    await layer.group_send("room", {})
    await layer.receive(name)
    await layer.close()
    assert server.keys(prefix) == [prefix + ":schema"], "the number of the layout stays"


def test_no_future_is_run_on_another_thread() -> None:
    """What a thread of the runtime finishes while a task is cancelled would be lost."""
    sources = [*(Path(__file__).parent.parent / "src").glob("*.rs")]
    assert sources
    for source in sources:
        assert not re.search("future_into_" + "py|pyo3_async" + "_runtimes", source.read_text()), source
