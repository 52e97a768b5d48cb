"""A clean end on servers that end by a signal: uvicorn closes its application, and then ends without `atexit`."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import channel_layers

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class CloseLayers:
    """An ASGI application that closes the layers of Channels when its server shuts down, so that the channels of this process
    leave their groups at once, and not with their lease.

        application = CloseLayers(ProtocolTypeRouter({...}))
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await self.application(scope, receive, send)
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                for layer in list(channel_layers.backends.values()):
                    if close := getattr(layer, "close", None):
                        await close()
                await send({"type": "lifespan.shutdown.complete"})
                return
