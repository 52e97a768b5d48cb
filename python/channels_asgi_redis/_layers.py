"""The layers, as Channels has them: `BaseChannelLayer`, over the part in Rust."""

from typing import Any

from channels.layers import BaseChannelLayer

from . import _core, _options
from ._core import Receipt
from ._errors import NotADict

Message = dict[str, Any]


class _Name(str):
    """The name of a new channel. Its mailbox ends a while after the name is gone; a copy of the name is a plain text."""

    _owner: _core.MailboxOwner

    def __reduce__(self) -> Any:
        return str, (str(self),)

    def __copy__(self) -> str:
        return str(self)

    def __deepcopy__(self, _: Any) -> str:
        return str(self)


class _Layer(BaseChannelLayer):
    """What all layers have. Each may be used from any number of event loops and threads, and in the children of a fork."""

    extensions = ["groups", "flush"]
    _engine: _core.Layer

    def __init__(self, kind: str, options: dict[str, Any], local: str | None = None) -> None:
        read, patterns = _options.read(options)
        of_local = None
        if local is not None:
            shared = {name: value for name, value in read.items() if name not in _options.OF_SERVERS}
            of_local = shared | {"hosts": local}
        self._engine = _core.Layer(kind, read, patterns, of_local)
        # As others have them, to be looked at.
        super().__init__(expiry=read.get("expiry", 60), capacity=read.get("capacity", 100))
        self.group_expiry = read.get("group_expiry", 86400)
        self.channel_capacity = self.compile_capacities(dict(options.get("channel_capacity") or {}))
        self.prefix = read.get("prefix", "asgi:")
        self.hosts = options.get("hosts")

    async def send(self, channel: str, message: Message) -> None:
        """Sends a message. It raises ChannelFull at once if as many wait as the channel's capacity."""
        return await self._engine.send(channel, _checked(message))

    async def receive(self, channel: str) -> Message:
        """Waits for the next message. It may be cancelled at any point: that loses, repeats and reorders nothing."""
        message: Message = await self._engine.receive(channel)
        return message

    async def new_channel(self, prefix: str = "specific") -> str:
        """Returns the name of a new channel that only this process receives from. The channel lives as long as the name."""
        text, owner = await self._engine.new_channel(prefix)
        name = _Name(text)
        name._owner = owner
        return name

    async def group_add(self, group: str, channel: str) -> None:
        """Adds a channel to a group, or renews its membership. When this returns, it gets what is sent from now on."""
        return await self._engine.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Takes a channel out of a group; one that is not in it is no error."""
        return await self._engine.group_discard(group, channel)

    async def group_send(self, group: str, message: Message) -> Receipt:
        """Sends a message to each channel of a group. It never fails for a full one; the receipt counts these."""
        return await self._engine.group_send(group, _checked(message))

    async def group_len(self, group: str) -> int:
        """Counts the channels in a group."""
        return await self._engine.group_len(group)

    async def health(self) -> list[dict[str, Any]]:
        """Asks each server how it is: host, is_up, latency in seconds, version, eviction_policy, error."""
        return await self._engine.health()

    async def flush(self) -> None:
        """Removes all messages and groups of the layer."""
        return await self._engine.flush()

    async def close(self) -> None:
        """Ends the layer: channels of this process leave their groups, what was taken goes back, receives that wait end."""
        return await self._engine.close()

    async def close_pools(self) -> None:
        """Does nothing: connections belong to no event loop. channels_redis has it."""

    def send_sync(self, channel: str, message: Message) -> None:
        """As send(), for a thread without an event loop; cheaper than async_to_sync."""
        return self._engine.send(channel, _checked(message)).wait()

    def group_send_sync(self, group: str, message: Message) -> Receipt:
        """As group_send(), for a thread without an event loop; cheaper than async_to_sync."""
        return self._engine.group_send(group, _checked(message)).wait()

    async def send_packed(self, channel: str, message: bytes) -> None:
        """As send(), of a message that is MessagePack already; its form is checked."""
        return await self._engine.send_packed(channel, message)

    async def receive_packed(self, channel: str) -> bytes:
        """As receive(), without unpacking."""
        return await self._engine.receive_packed(channel)

    def __str__(self) -> str:
        return f"{type(self).__name__}()"


class RedisChannelLayer(_Layer):
    """A layer on one or several servers of Redis or Valkey. Its options are those of channels_redis, and the engine's.

    It connects with its first call, so it may be made before a process forks.
    """

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__("redis", {"hosts": hosts} | options)


class InMemoryChannelLayer(_Layer):
    """The same layer in one process, without a server."""

    def __init__(self, **options: Any) -> None:
        super().__init__("memory", options)


class LocalAndRemoteChannelLayer(_Layer):
    """Two layers as one: normal channels stay on this machine, all others and groups go through the servers of `hosts`.

    `local` names a server of this machine, such as "unix:///run/redis.sock"; without it they stay in this process.
    """

    def __init__(self, hosts: Any = None, local: str | None = None, **options: Any) -> None:
        super().__init__("local", {"hosts": hosts} | options, local)


def _checked(message: Any) -> Message:
    if not isinstance(message, dict):
        raise NotADict(f"a message is a dict, not a {type(message).__name__}")
    return message
