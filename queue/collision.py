"""Two packages of one name: PyPI's `gigq` installs into the same folder as `gigqd`."""

from __future__ import annotations

from importlib import metadata

# Uninstalling the one takes files of the other with it.
REMEDY = "pip uninstall -y gigq && pip install --force-reinstall --no-deps gigqd"


def colliding_distribution() -> str | None:
    """Name the distribution (`gigq 0.5.1`) that is installed beside ours; None when there is none.

    Which of the two a file of `gigq/` came from depends on what was installed last.
    """
    try:
        found = metadata.distribution("gigq")
    except metadata.PackageNotFoundError:
        return None
    return f"gigq {found.version}"
