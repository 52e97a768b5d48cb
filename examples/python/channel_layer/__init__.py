"""A client of the channel layer in plain Python: `ChannelLayer` calls the scripts of the engine by the contract in `lua/README.md`."""

from .layer import ChannelFull, ChannelLayer, MessageTooLarge, NotSent, PerhapsSent

__all__ = ["ChannelFull", "ChannelLayer", "MessageTooLarge", "NotSent", "PerhapsSent"]
