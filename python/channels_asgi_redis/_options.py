"""The options of a layer, with the names of channels_redis, for the part in Rust."""

import os
from typing import Any

from ._errors import InvalidOption

#: What channels_redis takes and a layer of this package has no use for.
IGNORED = {"random_prefix_length"}
FILES = ("password_file", "tls_ca", "tls_certificate", "tls_key", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: How a server is reached: not for the local half of a layer.
OF_SERVERS = ("hosts", "host", "port", "db", "password_file", "tls_ca", "tls_certificate", "tls_key", "tls_server_name")

Patterns = list[tuple[str, Any, int]]


def read(options: dict[str, Any]) -> tuple[dict[str, Any], Patterns]:
    """Returns the options as the part in Rust reads them, and the patterns of capacities."""
    options = {name: value for name, value in options.items() if name not in IGNORED and value is not None}
    serializer = options.pop("serializer_format", "msgpack")
    if serializer != "msgpack":
        raise InvalidOption(f"option `serializer_format`: {serializer!r} is not supported; messages are always msgpack")
    if "prefix" in options:
        options["prefix"] = _prefix(options["prefix"])
    if "hosts" in options:
        options["hosts"] = _hosts(options["hosts"])
    for name in FILES:
        if isinstance(options.get(name), os.PathLike):
            options[name] = os.fspath(options[name])
    return options, _patterns(options.pop("channel_capacity", None))


def _prefix(prefix: Any) -> Any:
    # channels_redis writes "asgi" and has keys that begin with "asgi:"; here the prefix is what keys begin with.
    if isinstance(prefix, str) and prefix and not prefix.endswith(":"):
        return prefix + ":"
    return prefix


def _hosts(hosts: Any) -> Any:
    if isinstance(hosts, str) or not isinstance(hosts, (list, tuple)):
        return hosts
    for host in hosts:
        if isinstance(host, dict) and ("sentinels" in host or "master_name" in host):
            raise InvalidOption(
                "option `hosts`: Sentinel is not supported; name the servers themselves, or an address that follows the primary"
            )
    return [host.decode() if isinstance(host, bytes) else host for host in hosts]


def _patterns(capacities: Any) -> Patterns:
    """Globs are read in Rust; compiled expressions are asked here, with the meaning that they have in Python."""
    if capacities is None:
        return []
    pairs = capacities.items() if isinstance(capacities, dict) else capacities
    patterns: Patterns = []
    try:
        for pattern, capacity in pairs:
            if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
                raise InvalidOption(
                    f"option `channel_capacity`: {capacity!r} for {pattern!r} is not a whole number, 1 or more"
                )
            if hasattr(pattern, "match"):
                patterns.append((str(getattr(pattern, "pattern", pattern)), pattern.match, capacity))
            elif isinstance(pattern, str):
                patterns.append((pattern, None, capacity))
            else:
                raise InvalidOption(f"option `channel_capacity`: {pattern!r} is neither a glob nor a compiled pattern")
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(
            f"option `channel_capacity`: {capacities!r} is not a dict, or pairs, of patterns and capacities"
        ) from error
    return patterns
