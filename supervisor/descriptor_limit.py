"""How many descriptors a service may have open: each of its workers takes eight of them.

Programs are started with a soft limit of 1024 because select(2) cannot wait on higher ones, and
raise it themselves where they do not use that (systemd.exec(5), "LimitNOFILE="). Jobs may use it:
workers get back the limit that the service was started with.
"""

from __future__ import annotations

import resource
from contextlib import suppress

_MOST = 65_536  # where the hard limit is far beyond, or none


def raise_descriptor_limit() -> int:
    """Use what the hard limit allows; gives the soft limit that was there before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft
