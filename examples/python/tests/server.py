"""Real servers for the tests: each is a process of `redis-server` on a free port of the loopback, ended by its test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis


class Server:
    """A server with a folder of its own. With `keeps`, each reply is on disk before it is sent."""

    def __init__(self, keeps: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="channel-layer-"))
        self._keeps = keeps
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        keeps = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps else ["--appendonly", "no"]
        program = [os.environ.get("REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port", str(self.port),
                   "--dir", str(self._folder), "--save", "", *keeps]
        # The shell ends the server when this process closes the pipe or is killed itself.
        self._process = subprocess.Popen(["sh", "-c", '"$@" & read -r _; kill -9 $!; wait $! 2>/dev/null', "sh", *program],
                                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while True:
            try:
                self.command("PING")
                return
            except redis.RedisError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def command(self, *words: Any) -> Any:
        """Makes one call over a connection of its own."""
        with redis.Redis(port=self.port, host="127.0.0.1") as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        """Ends the process at once, as `kill -9` does. Its files stay for `start`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
