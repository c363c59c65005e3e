"""How often this process is a fork of another one: cheaper to ask than its pid, a system call."""

from __future__ import annotations

import os

count = 0


def _note() -> None:
    global count  # noqa: PLW0603 (there is one process)
    count += 1


os.register_at_fork(after_in_child=_note)
