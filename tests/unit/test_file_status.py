"""Which file a descriptor is open on, with statx(2) and without."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from gigq.queue import file_status
from gigq.queue.file_status import FileStatuses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["statx", "none", "forbidden"])
def statuses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FileStatuses:
    """Give what asks, also where the C library or a container's filter keeps statx away."""
    if request.param == "none":
        monkeypatch.setattr(file_status, "_statx", None)
    if request.param == "forbidden":
        ctypes = file_status.ctypes

        def refused(*_: object) -> int:
            ctypes.set_errno(file_status.errno.ENOSYS)
            return -1

        monkeypatch.setattr(file_status, "_statx", refused)
    return FileStatuses()


def test_what_it_is(statuses: FileStatuses, tmp_path: Path) -> None:
    """Device, inode, kind and links: as stat(2) tells them."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    for name in ("fifo", "file"):
        descriptor = os.open(tmp_path / name, os.O_RDWR)
        found, known = statuses.of(descriptor), os.fstat(descriptor)
        assert found == (known.st_dev, known.st_ino, known.st_mode, 1)
        assert stat.S_ISFIFO(found.mode) == (name == "fifo")
        (tmp_path / name).unlink()
        assert statuses.of(descriptor).links == 0
        os.close(descriptor)


def test_nothing_there(statuses: FileStatuses, tmp_path: Path) -> None:
    """Of what is closed it is an OSError."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        statuses.of(descriptor)
