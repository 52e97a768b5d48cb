"""The process: what a layer does when it forks, and when it ends."""

import atexit
import os

from . import _core

#: For so many seconds the end of a process waits until servers know that its channels are gone.
LONGEST_CLOSE = 2.0


def watch() -> None:
    os.register_at_fork(
        before=_core.before_fork,
        after_in_parent=_core.after_fork_in_parent,
        after_in_child=_in_child,
    )
    atexit.register(_core.close_all, LONGEST_CLOSE)


def _in_child() -> None:
    # With the child's copies of the sockets open, a server would not notice the end of the parent.
    for descriptor in _core.after_fork_in_child():
        try:
            os.close(descriptor)
        except OSError:
            pass
