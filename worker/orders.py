"""What a supervisor tells a worker process at its start."""

from __future__ import annotations

from typing import Any, NamedTuple


class Code(NamedTuple):
    """Where a function comes from, as a claim says it."""

    import_root: str
    function_module: str
    function_name: str
    script: str | None
    python: str


_TUPLES = ("pythonpath", "allow", "descriptors")


class Orders(NamedTuple):  # a dataclass would take a tenth of a worker's start to import
    """All that a worker process needs to know. Times are seconds."""

    database: str
    name: str
    tree: str  # marks all processes that it starts
    supervisor: int  # its pid
    log: str  # the output file's name in the output folder
    life_lock: str | None = None  # the mark of the lock that it inherits
    pythonpath: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # what may be run; nothing: anything
    durable: bool = False  # wait for the disk at each claim and end
    directory: str = ""
    batch: int = 1  # jobs that are claimed and stored together at most
    kill_grace: float = 2.0
    start_timeout: float = 60.0  # within which it has to become ready
    reload: bool = True
    max_job_memory: int = 0  # bytes; 0: no limit but a job's own
    max_jobs: int = 0  # to run before it is replaced; 0: any number
    max_memory: int = 0  # bytes, beyond which it is replaced between jobs; 0: never
    tells_code: bool = False  # say where the functions of its jobs come from
    preload: tuple[Code, ...] = ()  # functions to load before it is ready
    once: bool = False  # run one job, if one is ready, and go
    # The soft limit of descriptors that it is to have, where it was given this one.
    descriptors: tuple[int, int] = (0, 0)

    def as_message(self) -> dict[str, Any]:
        """Give it as a message for the channel."""
        return {"event": "orders", **self._asdict()}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Orders:
        """Read it from the channel."""
        # Of another version, which is told so when this process says its own.
        fields = {name: value for name, value in message.items() if name in cls._fields}
        lists = {name: tuple(fields[name]) for name in _TUPLES if name in fields}
        preload = tuple(Code(*each) for each in fields.get("preload", ()))
        return cls(**{**fields, **lists, "preload": preload})
