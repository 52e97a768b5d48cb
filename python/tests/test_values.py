"""What a message may hold, what names are allowed, and how others are refused."""

import asyncio
import datetime
import decimal
import enum
import uuid

import pytest
from channels.exceptions import ChannelFull, MessageTooLarge
from channels_asgi_redis import InvalidMessage, InvalidName

from conftest import Make


class Colour(enum.IntEnum):
    RED = 3


VALUES = [
    None, True, False, 0, 1, -1, 31, 32, -32, -33, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769,
    65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63),
    0.0, -0.5, 1e300, float("inf"), "", "é中😀\x00", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "a" * 65536,
    b"", b"\xff" * 255, b"\xff" * 256, b"\xff" * 65536, [], [1, [2, [3]]], list(range(15)), list(range(16)), list(range(70000)),
    {}, {"a": {"b": 1}}, {n: n for n in range(15)}, {n: n for n in range(16)}, {n: n for n in range(66000)},
    {1: "int", None: "none", b"x": "bytes", -5: "negative", True: "true"},
]  # fmt: skip


async def test_values_come_back_as_they_were_sent(make: Make) -> None:
    layer = make(capacity=1000)
    for value in VALUES:
        await layer.send("jobs", {"value": value})
        back = (await layer.receive("jobs"))["value"]
        assert back == value and type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "back"),
    [((1, (2,)), [1, [2]]), (bytearray(b"ab"), b"ab"), (memoryview(b"abcd")[::2], b"ac"), (Colour.RED, 3)],
)
async def test_what_messagepack_has_one_form_of_comes_back_in_that(make: Make, value, back) -> None:
    layer = make()
    await layer.send("jobs", {"value": value})
    assert (await layer.receive("jobs"))["value"] == back


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.datetime.now(), "datetime.datetime"),
        ({1}, "a set"),
        (decimal.Decimal(1), "decimal.Decimal"),
        (uuid.uuid4(), "uuid.UUID"),
        (1j, "a complex"),
        (object(), "a object"),
    ],
)
async def test_what_cannot_be_sent_is_named_with_its_place(make: Make, value, text: str) -> None:
    layer = make()
    for refused in layer.send, layer.group_send:
        with pytest.raises(TypeError, match=r"at \['a'\]\[1\]\['b'\]: .*" + text):
            await refused("jobs", {"a": [0, {"b": value}]})


async def test_keys_that_cannot_be_carried_are_refused_at_the_send(make: Make) -> None:
    layer = make()
    for key in (1, 2), 1.5, frozenset():
        with pytest.raises(TypeError, match="a key of a dict is a (tuple|float|frozenset)"):
            await layer.send("jobs", {"a": {key: 1}})


async def test_what_is_too_deep_too_large_or_a_number_of_more_than_64_bits_is_refused(make: Make) -> None:
    layer = make(max_message_size=1000)

    def nested(levels: int) -> dict:
        value: dict = {}
        for _ in range(levels - 1):
            value = {"a": value}
        return value

    await layer.send("jobs", nested(64))
    assert await layer.receive("jobs") == nested(64)
    for message in nested(65), nested(100_000), {"a": "x" * 1000}:
        with pytest.raises(MessageTooLarge) as refused:
            await layer.send("jobs", message)
        assert not refused.value.may_retry and not refused.value.perhaps_sent
    endless: list = []
    endless.append(endless)
    with pytest.raises(MessageTooLarge):
        await layer.send("jobs", {"a": endless})
    for number in 2**64, -(2**63) - 1:
        with pytest.raises(OverflowError):
            await layer.send("jobs", {"a": number})
    with pytest.raises(UnicodeEncodeError):
        await layer.send("jobs", {"a": "\ud800"})


async def test_a_message_is_a_dict(any_layer) -> None:
    layer = any_layer()
    for message in "text", [1], None:
        for kind in AssertionError, TypeError:
            with pytest.raises(kind, match="a message is a dict"):
                await layer.send("jobs", message)
            with pytest.raises(kind, match="a message is a dict"):
                await layer.group_send("room", message)


async def test_changing_a_message_after_the_send_changes_nothing(any_layer) -> None:
    layer = any_layer()
    message = {"list": [1]}
    await layer.send("jobs", message)
    message["list"].append(2)
    assert await layer.receive("jobs") == {"list": [1]}


async def test_packed_messages_are_checked_and_meet_the_others(make: Make) -> None:
    layer = make()
    await layer.send_packed("jobs", b"\x81\xa1a\x01")
    assert await layer.receive("jobs") == {"a": 1}
    await layer.send("jobs", {"a": 2})
    assert await layer.receive_packed("jobs") == b"\x81\xa1a\x02"
    for wrong in b"", b"\x81\xa1a", b"\xc0\xc0", b"\xc1":
        with pytest.raises(InvalidMessage, match="no packed message"):
            await layer.send_packed("jobs", wrong)


BAD_NAMES = ["", "a b", "a\n", "a!b!c", "é", "a٣", "!a", "a" * 101, "a?"]


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_bad_names_are_type_errors(any_layer, name: str) -> None:
    layer = any_layer()
    for call in layer.send(name, {}), layer.receive(name), layer.group_add("room", name), layer.group_discard("room", name):
        with pytest.raises(InvalidName) as refused:
            await call
        assert isinstance(refused.value, TypeError)
    for call in layer.group_send(name, {}), layer.group_add(name, "jobs"), layer.group_len(name):
        with pytest.raises(TypeError):
            await call


async def test_names_that_are_no_text_are_type_errors(make: Make) -> None:
    layer = make()
    for name in None, 5, b"jobs":
        with pytest.raises(TypeError):
            await layer.send(name, {})
        with pytest.raises(TypeError):
            await layer.receive(name)


async def test_a_name_of_100_characters_is_allowed(make: Make) -> None:
    layer = make()
    await layer.send("a" * 100, {"n": 1})
    assert await layer.receive("a" * 100) == {"n": 1}


async def test_a_receive_from_a_channel_of_another_process_is_refused(any_layer) -> None:
    layer = any_layer()
    for kind in AssertionError, ValueError:
        with pytest.raises(kind, match="another process's"):
            await asyncio.wait_for(layer.receive("specific.other!abc"), 5)


async def test_the_names_of_channels_exceptions_are_those_of_channels(make: Make) -> None:
    layer = make(capacity=1)
    await layer.send("jobs", {})
    with pytest.raises(ChannelFull, match='channel "jobs" is full: 1 messages wait'):
        await layer.send("jobs", {})
