"""A client of the channel layer in plain Python: `ChannelLayer` calls the scripts of `lua/` by their contract."""

from .layer import ChannelFull, ChannelLayer, MessageTooLarge, NotSent, PerhapsSent

__all__ = ["ChannelFull", "ChannelLayer", "MessageTooLarge", "NotSent", "PerhapsSent"]
