"""The options: those of channels_redis and the engine's, in all their forms."""

import asyncio

import pytest
from channels.exceptions import InvalidChannelLayerError
from channels_asgi_redis import InMemoryChannelLayer, InvalidOption, LocalAndRemoteChannelLayer, RedisChannelLayer

from conftest import Make, Server


def hosts_of(server: Server) -> list[object]:
    port = server.port
    return [
        [server.url],
        [f"redis://127.0.0.1:{port}"],
        [f"redis://127.0.0.1:{port}?db=0"],
        [("127.0.0.1", port)],
        [["127.0.0.1", port]],
        [{"host": "127.0.0.1", "port": port}],
        [{"host": "127.0.0.1", "port": port, "db": 0}],
        [{"address": server.url}],
        [{"address": ("127.0.0.1", port), "db": 0}],
        server.url,
        f"127.0.0.1:{port}",
    ]


async def test_a_server_may_be_written_in_each_form(make: Make, server: Server) -> None:
    first = make()
    for number, hosts in enumerate(hosts_of(server)):
        await make(hosts=hosts).send("jobs", {"number": number})
        assert await first.receive("jobs") == {"number": number}


async def test_the_options_of_channels_redis_are_taken(make: Make) -> None:
    layer = make(
        expiry=30,
        group_expiry=3600,
        capacity=7,
        channel_capacity={"jobs": 2},
        symmetric_encryption_keys=["k" * 32],
        random_prefix_length=12,
        serializer_format="msgpack",
    )
    assert (layer.expiry, layer.group_expiry, layer.capacity) == (30, 3600, 7)
    assert (layer.get_capacity("jobs"), layer.get_capacity("other")) == (2, 7)
    await layer.send("jobs", {"number": 1})
    assert await layer.receive("jobs") == {"number": 1}


async def test_layers_of_one_prefix_meet_whether_it_ends_with_a_colon_or_not(make: Make, prefix: str) -> None:
    await make(prefix=prefix).send("jobs", {"number": 1})
    assert await make(prefix=prefix + ":").receive("jobs") == {"number": 1}
    assert RedisChannelLayer().prefix == RedisChannelLayer(prefix="asgi").prefix == "asgi:"


async def test_layers_with_different_keys_do_not_read_each_other(make: Make) -> None:
    await make(symmetric_encryption_keys=["a" * 32]).send("jobs", {"secret": 1})
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(make(symmetric_encryption_keys=["b" * 32]).receive("jobs"), 0.2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capactiy": 5}, 'unknown option "capactiy"; the options are'),
        ({"capacity": 0}, "option `capacity`: 0"),
        ({"capacity": "5"}, 'option `capacity`: "5" is not a whole number'),
        ({"expiry": -1}, "option `expiry`: -1"),
        ({"prefix": "a b"}, "option `prefix`"),
        ({"prefix": 5}, "option `prefix`: 5 is not a text"),
        ({"hosts": ["http://a"]}, "option `hosts`: http://a is refused"),
        ({"hosts": [{"host": "a", "retry_on_timeout": True}]}, '"retry_on_timeout" of a server is unknown'),
        ({"hosts": [{"sentinels": [("a", 1)], "master_name": "m"}]}, "Sentinel is not supported"),
        ({"hosts": ["redis://a?health_check_interval=5"]}, "`health_check_interval` has no meaning here"),
        ({"serializer_format": "json"}, "option `serializer_format`: 'json' is not supported"),
        ({"channel_capacity": {"a": 0}}, "option `channel_capacity`: 0 for 'a'"),
        ({"channel_capacity": {"a": True}}, "option `channel_capacity`: True for 'a'"),
        ({"channel_capacity": {5: 1}}, "5 is neither a glob nor a compiled pattern"),
        ({"channel_capacity": 5}, "option `channel_capacity`: 5 is not a dict"),
        ({"channel_capacity": {"": 5}}, "it is empty"),
        ({"symmetric_encryption_keys": [""]}, "option `symmetric_encryption_keys`"),
        ({"hosts": [{"host": "a", "ssl": True, "ssl_cert_reqs": "none"}]}, "certificates are always checked"),
    ],
)
def test_a_wrong_option_is_refused_when_the_layer_is_made(options: dict, text: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        RedisChannelLayer(**options)
    assert text in str(refused.value)
    assert isinstance(refused.value, InvalidChannelLayerError) and isinstance(refused.value, ValueError)


@pytest.mark.parametrize("make", [InMemoryChannelLayer, LocalAndRemoteChannelLayer, RedisChannelLayer])
def test_each_layer_refuses_what_it_does_not_know(make: type) -> None:
    with pytest.raises(InvalidOption, match='unknown option "sentinel_kwargs"'):
        make(sentinel_kwargs={})


@pytest.mark.parametrize(
    "hosts",
    [
        [{"host": "redis.internal", "ssl": True, "username": "worker", "password": "secret", "ssl_cert_reqs": "required"}],
        [{"address": "rediss://redis.internal:6380/1"}],
        ["rediss://:secret@redis.internal"],
        ["unix:///run/redis.sock?db=3"],
    ],
)
def test_servers_with_tls_and_sockets_are_read(hosts: list) -> None:
    RedisChannelLayer(hosts=hosts)


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    for hosts in [{"address": "rediss://redis.internal", "ssl_ca_certs": str(tmp_path / "ca.pem")}], None:
        with pytest.raises(InvalidOption, match=f"{tmp_path}.*No such file"):
            RedisChannelLayer(hosts=hosts or ["rediss://redis.internal"], tls_ca=None if hosts else tmp_path / "ca.pem")


def test_no_error_shows_a_password() -> None:
    for hosts in ["redis://:secret@a/x"], [{"host": "a b", "password": "secret"}], [("redis://:secret@a", 1)]:
        with pytest.raises(InvalidOption) as refused:
            RedisChannelLayer(hosts=hosts)
        assert "secret" not in str(refused.value)


async def test_django_makes_the_layers_by_their_names(server: Server, prefix: str) -> None:
    from channels.layers import ChannelLayerManager
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    config = {"hosts": [server.url], "prefix": prefix}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_asgi_redis.RedisChannelLayer", "CONFIG": config},
        "memory": {"BACKEND": "channels_asgi_redis.InMemoryChannelLayer"},
        "both": {"BACKEND": "channels_asgi_redis.LocalAndRemoteChannelLayer", "CONFIG": config},
    }
    for alias in settings.CHANNEL_LAYERS:
        layer = ChannelLayerManager()[alias]
        await layer.send("jobs", {"alias": alias})
        assert await layer.receive("jobs") == {"alias": alias}
        await layer.close()
