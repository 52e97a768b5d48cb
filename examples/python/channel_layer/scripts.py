"""The engine's scripts, made from the files of `lua/`: includes are replaced, and the SHA-1 is the script's name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

# The scripts that this client calls.
NAMES = ("hello", "client_tickets", "push", "pop", "flush", "flush_inboxes", "inbox_keep", "inbox_page", "inbox_close",
         "group_change", "group_discard", "group_send", "group_list")

_INCLUDE = re.compile(r'^-- @include "(lib/[a-z_]+)"\n', re.MULTILINE)
_SLOT = re.compile(r"^local [a-z_, ]+ *= *(?:KEYS|ARGV).*\n", re.MULTILINE)

# `push` and `pop` check their arguments with these names, which the project's own build declares below the slots.
_PRELUDE = "local find, at, given, due = string.find, nil, nil, nil\nlocal stem = prefix .. 'q:'\n"


@dataclass(frozen=True)
class Script:
    name: str
    text: str
    sha: str


def expand(folder: Path, name: str) -> str:
    """Returns the text that a server gets: each file of `lib/` stands where it is first included."""
    included: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        library = match[1]
        if library in included:
            return ""
        included.add(library)
        return _INCLUDE.sub(replace, (folder / f"{library}.lua").read_text())

    text = (folder / f"{name}.lua").read_text()
    if re.search(r"^-- Checked$", text, re.MULTILINE):
        after = [slot.end() for slot in _SLOT.finditer(text)][-1]
        text = text[:after] + _PRELUDE + text[after:]
    return _INCLUDE.sub(replace, text)


def read_scripts(folder: Path) -> dict[str, Script]:
    """Reads all scripts that the client calls. Raises `FileNotFoundError` if the folder is not `lua/`."""
    texts = {name: expand(folder, name) for name in NAMES}
    return {name: Script(name, text, hashlib.sha1(text.encode()).hexdigest()) for name, text in texts.items()}
