"""Waiting for the ends of jobs, by looking again and again, each time a little later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gigq.cli.exits import Exit
from gigq.cli.show.progress_bar import progress_bar
from gigq.cli.show.style import note
from gigq.cli.show.words import one_line, plural, printable
from gigq.queue.explanation import FAILED_HOW
from gigq.queue.states import FINAL, HELD, STATUS, UNSUCCESSFUL, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gigq.cli.show.progress_bar import Show
    from gigq.queue.sqlite_store import SqliteStore

_FIRST_LOOK = 0.005  # seconds
_LONGEST_LOOK = 0.1
_STUCK = 2.0  # seconds without a job that runs, after which the reason is said
_NAMED = 10  # unsuccessful jobs that are named; more are counted


def wait_for(
    store: SqliteStore, jobs: Callable[[], Collection[str]], timeout: float | None = None
) -> Exit:
    """Wait until all of `jobs` have ended; the exit code that says how.

    `jobs` is asked again when all have ended: there may be more by then. A job that was cleared
    away meanwhile counts as unsuccessful, for nobody can tell.
    """
    give_up = None if timeout is None else time.monotonic() + timeout
    ended: dict[str, str] = {}
    try:
        with progress_bar() as show:
            while waiting := [uuid for uuid in jobs() if uuid not in ended]:
                left = _wait(store, waiting, ended, give_up, show)
                if left:
                    break
    except KeyboardInterrupt:
        note("not waiting any longer; the jobs go on")
        raise
    if waiting:
        note(f"not ended after {timeout:g} s: {plural(len(left), 'job')}; they go on")
        return Exit.TIMED_OUT
    return tell_ends(store, ended)


def _wait(
    store: SqliteStore,
    waiting: Sequence[str],
    ended: dict[str, str],
    give_up: float | None,
    show: Show | None,
) -> list[str]:
    """Wait for these, and note in `ended` how each did; gives those left when the time was up."""
    left = list(waiting)
    pause, stuck_at = _FIRST_LOOK, time.monotonic() + _STUCK
    while True:
        states = store.states(left)
        ended |= {uuid: states.get(uuid, "") for uuid in left if states.get(uuid, "") in _OVER}
        left = [uuid for uuid in left if uuid not in ended]
        running = sum(state in HELD for state in states.values())
        if show is not None:
            _show(store, show, left, len(ended), running)
        now = time.monotonic()
        if not left or (give_up is not None and now >= give_up):
            return left
        if running:
            stuck_at = now + _STUCK
        elif now >= stuck_at:
            stuck_at = float("inf")
            say_why(store, left[0])
        time.sleep(pause if give_up is None else min(pause, max(0, give_up - now)))
        pause = min(pause * 1.5, _LONGEST_LOOK)


_OVER = FINAL | {""}  # the latter of a job that is not there any more


def _show(store: SqliteStore, show: Show, left: list[str], ended: int, running: int) -> None:
    if len(left) != 1 or ended:
        total = ended + len(left)
        show(ended, total, f"{ended:,} of {plural(total, 'job')} ended, {running:,} running")
        return
    row = store.job(left[0])
    if row is None:
        return
    text = f"{one_line(row.name)} {STATUS[row.state].value}"
    progress = store.progress(row.execution_id) if row.execution_id and running else None
    if progress is None:
        show(0, None, text)
    else:
        show(progress.done, progress.total, f"{text} {one_line(progress.text)}".rstrip())


def say_why(store: SqliteStore, uuid: str) -> None:
    """Say what a job waits for, to somebody who waits for it."""
    from gigq.queue.explain import explain  # noqa: PLC0415 (seldom needed)

    row = store.job(uuid)
    if row is not None:
        explanation = explain(store, store.companions, row)
        text = f"waiting for {one_line(row.name)}: {printable(explanation.sentence)}"
        command = explanation.next_command
        note(f"{text} Perhaps: {printable(command)}" if command else text)


def tell_ends(store: SqliteStore, ended: dict[str, str]) -> Exit:
    """Name what did not complete; the exit code."""
    bad = [uuid for uuid, state in ended.items() if state != State.COMPLETED]
    for uuid in bad[:_NAMED]:
        row = store.job(uuid)
        if row is None:
            note(f"job {uuid} was cleared away; nobody knows how it ended")
        elif row.state in UNSUCCESSFUL:
            why = f": {one_line(row.error)}" if row.error else ""
            note(f"{one_line(row.name)} {FAILED_HOW[row.state]}{why}; more with: gigq why {uuid}")
    if len(bad) > _NAMED:
        note(f"… and {len(bad) - _NAMED:,} more that did not complete")
    return Exit.UNSUCCESSFUL if bad else Exit.DONE
