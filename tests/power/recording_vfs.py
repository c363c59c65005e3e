"""What SQLite writes, truncates, syncs and deletes, in order: a VFS around its own.

It is registered from Python with ctypes, in the library that the sqlite3 module uses, so that the
code under test opens its connections as ever. See sqlite.org/c3ref/vfs.html and
sqlite.org/c3ref/io_methods.html for the two structures.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator

_Pointer = ctypes.c_void_p
# fmt: off
_METHODS = (
    "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock",
    "xCheckReservedLock", "xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap",
    "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch",
)
_VFS_METHODS = (
    "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose",
    "xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64",
    "xSetSystemCall", "xGetSystemCall", "xNextSystemCall",
)
# fmt: on


class _IoMethods(ctypes.Structure):
    _fields_ = (("iVersion", ctypes.c_int), *((name, _Pointer) for name in _METHODS))


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", _Pointer),
        ("zName", ctypes.c_char_p),
        ("pAppData", _Pointer),
        *((name, _Pointer) for name in _VFS_METHODS),
    )


_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, _Pointer, ctypes.c_int, _Pointer)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int)
_CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int)


class Step(NamedTuple):
    """One thing that was done to a file, or something that the test noted in between."""

    kind: str  # write, truncate, sync, delete, note
    file: str
    offset: int = 0  # of a write; the new length of a truncate; the number of a note
    data: bytes = b""


class NotPossibleError(Exception):
    """The sqlite3 module's library cannot be reached from Python here."""


class RecordingVfs:
    """Records into `steps` what happens to files whose names begin with `prefix`."""

    def __init__(self, prefix: Path) -> None:
        """Prepare. Raises NotPossibleError."""
        self.steps: list[Step] = []
        self._prefix = str(prefix)
        self._library = _library()
        self._library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._default = self._library.sqlite3_vfs_find(None)
        self._names: dict[int, str] = {}
        self._originals: dict[int, int] = {}  # by file: its own methods
        self._wrapped: dict[int, _IoMethods] = {}  # by original methods: ours
        self._open = _OPEN(self._on_open)
        self._delete = _DELETE(self._on_delete)
        self._close = _CLOSE(self._on_close)
        self._write = _WRITE(self._on_write)
        self._truncate = _TRUNCATE(self._on_truncate)
        self._sync = _SYNC(self._on_sync)
        self._vfs = _Vfs.from_buffer_copy(self._default.contents)
        self._vfs.zName = b"recording"
        self._vfs.xOpen = _address(self._open)
        self._vfs.xDelete = _address(self._delete)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Be the VFS of every connection that is opened meanwhile."""
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        try:
            yield
        finally:
            self._library.sqlite3_vfs_register(self._default, 1)
            self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record as well what the program syncs past SQLite."""
        fdatasync = os.fdatasync

        def recorded(descriptor: int) -> None:
            fdatasync(descriptor)
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if path.startswith(self._prefix):
                self.steps.append(Step("sync", path))

        with patch.object(os, "fdatasync", recorded):
            yield

    def note(self, number: int) -> None:
        """Record that so far all is done that the test wants to remember as `number`."""
        self.steps.append(Step("note", "", number))

    def _on_open(
        self, vfs: int, name: int | None, file: int, flags: int, out_flags: int | None
    ) -> int:
        # The name as a pointer: what SQLite wrote behind its end belongs to it.
        code = _OPEN(self._default.contents.xOpen)(vfs, name, file, flags, out_flags)
        path = "" if name is None else ctypes.string_at(name).decode()
        if code == 0 and path.startswith(self._prefix):
            methods = _Pointer.from_address(file)
            original = methods.value or 0
            self._names[file] = path
            self._originals[file] = original
            methods.value = ctypes.addressof(self._wrap(original))
        return int(code)

    def _wrap(self, original: int) -> _IoMethods:
        if original not in self._wrapped:
            wrapped = _IoMethods.from_buffer_copy(_IoMethods.from_address(original))
            wrapped.xClose = _address(self._close)
            wrapped.xWrite = _address(self._write)
            wrapped.xTruncate = _address(self._truncate)
            wrapped.xSync = _address(self._sync)
            self._wrapped[original] = wrapped
        return self._wrapped[original]

    def _of(self, file: int) -> _IoMethods:
        return _IoMethods.from_address(self._originals[file])

    def _on_close(self, file: int) -> int:
        code = _CLOSE(self._of(file).xClose)(file)
        self._names.pop(file)
        self._originals.pop(file)
        return int(code)

    def _on_write(self, file: int, data: int, amount: int, offset: int) -> int:
        self.steps.append(Step("write", self._names[file], offset, ctypes.string_at(data, amount)))
        return int(_WRITE(self._of(file).xWrite)(file, data, amount, offset))

    def _on_truncate(self, file: int, size: int) -> int:
        self.steps.append(Step("truncate", self._names[file], size))
        return int(_TRUNCATE(self._of(file).xTruncate)(file, size))

    def _on_sync(self, file: int, flags: int) -> int:
        code = _SYNC(self._of(file).xSync)(file, flags)
        self.steps.append(Step("sync", self._names[file]))
        return int(code)

    def _on_delete(self, vfs: int, name: int, sync_folder: int) -> int:
        path = ctypes.string_at(name).decode()
        if path.startswith(self._prefix):
            self.steps.append(Step("delete", path))
        return int(_DELETE(self._default.contents.xDelete)(vfs, name, sync_folder))


def _address(function: ctypes._CFunctionType) -> int | None:
    return ctypes.cast(function, _Pointer).value


def _library() -> ctypes.CDLL:
    """Find the very library that the sqlite3 module has loaded."""
    sqlite3.connect(":memory:").close()
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.partition("/")[1] + line.partition("/")[2]
        if Path(path).name.startswith(("libsqlite3.so", "_sqlite3.")):
            library = ctypes.CDLL(path)
            if hasattr(library, "sqlite3_vfs_find"):
                return library
    message = "the library of the sqlite3 module is not to be found"
    raise NotPossibleError(message)
