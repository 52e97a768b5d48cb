"""A client in a process of its own: prints the name of its inbox, then each message that it receives, one a line as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from channel_layer import ChannelLayer


async def main() -> None:
    async with ChannelLayer(sys.argv[1:], lease=3, keys=["a key"]) as layer:
        inbox = await layer.new_inbox("member")
        print(json.dumps(inbox), flush=True)
        while True:
            print(json.dumps(await layer.receive([inbox], block=True)), flush=True)


asyncio.run(main())
