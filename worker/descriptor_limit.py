"""How many descriptors a service may have open: each of its workers takes eight of them.

Programs are started with a soft limit of 1024 because select(2) cannot wait on higher ones, and
raise it themselves where they do not use that (systemd.exec(5), "LimitNOFILE="). Jobs may use it:
workers get back the limit that the service was started with.
"""

from __future__ import annotations

import resource
from contextlib import suppress

_MOST = 65_536  # where the hard limit is far beyond, or none


def raise_descriptor_limit() -> tuple[int, int]:
    """Use what the hard limit allows; gives the soft limit that was there before, and now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def lower_descriptor_limit(before: int, raised: int) -> None:
    """Let a child have the soft limit from before, unless it was started with one of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == raised != before:
        with suppress(OSError, ValueError):  # nor may it be lowered, perhaps
            resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
