"""The engine's scripts, as `dist/` has them for programs without Rust; a script's SHA-1 is its name on a server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 3

# The scripts that this client calls.
NAMES = ("hello", "client_tickets", "push", "pop", "fetch", "flush", "flush_inboxes", "inbox_keep", "inbox_page", "inbox_close",
         "group_change", "group_discard", "group_send", "group_list")


@dataclass(frozen=True)
class Script:
    text: bytes
    sha: str


def read_scripts(folder: Path) -> dict[str, Script]:
    """Reads the scripts that the client calls. Raises `ValueError` if one is not as the manifest tells, or of another schema."""
    manifest = {entry["name"]: entry for entry in json.loads((folder / "manifest.json").read_text())}
    scripts = {}
    for name in NAMES:
        text = (folder / f"{name}.lua").read_bytes()
        sha = hashlib.sha1(text).hexdigest()
        if (sha, SCHEMA) != (manifest[name]["sha"], manifest[name]["schema"]):
            raise ValueError(f"{folder / name}.lua is not as the manifest tells, or not of schema {SCHEMA}; check the folder out anew")
        scripts[name] = Script(text, sha)
    return scripts
