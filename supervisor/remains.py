"""What dead workers leave: processes that have become children of this one, and have to die."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gigq.worker.process_tree import children, is_dead, kill_children, tree_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.worker.child import Child


class Remains:
    """The dead whose processes may still live."""

    def __init__(self, is_ours: Callable[[int], bool]) -> None:
        """Spare what `is_ours`: living workers, and other children that no worker started."""
        self._is_ours = is_ours
        self._dead: list[Child] = []  # reaped
        self._not_ours: frozenset[int] = frozenset()

    def spare_those_before(self) -> None:
        """Spare the children of the program that became this one by exec."""
        self._not_ours = frozenset(children())

    def add(self, child: Child) -> None:
        """Sweep behind this child, which was reaped."""
        self._dead.append(child)

    @property
    def are_dying(self) -> bool:
        """Whether to sweep again at once: something was killed, and can die."""
        return any(not child.is_stuck for child in self._dead)

    def sweep(self) -> list[Child]:
        """Kill what the dead have left; gives those of whom nothing lives any more."""
        if not self._dead:
            return []
        try:
            left = kill_children(self._is_spared)
            gone = self._without_the_stuck() if left else list(self._dead)
        except OSError:  # too few descriptors: the next look may have one
            return []
        self._dead = [child for child in self._dead if child not in gone]
        return gone

    def _without_the_stuck(self) -> list[Child]:
        """List the dead of whom nothing lives, where something does that cannot be killed.

        That keeps the job claimed whose it is, and no other's.
        """
        if not any(child.is_stuck for child in self._dead):
            return []
        trees = {self._tree_of(pid) for pid in children() if not self._is_spared(pid)}
        unknown = None in trees
        return [each for each in self._dead if not unknown and each.orders.tree not in trees]

    def _tree_of(self, pid: int) -> str | None:
        """Tell whose it is; of another user's process, sudo say, by its session."""
        tree = tree_name(pid)
        if tree is None:
            with suppress(ProcessLookupError):
                session = os.getsid(pid)
                return next((c.orders.tree for c in self._dead if c.pid == session), None)
        return tree

    def _is_spared(self, pid: int) -> bool:
        """Tell a worker, and what no worker has started, from what a dead worker left."""
        if self._is_ours(pid) or pid in self._not_ours:
            return True
        # The first process of a container inherits from everybody in it, and has to bury them.
        return os.getpid() == 1 and not is_dead(pid) and tree_name(pid) is None
