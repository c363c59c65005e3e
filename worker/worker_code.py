"""The code that a worker process has loaded for its jobs, and whether the files still say so.

The supervisor watches the files, and replaces whoever has loaded one that changes. That takes a
moment; who edits a file and then submits is served by the new code all the same.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.queue import clock
from gigq.worker.allowed import Allowed
from gigq.worker.import_roots import ImportRoots, stamp
from gigq.worker.orders import Code
from gigq.worker.resolve import Loader

if TYPE_CHECKING:
    from gigq.queue.records import Claim
    from gigq.worker.orders import Orders
    from gigq.worker.reporter import Reporter

_PATHS_AT_ONCE = 100  # in one message
_FRESH_FOR = 50_000  # microseconds


class WorkerCode:
    """What one worker process has loaded."""

    def __init__(self, orders: Orders, reporter: Reporter) -> None:
        """Begin with nothing."""
        self._orders = orders
        self._reporter = reporter
        self._roots = ImportRoots(orders.pythonpath)
        self.loader = Loader(self._roots, self._tell_files, Allowed(orders.allow))
        self.is_stale = False  # a file has changed since it was loaded
        self._modules = 0  # how many were loaded when files were last told
        self._watched: set[str] = set()
        self._told: set[Code] = set()
        # When files of code were last found as they were loaded, in microseconds UTC.
        self._fresh: dict[tuple[str, str, str | None], int] = {}

    def load_early(self, codes: tuple[Code, ...]) -> None:
        """Load what the jobs of others needed; why that does not work, a job will tell."""
        for code in codes:
            with suppress(Exception, KeyboardInterrupt):
                self.loader.load(code)

    def tell(self, claim: Claim) -> None:
        """Tell where a job's function comes from, for spares to load it early."""
        code = Code(*(getattr(claim, name) for name in Code._fields))
        if code not in self._told:
            self._told.add(code)
            self._reporter.tell("code", code=code)

    def is_too_old_for(self, claim: Claim) -> bool:
        """Tell whether a file has changed since this process loaded it, this job's own above all.

        Who changes a file and then submits is served by the new code. A job that became ready
        before the last look needs no other one for 50 ms: it may run as the code was before.
        """
        if self._orders.reload:
            now = clock.now()
            place = claim.import_root, claim.function_module, claim.script
            looked = self._fresh.get(place, 0)
            if not claim.ready_since < looked <= now < looked + _FRESH_FOR:
                self.is_stale |= self.loader.is_stale(claim)
                self._fresh[place] = now
        return self.is_stale

    def notice_imports(self) -> None:
        """Tell the supervisor of what a job has imported, if anything."""
        if len(sys.modules) != self._modules:
            self._tell_files()

    def _tell_files(self) -> None:
        """Tell the supervisor which files to watch."""
        if self._orders.reload:
            self._modules = len(sys.modules)
            new = sorted(self._roots.files() - self._watched)
            self._watched.update(new)
            for start in range(0, len(new), _PATHS_AT_ONCE):
                part = new[start : start + _PATHS_AT_ONCE]
                self._reporter.tell("files", stamps={file: stamp(file) for file in part})
