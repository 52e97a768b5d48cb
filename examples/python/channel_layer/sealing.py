"""Payloads and names as they travel: MessagePack, sealed if there are keys, and hidden names if there is a key for them."""

from __future__ import annotations

import base64
import hashlib
import struct
from functools import lru_cache
from typing import Any, Sequence

import msgpack  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

MAX_BYTES = 2_359_296
MAX_DEPTH = 64
_MARK, _VERSION = b"\xc1", b"\x01"
_SLACK_MS = 5_000  # what a client does not know of the server's clock


class MessageTooLarge(Exception):
    """The message has more bytes, or is nested more deeply, than the layer carries."""


class Refused(Exception):
    """What came is no message of this layer, is sealed with another key, or is sealed for another place."""


class TooOld(Refused):
    """The payload was sealed too long ago."""


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, (list, tuple)) else 0


def pack(message: Any) -> bytes:
    """Returns the message as MessagePack. Raises `MessageTooLarge`, or `TypeError` for what MessagePack does not have."""
    try:
        if _depth(message) > MAX_DEPTH:
            raise MessageTooLarge(f"the message has more than {MAX_DEPTH} levels")
    except RecursionError:
        raise MessageTooLarge(f"the message has more than {MAX_DEPTH} levels") from None
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    if len(packed) > MAX_BYTES:
        raise MessageTooLarge(f"the message has {len(packed)} bytes, more than {MAX_BYTES}")
    return packed


class Envelope:
    """Seals with the first of `keys` and opens with any of them; hides names with `name_key`."""

    def __init__(self, keys: Sequence[str] = (), name_key: str | None = None) -> None:
        self._boxes = [SecretBox(_key(key)) for key in keys]
        self._names = AESSIV(_key(name_key)) if name_key is not None else None
        self.hide = lru_cache(65_536)(self._hide)
        self.show = lru_cache(65_536)(self._show)

    def _hide(self, kind: str, name: str) -> str:
        """Returns the form of a name that the server sees; the kind is `queue`, `address` or `group`."""
        if self._names is None or not name:
            return name
        padded = name.encode() + bytes(-len(name) % 16)
        text = base64.urlsafe_b64encode(self._names.encrypt(padded, [kind.encode()])).decode().rstrip("=")
        mark = "!" if name.endswith("!") else "?" if "?" in name else ""
        return text + mark if kind == "queue" else text

    def _show(self, kind: str, hidden: str) -> str:
        """Returns the name of a hidden form. Raises `Refused` if it belongs to another layer."""
        if self._names is None or not hidden:
            return hidden
        text = hidden.rstrip("!?")
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return self._names.decrypt(sealed, [kind.encode()]).rstrip(b"\0").decode()
        except (InvalidTag, ValueError):
            raise Refused(f"{hidden!r} is not a name of this layer") from None

    def seal(self, kind: bytes, name: str, packed: bytes, now_ms: int, good_for_ms: int, nonce: bytes | None = None) -> bytes:
        """Returns the payload for a channel (`c`) or a group (`g`), sealed at `now_ms` by the clock of its server.

        The nonce is random but in tests."""
        if not self._boxes:
            return packed
        plain = kind + struct.pack(">QQB", now_ms, good_for_ms, len(name)) + name.encode() + packed
        return _MARK + _VERSION + self._boxes[0].encrypt(plain, nonce)

    def open(self, kind: bytes, name: str, payload: bytes, came_ms: int) -> tuple[Any, int | None]:
        """Returns the message, and until when it may be kept, in ms of the server, or `None`.

        Raises `Refused`, and `TooOld` if the server's clock should be read again before the payload is dropped.
        """
        until: int | None = None
        if not self._boxes:
            if payload[:1] == _MARK and len(payload) >= 60:
                raise Refused("the payload is sealed, and this layer has no keys")
        elif payload[:1] != _MARK:
            raise Refused("the payload is not sealed, and this layer has keys")
        else:
            plain = self._decrypt(payload)
            sealed_ms, good_for_ms, length = struct.unpack(">QQB", plain[1:18])
            if plain[:1] != kind or plain[18:18 + length] != name.encode():
                raise Refused("the payload was sealed for another place")
            until = sealed_ms + good_for_ms + _SLACK_MS
            if came_ms > until:
                raise TooOld("the payload was sealed too long ago")
            payload = plain[18 + length:]
        try:
            return msgpack.unpackb(payload, raw=False, strict_map_key=False), until
        except (ValueError, msgpack.UnpackException) as error:
            raise Refused(f"the payload is no MessagePack: {error}") from None

    def _decrypt(self, payload: bytes) -> bytes:
        if payload[1:2] != _VERSION or len(payload) < 2 + 24 + 16 + 18:
            raise Refused("the payload is sealed in an unknown layout")
        for box in self._boxes:
            try:
                return box.decrypt(payload[2:])
            except CryptoError:
                pass
        raise Refused("the payload is sealed with a key that this layer does not have")
