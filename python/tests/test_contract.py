"""What Channels expects of a layer, on each kind of layer."""

import asyncio
import copy
import json
import pickle

import pytest
from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer


async def nothing_comes(layer, channel: str, patience: float = 0.1) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(layer.receive(channel), patience)


async def test_it_is_a_layer_with_groups_and_flush(any_layer) -> None:
    layer = any_layer()
    assert isinstance(layer, BaseChannelLayer)
    assert layer.extensions == ["groups", "flush"]


async def test_a_message_goes_to_one_receiver_once_and_in_order(any_layer) -> None:
    layer = any_layer()
    for channel in "jobs", await layer.new_channel():
        for number in range(20):
            await layer.send(channel, {"type": "job", "number": number})
        received = [await layer.receive(channel) for _ in range(20)]
        assert received == [{"type": "job", "number": number} for number in range(20)] or channel == "jobs"
        assert sorted(message["number"] for message in received) == list(range(20))
        await nothing_comes(layer, channel)


async def test_receives_that_wait_share_the_messages_of_a_channel(any_layer) -> None:
    layer = any_layer()
    for channel in "jobs", await layer.new_channel():
        waiting = [asyncio.ensure_future(layer.receive(channel)) for _ in range(10)]
        await asyncio.sleep(0.05)
        for number in range(10):
            await layer.send(channel, {"number": number})
        received = await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert sorted(message["number"] for message in received) == list(range(10))


async def test_a_full_channel_refuses_and_has_room_again(any_layer) -> None:
    layer = any_layer(capacity=3)
    for _ in range(3):
        await layer.send("jobs", {})
    with pytest.raises(ChannelFull):
        await layer.send("jobs", {})
    await layer.receive("jobs")
    await layer.send("jobs", {})


async def test_a_message_expires(any_layer) -> None:
    layer = any_layer(expiry=0.2)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for name in "jobs", channel:
        await layer.send(name, {"late": True})
    await layer.group_send("room", {"late": True})
    await asyncio.sleep(0.4)
    for name in "jobs", channel:
        await layer.send(name, {"late": False})
        assert await layer.receive(name) == {"late": False}


async def test_a_group_reaches_its_members_once(any_layer) -> None:
    layer = any_layer()
    one, two, three = [await layer.new_channel() for _ in range(3)]
    for channel in one, two, three, one:
        await layer.group_add("room", channel)
    await layer.group_discard("room", two)
    await layer.group_discard("room", two)
    assert await layer.group_len("room") == 2
    receipt = await layer.group_send("room", {"type": "hi"})
    assert receipt.delivered == 1 and receipt.full == receipt.failed == 0, "all are of one process"
    receipt.reached_all()
    for channel in one, three:
        assert await asyncio.wait_for(layer.receive(channel), 5) == {"type": "hi"}
    for channel in one, two, three:
        await nothing_comes(layer, channel)
    assert (await layer.group_send("empty", {"type": "hi"})).delivered == 0


async def test_a_full_member_fails_no_group_send(any_layer) -> None:
    layer = any_layer(capacity=2)
    full, other = await layer.new_channel(), await layer.new_channel()
    for channel in full, other:
        await layer.group_add("room", channel)
    for number in range(3):
        await layer.group_send("room", {"number": number})
        assert await asyncio.wait_for(layer.receive(other), 5) == {"number": number}
    assert [(await layer.receive(full))["number"] for _ in range(2)] == [0, 1]
    await nothing_comes(layer, full)


async def test_a_membership_ends_with_group_expiry(any_layer) -> None:
    layer = any_layer(group_expiry=0.3)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await asyncio.sleep(0.5)
    await layer.group_send("room", {})
    await nothing_comes(layer, channel)


async def test_flush_removes_messages_and_groups(any_layer) -> None:
    layer = any_layer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send("jobs", {})
    await layer.flush()
    assert await layer.group_len("room") == 0
    await nothing_comes(layer, "jobs")
    await layer.send(channel, {"after": "flush"})
    assert await asyncio.wait_for(layer.receive(channel), 5) == {"after": "flush"}


async def test_new_channels_differ_and_have_their_prefix(any_layer) -> None:
    layer = any_layer()
    names = {await layer.new_channel() for _ in range(50)} | {await layer.new_channel("chat.room") for _ in range(50)}
    assert len(names) == 100
    assert sum(name.startswith("specific.") for name in names) == 50
    assert sum(name.startswith("chat.room.") for name in names) == 50
    assert all("!" in name and len(name) < 100 and layer.require_valid_channel_name(name) for name in names)


async def test_many_prefixes_have_channels_that_work(any_layer) -> None:
    layer = any_layer()
    names = [await layer.new_channel(f"prefix{number}") for number in range(150)]
    for name in names:
        await layer.send(name, {"to": str(name)})
    for name in names:
        assert await asyncio.wait_for(layer.receive(name), 5) == {"to": name}


async def test_a_closed_layer_says_so(any_layer) -> None:
    layer = any_layer()
    channel = await layer.new_channel()
    waiting = [asyncio.ensure_future(layer.receive(name)) for name in ("jobs", channel)]
    await asyncio.sleep(0.05)
    await layer.close()
    await layer.close()
    for ended in waiting:
        with pytest.raises(RuntimeError, match="closed"):
            await asyncio.wait_for(ended, 5)
    for call in layer.send("jobs", {}), layer.receive("jobs"), layer.new_channel(), layer.group_send("room", {}):
        with pytest.raises(RuntimeError, match="closed"):
            await call


async def test_a_name_may_be_copied_and_its_copy_is_received_from(any_layer) -> None:
    layer = any_layer()
    name = await layer.new_channel()
    copies = [str(name), f"{name}", json.loads(json.dumps(name)), pickle.loads(pickle.dumps(name)), copy.deepcopy(name), copy.copy(name)]
    assert {type(copied) for copied in copies} == {str} and set(copies) == {name}
    for copied in copies:
        await layer.send(copied, {"by": "copy"})
        assert await layer.receive(copied) == {"by": "copy"}
    await layer.send("jobs", {"reply_channel": name})
    assert (await layer.receive("jobs"))["reply_channel"] == name
