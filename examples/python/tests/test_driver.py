"""The client under the driver of the crate, `asgi-redis conformance`; and broken on purpose, which the driver must notice.

Skipped without a built `asgi-redis`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("ASGI_REDIS", ROOT / "target/debug/asgi-redis"))

# How the client is broken, and which rules the driver must then find broken.
BROKEN = {
    "repeats_a_push": "sender/R12",
    "sends_no_fence": "sender/R15",
    "does_not_beat": "waiter/R7",
    "forgets_acknowledgements": "waiter/R8",
    "delivers_copies": "waiter/R9",
    "keeps_what_was_cancelled": "waiter/R10",
    "greets_at_once": "waiter/R11",
    "ignores_moved": "waiter/R30",
    "ignores_announcements": "waiter/R57",
    "asks_for_whole_replies": "waiter/R58",
    "shares_nothing": "servers/shares",
    "gives_to_all_who_ever_joined": "inbox/R23",
    "believes_no_loss": "inbox/R21",
    "leaves_its_inbox": "inbox/R29",
    "opens_what_was_moved": "sealing/place",
}


@unittest.skipUnless(PROGRAM.exists(), "the crate's program is not built")
class Driver(unittest.IsolatedAsyncioTestCase):
    async def drive(self, *arguments: str, broken: str | None = None) -> tuple[int | None, list[Any], str]:
        """Runs the driver. Returns its exit status, what it printed and what went to standard error."""
        environment = os.environ | ({"BREAK": broken} if broken else {})
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "--json", "conformance", "--peer", f"{sys.executable} -m tests.peer", *arguments, cwd=ROOT / "examples/python",
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(), 400)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()

    async def test_all_rules_hold(self) -> None:
        status, lines, err = await self.drive()
        self.assertEqual([line for line in lines if line["outcome"] != "holds"], [])
        self.assertEqual(status, 0, err)
        self.assertGreater(len(lines), 50)

    async def test_each_broken_rule_is_found(self) -> None:
        turns = asyncio.Semaphore(3)

        async def find(broken: str, rule: str) -> None:
            async with turns:
                status, lines, err = await self.drive("--only", rule, broken=broken)
            with self.subTest(broken):
                self.assertEqual([f"{line['tier']}/{line['rule']} {line['outcome']}" for line in lines], [f"{rule} broken"], err)
                self.assertEqual(status, 1, err)

        await asyncio.gather(*(find(broken, rule) for broken, rule in BROKEN.items()))


if __name__ == "__main__":
    unittest.main()
