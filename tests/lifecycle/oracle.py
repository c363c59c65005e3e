"""What happened according to the jobs themselves, whatever the database says."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import until

from gigq.queue.identity import start_ticks

if TYPE_CHECKING:
    from pathlib import Path

Who = tuple[int, int]  # pid and start ticks


@dataclass
class Run:
    """One run of a job."""

    key: str
    worker: Who
    begin: float
    end: float | None = None
    events: list[str] = field(default_factory=list)
    processes: list[Who] = field(default_factory=list)  # that the job started
    overlaps: list[int] = field(default_factory=list)  # pids of earlier runs, seen alive

    @property
    def pid(self) -> int:
        """The worker's pid."""
        return self.worker[0]

    def alive(self) -> list[int]:
        """List those of its processes that live."""
        return [pid for pid, ticks in [self.worker, *self.processes] if start_ticks(pid) == ticks]


class Oracle:
    """Reads the notes of the jobs in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Name the file; it need not exist yet."""
        self._folder = folder
        self._notes = folder / "runs.jsonl"

    def _lines(self) -> list[dict[str, Any]]:
        text = self._notes.read_text() if self._notes.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def runs(self, key: str | None = None) -> list[Run]:
        """List the runs of a key, or all, in the order of their begin."""
        found: list[Run] = []
        last: dict[str, Run] = {}
        for line in self._lines():
            who = (line["pid"], line["ticks"])
            if line["event"] == "begin":
                last[line["key"]] = Run(line["key"], who, line["at"], overlaps=line["alive"])
                found.append(last[line["key"]])
            elif line["event"] == "process" and line["key"] in last:
                last[line["key"]].processes.append(who)
            elif line["event"] == "end":
                last[line["key"]].end = line["at"]
            elif line["key"] in last:
                last[line["key"]].events.append(line["event"])
        return [run for run in found if key in (None, run.key)]

    def wait_begun(self, key: str, times: int = 1, *, seconds: float = 30) -> Run:
        """Wait until the job has begun so many times, and give the last of these runs."""
        what = f"begin {times} of {key}"
        return until(
            lambda: len(runs := self.runs(key)) >= times and runs[times - 1],
            seconds=seconds,
            what=what,
        )

    def wait_gone(self, key: str, times: int = 1, *, seconds: float) -> float:
        """Wait until all processes of that run are dead, at most until `seconds` after its begin.

        Gives how many seconds after its begin that was seen.
        """
        begin = self.wait_begun(key, times).begin
        until(
            lambda: not self.runs(key)[times - 1].alive(),
            seconds=begin + seconds - time.monotonic(),
            what=f"death of run {times} of {key}",
        )
        return time.monotonic() - begin

    def let_go(self, *keys: str) -> None:
        """Let the jobs of `jobs.wait` end."""
        for key in keys:
            (self._folder / f"go-{key}").touch()

    def check(self) -> None:
        """Check that no job ran, with all it started, beside an earlier run of itself."""
        last: dict[str, Run] = {}
        for run in self.runs():
            assert not run.overlaps, f"{run.key} ran while {run.overlaps} of an earlier run lived"
            before = last.get(run.key)
            if before is not None and before.worker == run.worker:
                assert before.end is not None
                assert before.end <= run.begin, f"{run.key} ran twice at once"
            last[run.key] = run
