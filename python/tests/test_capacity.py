"""Capacity is exact with any number of senders, and one slow reader harms no neighbour."""

import asyncio
import re
import sys

import pytest
from channels.exceptions import ChannelFull

from conftest import Make


async def test_of_400_senders_exactly_as_many_are_accepted_as_the_capacity(make: Make) -> None:
    layers = [make(capacity=100) for _ in range(4)]
    sends = (layers[number % 4].send("jobs", {"number": number}) for number in range(400))
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    full = [outcome for outcome in outcomes if outcome is not None]
    assert len(full) == 300 and all(isinstance(outcome, ChannelFull) for outcome in full)
    assert all(outcome.may_retry and not outcome.perhaps_sent for outcome in full)
    received = [(await layers[0].receive("jobs"))["number"] for _ in range(100)]
    assert sorted(received) == [number for number, outcome in enumerate(outcomes) if outcome is None]


async def test_a_channel_that_is_not_read_holds_up_no_neighbour(make: Make) -> None:
    layer = make(capacity=5)
    unread, read = await layer.new_channel(), await layer.new_channel()
    for channel in unread, read:
        await layer.group_add("room", channel)
    for number in range(200):
        await layer.group_send("room", {"number": number})
        assert await asyncio.wait_for(layer.receive(read), 5) == {"number": number}
    assert [(await layer.receive(unread))["number"] for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(layer.receive(unread), 0.1)


@pytest.mark.parametrize(
    ("pattern", "channel", "other"),
    [
        ("tiny*", "tiny.1", "large"),
        (re.compile(r"^tiny\.\d+$"), "tiny.1", "tiny.x"),
        (re.compile(r"TINY", re.IGNORECASE), "tiny", "large"),
        (re.compile(r"(?!large)"), "tiny", "large"),  # look-around, which the engine's own expressions do not have
        (re.compile(r"(a|b)\1"), "aa", "ab"),  # a backreference
    ],
)
async def test_patterns_mean_what_they_mean_in_python(any_layer, pattern, channel: str, other: str) -> None:
    layer = any_layer(capacity=8, channel_capacity={pattern: 2, "unused": 4})
    for name, capacity in (channel, 2), (other, 8):
        assert layer.get_capacity(name) == capacity
        for _ in range(capacity):
            await layer.send(name, {})
        with pytest.raises(ChannelFull):
            await layer.send(name, {})


async def test_the_first_pattern_that_matches_counts(make: Make) -> None:
    layer = make(channel_capacity=[("jobs", 1), (re.compile("jobs"), 2), ("*", 3)])
    for name, capacity in ("jobs", 1), ("jobs2", 2), ("other", 3):
        outcomes = await asyncio.gather(*(layer.send(name, {}) for _ in range(5)), return_exceptions=True)
        assert outcomes.count(None) == capacity, name


async def test_a_pattern_that_fails_matches_nothing_and_is_told_of(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        pattern = "odd"

        def match(self, name: str) -> bool:
            raise KeyError(name)

    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))
    layer = make(channel_capacity={Odd(): 1})
    for number in range(3):
        await layer.send("jobs", {"number": number})
    assert await layer.receive("jobs") == {"number": 0}
    assert isinstance(told[0], KeyError)
