"""Channel layers for Django Channels, on the engine of asgi-redis.

In the settings of a project:

    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_asgi_redis.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:6379/0"]},
        },
    }

The module `_layers` has the layers, `_errors` what they raise, `_options` reads their options, and `_core` is the part in Rust,
which polls its calls in the step of the task that awaits them.
"""

from . import _process
from ._core import Receipt
from ._errors import (
    AlreadyReceiving,
    ChannelFull,
    ForeignChannel,
    InvalidMessage,
    InvalidName,
    InvalidOption,
    LayerClosed,
    LayerError,
    MessageTooLarge,
    NotADict,
    ServerFull,
    ServerTimeout,
    ServerUnreachable,
)
from ._layers import InMemoryChannelLayer, LocalAndRemoteChannelLayer, RedisChannelLayer
from ._lifespan import CloseLayers

__all__ = [
    "AlreadyReceiving",
    "ChannelFull",
    "CloseLayers",
    "ForeignChannel",
    "InMemoryChannelLayer",
    "InvalidMessage",
    "InvalidName",
    "InvalidOption",
    "LayerClosed",
    "LayerError",
    "LocalAndRemoteChannelLayer",
    "MessageTooLarge",
    "NotADict",
    "Receipt",
    "RedisChannelLayer",
    "ServerFull",
    "ServerTimeout",
    "ServerUnreachable",
]

_process.watch()
