"""What one job finds as the one before it did: signals, environment, umask, streams, limits.

A worker process runs many jobs. What a job changes of the process and leaves changed is put back
before the next one begins, and said, with the job's name. The working directory is set for each
job anyway.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal.getsignal is ten times as slow
import errno
import faulthandler
import fcntl
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gigq.queue.descriptor_marks import INPUT, OUTPUT, STACKS, DescriptorMarks
from gigq.queue.output import give_back_middle
from gigq.queue.user_connections import roll_back_connections

if TYPE_CHECKING:
    from collections.abc import Iterable

_STREAMS = {0: INPUT, 1: OUTPUT, 2: OUTPUT}  # standard output and error are one file
# Descriptors below are more likely to be closed or replaced by a job.
_FIRST_SAVED = 10
_FIRST_OF_STACKS = 500  # nobody can look first where a signal writes to it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
# That would fell the next job, or the worker where it stores what became of this one.
_LIMITS = (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_AS)
_DUMP = signal.SIGUSR1
_LONGEST_STACKS = 1 << 16  # bytes
_FILLED_WITHIN = 100_000  # nanoseconds: a fifth of what half a thousand open(2) take at the least
_SIGNALS = (  # that jobs and their libraries use; to look at all 62 would cost 30 µs a job
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCHLD,
    signal.SIGPIPE,
)


class Surroundings:
    """The state of this process that jobs share, as it was when this was made."""

    def __init__(self, stacks: int) -> None:
        """Take note of everything; let SIGUSR1 write the stacks of all threads to `stacks`."""
        self._stacks = _moved(stacks)
        faulthandler.register(_DUMP, file=self._stacks, all_threads=True)
        self._handlers: tuple[Any, ...] = tuple(map(_signal.getsignal, _SIGNALS))
        self._environ = os.environ
        self._environment = dict(os.environ)
        # Its own dictionary, already encoded: to compare that costs a fortieth of going through it.
        self._raw_environment = dict(vars(os.environ)["_data"])
        self._umask = _umask()
        self._limits = tuple(map(resource.getrlimit, _LIMITS))
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._saved = {
            number: fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_SAVED) for number in _STREAMS
        }
        self._output = self._saved[1]  # standard output, whatever a job does to descriptor 1
        self._files, self._own_files = DescriptorMarks(), DescriptorMarks()
        with suppress(OSError):  # a kernel that knows no marks
            self._files.mark(_STREAMS)
            self._own_files.mark({self._output: OUTPUT, self._stacks: STACKS})
        self._most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._unlooked = 0  # nanoseconds of jobs since descriptors were looked at
        self.are_spoiled = False  # something could not be put back, or nobody knows what

    def restore(self) -> list[str]:
        """Put back what was changed since; gives the names of what was."""
        changed: list[str] = []
        # Blocked, the signal of a deadline would never come.
        blocked = _signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if blocked or tuple(map(_signal.getsignal, _SIGNALS)) != self._handlers:
            changed.append("signals")
            self._restore_handlers()
        if _signal.getitimer(signal.ITIMER_REAL)[0]:
            changed.append("timer")
            signal.setitimer(signal.ITIMER_REAL, 0)
        if os.environ is not self._environ or vars(os.environ)["_data"] != self._raw_environment:
            changed.append("environment")
            self._restore_environment()
        if os.umask(self._umask) != self._umask:
            changed.append("umask")
        if self._restore_streams():
            changed.append("streams")
        if tuple(map(resource.getrlimit, _LIMITS)) != self._limits:
            changed.append("limits")
            self._restore_limits()
        if roll_back_connections():
            changed.append("transaction")
        return changed

    def is_crowded(self, lasted: int) -> bool:
        """Tell whether jobs have left so many descriptors open that the next one may find none.

        The last one has taken `lasted` nanoseconds. To open so many takes its time: after short
        jobs it is not looked.
        """
        self._unlooked += lasted
        if self._unlooked < _FILLED_WITHIN:
            return False
        self._unlooked = 0
        try:
            lowest = os.dup(self._output)
        except OSError:
            return True
        os.close(lowest)
        return lowest > self._most_descriptors

    def _restore_handlers(self) -> None:
        for number, handler in zip(_SIGNALS, self._handlers, strict=True):
            if _signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                if number == _DUMP:  # Python does not know of the handler that was there
                    faulthandler.unregister(_DUMP)
                    faulthandler.register(_DUMP, file=self._stacks, all_threads=True)

    def _restore_environment(self) -> None:
        os.environ = self._environ  # noqa: B003 (a job has put another mapping there)
        for name in set(os.environ) - set(self._environment):
            del os.environ[name]
        os.environ.update(self._environment)

    def _restore_limits(self) -> None:
        for limit, (soft, hard) in zip(_LIMITS, self._limits, strict=True):
            try:
                resource.setrlimit(limit, (soft, hard))
            except (OSError, ValueError):  # only root may raise a hard one again
                self.are_spoiled = True

    def _restore_streams(self) -> bool:
        try:
            changed = (sys.stdin, sys.stdout, sys.stderr) != self._streams
        except AttributeError:  # a job has deleted one
            changed = True
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if not self._files.are_there():
            changed = True
            for number in _STREAMS:
                os.dup2(self._saved[number], number)
            self.are_spoiled |= not self._files.are_there()
        if _any_is_closed(self._streams):
            changed = True
            for number, stream in enumerate(self._streams):
                if _any_is_closed((stream,)):
                    self._reopen(number)
        return changed

    def flush(self) -> OSError | None:
        """Write what the job has printed; gives the error of a disk that does not take it.

        What cannot be written is forgotten: it would be tried again with the next job's output.
        """
        stdout: Any = getattr(sys, "stdout", None)
        if stdout is not self._streams[1]:
            with suppress(Exception):  # whatever a job has put there; mostly it leads to ours
                stdout.flush()
        try:
            self._streams[1].flush()
        except ValueError:  # a job has closed it, or taken its buffer
            return None
        except OSError as error:
            self._discard_output()
            return error if error.errno in _NO_ROOM else None
        return None

    def _discard_output(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for number in (1, 2):
            os.dup2(nothing, number)
            with suppress(OSError, ValueError):  # closed by a job
                self._streams[number].flush()
            os.dup2(self._saved[number], number)
        os.close(nothing)

    # The files behind it

    def output_end(self, otherwise: int = 0) -> int:
        """Tell how long the output is; `otherwise` where a job has closed it."""
        try:
            # What a job prints is appended, wherever the descriptor stands.
            return os.lseek(self._output, 0, os.SEEK_END)
        except OSError:
            self.are_spoiled = True
            return otherwise

    def shorten_output(self, start: int, end: int) -> None:
        """Keep head and tail of the part from `start` to `end`, if it is long."""
        if self._own_files.are_there():
            give_back_middle(self._output, start, end)

    def take_stacks(self) -> str:
        """Read the stacks that were dumped for this job; the next one's must be its own."""
        if not self._own_files.are_there():  # what a job has opened in their place is left alone
            return ""
        stacks = os.pread(self._stacks, _LONGEST_STACKS, 0).decode(errors="replace")
        os.ftruncate(self._stacks, 0)
        os.lseek(self._stacks, 0, os.SEEK_SET)
        return stacks

    def _reopen(self, number: int) -> None:
        """Make a new stream in place of one that a job has closed, and its descriptor with it."""
        os.dup2(self._saved[number], number)
        stream = open(  # noqa: SIM115 (it stays open)
            number, "r" if number == 0 else "w", buffering=1, closefd=False, encoding="utf-8"
        )
        streams = list(self._streams)
        streams[number] = stream
        sys.stdin, sys.stdout, sys.stderr = self._streams = tuple(streams)  # type: ignore[assignment]


def _any_is_closed(streams: Iterable[Any]) -> bool:
    try:
        for stream in streams:
            if stream.closed:
                return True
    except ValueError:  # its buffer was taken
        return True
    return False


def _moved(descriptor: int) -> int:
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_OF_STACKS)
    except OSError:  # there may be no such number
        return descriptor
    os.close(descriptor)
    return moved


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
