"""The job that shows, after an installation, that jobs run, and as whom."""

from __future__ import annotations

import os
import pwd
import sys


def canary() -> dict[str, object]:
    """Tell as whom, by which Python and where this job runs."""
    user = os.geteuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return {"user": name, "python": sys.executable, "directory": os.getcwd()}  # noqa: PTH109 (text)
