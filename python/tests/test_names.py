"""How long a channel lives whose name is gone: Channels never says that a consumer has ended."""

import asyncio
import gc
import time

import pytest
from channels_asgi_redis import InMemoryChannelLayer

from conftest import Make, until


async def a_name_dies(layer) -> None:
    kept, dies = await layer.new_channel(), await layer.new_channel()
    for channel in kept, dies:
        await layer.group_add("room", channel)
    text = str(dies)
    del channel, dies
    gc.collect()
    began = time.monotonic()
    await layer.send(text, {"in": "time"})
    assert await layer.receive(text) == {"in": "time"}, "a copy of the name is good for some seconds"
    other = await layer.new_channel()
    await layer.group_add("room", other)
    of_other = str(other)
    del other
    gc.collect()
    waits = asyncio.ensure_future(layer.receive(text))

    async def has_left() -> bool:
        return await layer.group_len("room") == 2

    await until(has_left, 20)
    assert time.monotonic() - began > 5
    with pytest.raises(ValueError, match="its mailbox has ended"):
        await layer.receive(of_other)
    # A receive by a copy keeps its channel.
    await layer.group_send("room", {"to": "those who are left"})
    assert await asyncio.wait_for(waits, 5) == await layer.receive(kept) == {"to": "those who are left"}


async def test_a_channel_whose_name_has_died_leaves_its_groups(make: Make) -> None:
    await asyncio.gather(a_name_dies(make()), a_name_dies(InMemoryChannelLayer()))


async def test_a_call_for_a_channel_that_is_cancelled_leaves_no_member(make: Make) -> None:
    layer = make()
    for turns in range(8):
        task = asyncio.ensure_future(layer.new_channel(f"prefix{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
    assert "!" in await layer.new_channel("prefix1")
