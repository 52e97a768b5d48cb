"""What the layers raise. Each exception is also the one that Channels, or Python, has for it."""

import builtins

from channels import exceptions


class LayerError(Exception):
    """Any failure of a layer."""

    #: Whether the same call may succeed later and cannot deliver a message twice.
    may_retry: bool = False
    #: Whether the message may have arrived although the call failed.
    perhaps_sent: bool = False


class ChannelFull(LayerError, exceptions.ChannelFull):
    """As many messages wait as the channel's capacity; nothing was sent."""


class MessageTooLarge(LayerError, exceptions.MessageTooLarge):
    """The message is larger than the layer carries, or nested too deeply; nothing was sent."""


class ServerUnreachable(LayerError, builtins.ConnectionError):
    """The server cannot be reached, or does not serve this layer."""


class ServerTimeout(LayerError, builtins.TimeoutError):
    """The server did not answer in time."""


class ServerFull(LayerError):
    """The server has no memory left for the message; nothing was sent."""


class InvalidName(LayerError, TypeError):
    """The name of a channel or group is not allowed."""


class InvalidMessage(LayerError, ValueError):
    """The bytes are no message of this layer."""


class NotADict(InvalidMessage, TypeError, AssertionError):
    """A message that is no dict. Channels asserts that it is one."""


class InvalidOption(LayerError, exceptions.InvalidChannelLayerError):
    """An option is unknown, or its value is wrong."""


class ForeignChannel(LayerError, ValueError, AssertionError):
    """A receive from a channel of another process, or from one that has ended."""


class AlreadyReceiving(LayerError, RuntimeError):
    """Another receive waits on this single-reader channel."""


class LayerClosed(LayerError, RuntimeError):
    """The layer was closed."""
