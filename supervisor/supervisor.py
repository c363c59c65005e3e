"""The service: spawns workers, watches them, kills what runs too long, takes back, reports.

`run` reads from top to bottom; `_turn` is one turn of the loop. Deadlines, kills and reaping happen
on the main thread and never wait for the database; what is to be decided there goes to the store
thread, and only after the worker and all it started are seen dead.
"""

from __future__ import annotations

import functools
import os
import selectors
import signal
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigq.queue import clock
from gigq.queue.errors import SettingsError
from gigq.queue.events import EVENTS
from gigq.supervisor.commands import Commands
from gigq.supervisor.configuration import Configuration
from gigq.supervisor.control import ControlServer
from gigq.supervisor.followed_files import FollowedFiles
from gigq.supervisor.housekeeping import Housekeeping
from gigq.supervisor.http_process import HttpProcess
from gigq.supervisor.notify import ServiceManager
from gigq.supervisor.output_stream import OutputStream
from gigq.supervisor.pool import Pool
from gigq.supervisor.reclaims import Reclaims
from gigq.supervisor.remains import Remains
from gigq.supervisor.served_file import Place, ServedFile
from gigq.supervisor.status_text import describe_state
from gigq.supervisor.store_thread import StoreThread
from gigq.supervisor.store_trouble import StoreTrouble
from gigq.supervisor.survey import Survey
from gigq.version import __version__
from gigq.worker.child import Child, ChildState
from gigq.worker.descriptor_limit import raise_descriptor_limit
from gigq.worker.process_tree import become_subreaper
from gigq.worker.service_worker import TICK

if TYPE_CHECKING:
    from gigq.queue.companions import Companions
    from gigq.queue.settings import Settings
    from gigq.supervisor.log import Log

_SECOND = 1_000_000_000
_FOLLOW = 0.1  # seconds between looks at what running jobs print, and at what became of them
_LIVELY = _SECOND  # for so long after the last job it is looked as often
_AWAITED = 0.01  # seconds between looks whether an order has had its effect
_SWEEP = 0.001  # seconds between looks while a dead worker's processes die
_LAST_RECORDS = 10.0  # seconds for the database to take what is left at the end
_KILL_AFTER = 5.0  # seconds after kill_grace before a stopping service kills whatever is left
_LOOKED_AT_FILE = 0.5  # seconds between looks whether the database still has its name
_NAME = "the file's name"  # where workers in trouble have their trees
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


class Supervisor:
    """One service on one database."""

    def __init__(
        self,
        settings: Settings,
        configuration: Path | None,
        companions: Companions,
        log: Log,
        *,
        count: int | None = None,
        worker_name: str | None = None,
        once: bool = False,
    ) -> None:
        """Prepare.

        `count` and `worker_name` are the command line's; with `once`, each worker runs one job at
        most, and none is replaced.
        """
        self._settings = settings
        self._configuration = Configuration(configuration, settings, log)
        self._companions = companions
        self._log = log
        self._pool = Pool(
            settings, companions, log, count=count, worker_name=worker_name, once=once
        )
        self._once = once
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain_wake)
        self._store = StoreThread(Path(settings.database), self._wake)
        self._store.on_damage = self._give_up
        self._trouble = StoreTrouble(log, self._store, self._pool.hold_claims, self._pool.give_up)
        self.is_damaged = False  # the database; a restart would not help
        self.is_replaced = False  # by another file; a restart serves that
        self._files = FollowedFiles(configuration, self._wake, log)
        self._signals: deque[int] = deque()
        self._ready: set[Child] = set()
        self._remains = Remains(self._is_ours)
        self._reclaims = Reclaims(self._store, log, companions.doorbell)
        self._survey = Survey(
            self._store,
            Path(settings.database),
            self._reclaims.tell,
            self._pool.cancel,
            self._pool.wake_one,
        )
        self._survey.listen(self._selector)
        self._file = ServedFile(Path(settings.database))
        self._next_look_at_file = 0
        self._streams: dict[Child, OutputStream] = {}
        self._lively_until = 0  # something has just happened, and more may
        self._draining_until: int | None = None
        self._killing_at: int | None = None
        self._next_follow = 0
        self._control: ControlServer | None = None
        self._housekeeping: Housekeeping | None = None
        self._http: HttpProcess | None = None
        self._manager = ServiceManager()
        self._started_at = clock.now()

    def listen(self) -> None:
        """Take orders, keep house, and answer HTTP if that is wanted; for who holds the lock."""
        commands = Commands(self._pool, self._store, self._reload, self._facts)
        self._control = ControlServer(self._companions.control, commands.handle)
        self._selector.register(self._control.socket, selectors.EVENT_READ, self._control.accept)
        self._housekeeping = Housekeeping(
            self._store, self._log, self._settings.retention, self._pool.output_files
        )
        self._http = HttpProcess(
            self._settings.http.listen,
            self._settings.database,
            self._companions,
            self._log,
            self._selector,
        )

    def _facts(self) -> dict[str, Any]:
        path = self._configuration.path
        return {
            "version": __version__,
            "pid": os.getpid(),
            "database": self._settings.database,
            "configuration": path and str(path),
            "started_at": clock.offset_text(self._started_at),
            "state": "running" if self._draining_until is None else "draining",
            "last_reload_successful": not self._configuration.refused,
            "configuration_refused": self._configuration.refused or None,
            "trouble": self._trouble.describe(),
        }

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            self._serve()
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            self._log.event("service_failed", error=repr(error), traceback=trace)
            self._log.write()
            raise

    def _serve(self) -> None:
        self._prepare_process()
        self._log.event(
            "service_started",
            database=self._settings.database,
            workers=self._pool.wanted,
            configuration=self._configuration.path,
        )
        self._files.start()
        while self._goes_on() or self._pool.mortal:
            self._turn()
        self._finish()

    def _goes_on(self) -> bool:
        return self._draining_until is None and not (self._once and self._pool.has_spawned)

    def _turn(self) -> None:
        """Wait for the next thing to happen, and do what is due."""
        for child in self._pool.fill():
            self._welcome(child)
        self._log.write()
        for key, _ in self._wait():
            key.data()
        self._store.take_results()
        self._take_signals()
        self._pool.advance()
        self._bury_the_dead()
        if self._control is not None:
            self._control.advance()
        if self._http is not None:
            self._http.advance()
        self._follow_files()
        self._follow_jobs()
        self._look_around()
        self._look_at_file()
        self._trouble.advance()
        self._keep_house()
        self._stop_in_time()
        ending = self._draining_until is not None
        self._manager.turned(self._state, ready=self._pool.has_started, ending=ending)

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something happens, or is due."""
        happened = self._selector.select(self._patience())
        if self._survey.rests and self._survey.heard_commit():
            # A worker was woken as well, perhaps, and is not to wait until this process has looked.
            self._lively_until = time.monotonic_ns() + _LIVELY
            happened = self._selector.select(_FOLLOW)
        return happened

    def _state(self) -> str:
        state = describe_state(self._pool, self._draining_until, self._configuration.refused)
        trouble = self._trouble.error
        return state if trouble is None else f"nothing is claimed: {trouble}; {state}"

    def _patience(self) -> float:
        now = time.monotonic_ns()
        due = min(self._pool.next_look(), self._files.next_look(), self._survey.next_look())
        due = min(due, self._manager.next_look(), self._trouble.next_look())
        if now < self._lively_until:
            due = min(due, self._next_follow)
        elif not self._survey.rests:
            due = min(due, now + int(TICK * _SECOND))
        if self._remains.are_dying:
            due = min(due, now + int(_SWEEP * _SECOND))
        if self._control is not None and self._control.is_awaited:
            due = min(due, now + int(_AWAITED * _SECOND))
        if self._housekeeping is not None and self._serves():
            due = min(due, self._housekeeping.next_look())
        if self._http is not None:
            due = min(due, self._http.next_look())
        return max(0, due - now) / _SECOND

    # The process

    def _prepare_process(self) -> None:
        become_subreaper()
        self._pool.descriptors = raise_descriptor_limit()
        self._remains.spare_those_before()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, exit codes would read 0
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda received, _: self._signals.append(received))

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is about to wake anyway
            os.write(self._wake_writer, b"\0")

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _take_signals(self) -> None:
        while self._signals:
            received = self._signals.popleft()
            again = received == signal.SIGINT and self._draining_until is not None
            if received == signal.SIGHUP:
                self._try_to_reload()
            elif received == signal.SIGQUIT or again:
                self._stop_now()
            else:
                self._drain()

    # Children

    def _welcome(self, child: Child) -> None:
        listen = functools.partial(self._hear, child)
        self._selector.register(child.channel, selectors.EVENT_READ, listen)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._mourn(child))
        self._streams[child] = OutputStream(child)

    def _hear(self, child: Child) -> None:
        """Take a child's messages."""
        for message in child.receive():
            self._survey.stir()
            event = message.pop("event")
            if event == "ready":
                self._greet(child, message["version"], message["python"])
            elif event == "code":
                self._pool.remember_code(message["code"])
            elif event == "worn":
                self._pool.recycle(child, message["reason"], message["jobs"])
            elif event == "files":
                self._files.loaded(child.orders.tree, message["stamps"])
            elif event in ("store_trouble", "store_works", "store_damaged"):
                self._hear_of_store(child, event, message.get("error"))
            elif event in EVENTS:
                output = message.pop("output", None)
                if output is not None and child in self._streams:
                    start, end = output
                    self._streams[child].ended(start, end, message["job_name"])
                    self._show_output(child)
                self._log.event(event, **message, worker=child.name)
        if child.channel.at_end and child.channel.fileno() in self._selector.get_map():
            self._selector.unregister(child.channel)

    def _greet(self, child: Child, version: str, python: str) -> None:
        if version != __version__:
            error = f"{python} has gigqd {version}, the service is {__version__}; install the same"
            self._log.event("worker_refused", worker=child.name, error=error)
            child.kill()
            return
        self._ready.add(child)
        self._pool.is_ready(child)

    def _mourn(self, child: Child) -> None:
        """Reap a child that has ended; its tree is swept before anything else."""
        self._hear(child)
        self._selector.unregister(child.pidfd)
        if child.channel.fileno() in self._selector.get_map():
            self._selector.unregister(child.channel)
        child.reap()
        self._show_output(child)
        self._remains.add(child)
        self._bury_the_dead()

    def _is_ours(self, pid: int) -> bool:
        alive = (c.pid for c in self._pool.children if c.state is not ChildState.EXITED)
        return pid in alive or (self._http is not None and pid == self._http.pid)

    def _bury_the_dead(self) -> None:
        for child in self._remains.sweep():
            self._bury(child)

    def _bury(self, child: Child) -> None:
        """Nothing of it lives any more: take back what it held, and forget it."""
        self._pool.remove(child, was_ready=child in self._ready)
        self._ready.discard(child)
        self._files.forget(child.orders.tree)
        self._trouble.ends(child.orders.tree)
        self._streams.pop(child).close()
        self._reclaims.of_child(child)

    # A database that cannot be used

    def _hear_of_store(self, child: Child, event: str, error: str | None) -> None:
        if event == "store_damaged":
            self._give_up(error or "")
        elif event == "store_trouble":
            self._trouble.begins(child.orders.tree, error or "")
        else:
            self._trouble.ends(child.orders.tree)

    def _give_up(self, error: str) -> None:
        """End: in a damaged file nothing can be stored, and to wait would not mend it."""
        if not self.is_damaged:
            self.is_damaged = True
            self._log.event("store_damaged", error=error)
            self._drain()

    def _look_at_file(self) -> None:
        """Claim nothing while the database has no name, and end where another file has it."""
        now = time.monotonic_ns()
        if now < self._next_look_at_file or self.is_replaced:
            return
        self._next_look_at_file = now + int(_LOOKED_AT_FILE * _SECOND)
        path, place = self._settings.database, self._file.place()
        if place is Place.NOTHING:
            error = f"{path} was moved or deleted; move it back, or stop the service"
            self._trouble.begins(_NAME, error)
        else:
            self._trouble.ends(_NAME)
        if place is Place.ANOTHER:
            self.is_replaced = True
            self._file.take_log_away()
            error = f"{path} is another file now; the service ends, to be started on that one"
            self._log.event("database_replaced", error=error)
            self._drain()

    # What is looked at now and then

    def _look_around(self) -> None:
        if self._is_astir():
            self._survey.stir()
        if self._survey.advance():
            self._pool.limit_output()
            self._pool.out_of_memory.refresh()

    def _is_astir(self) -> bool:
        ending = self._draining_until is not None
        return ending or not self._pool.is_settled or self._pool.busy() > 0

    def _keep_house(self) -> None:
        if self._housekeeping is not None and self._serves():
            self._housekeeping.advance()

    def _serves(self) -> bool:
        draining = self._draining_until is not None
        return not draining and not self._pool.paused and self._trouble.error is None

    # What becomes of jobs, and what they print

    def _follow_jobs(self) -> None:
        now = time.monotonic_ns()
        if now >= self._next_follow:
            self._next_follow = now + int(_FOLLOW * _SECOND)
            if self._pool.busy():
                self._lively_until = now + _LIVELY  # and longer than a worker takes to report
            for child in list(self._pool.children):
                if child in self._streams:
                    self._hear(child)
                    self._show_output(child)

    def _show_output(self, child: Child) -> None:
        for job, line in self._streams[child].lines():
            self._log.event("job_output", job_name=job, line=line)

    # Files

    def _follow_files(self) -> None:
        for path, workers in self._files.take_code_changes():
            old = [child for child in self._pool.children if child.orders.tree in workers]
            self._pool.renew(old, path)
        if self._files.take_configuration_change():
            self._try_to_reload()

    def _try_to_reload(self) -> None:
        with suppress(SettingsError):
            self._reload()

    def _reload(self) -> None:
        """Put the changed file in force, as a whole or not at all. Raises SettingsError."""
        if self._draining_until is not None:
            message = "the service is stopping, and reads its configuration no more"
            raise SettingsError(message)
        if self._configuration.path is None:
            message = "the service was started without a configuration file; start it anew with one"
            raise SettingsError(message)
        self._files.was_read()
        with self._manager.reloading():
            self._settings = self._configuration.read_again()
            self._log.configure(self._settings.log.level, self._settings.log.format)
            self._pool.use(self._settings)
            if self._housekeeping is not None:
                self._housekeeping.use(self._settings.retention)
            if self._http is not None:
                self._http.use(self._settings.http.listen)

    # The end

    def _drain(self) -> None:
        """Claim no more; finish what runs."""
        if self._draining_until is not None:
            return
        seconds = self._settings.shutdown.drain_timeout
        self._log.event("service_draining", seconds=seconds)
        self._draining_until = time.monotonic_ns() + int(seconds * _SECOND)
        self._pool.drain()

    def _stop_now(self) -> None:
        """Stop running jobs too."""
        if self._draining_until is None:
            self._pool.drain()
        self._draining_until = time.monotonic_ns()

    def _stop_in_time(self) -> None:
        now = time.monotonic_ns()
        if self._draining_until is None or now < self._draining_until:
            return
        if self._killing_at is None:
            self._log.event("service_stopping")
            grace = self._settings.workers.kill_grace + _KILL_AFTER
            self._killing_at = now + int(grace * _SECOND)
        if now < self._killing_at:
            self._pool.interrupt()
        else:
            self._pool.kill()

    def _finish(self) -> None:
        """Let the database take what is left, and say goodbye."""
        self._log.write()
        if self._http is not None:
            self._http.close()
        if self._control is not None:
            self._control.close()
        self._store.close(_LAST_RECORDS)
        self._store.take_results()
        if self._housekeeping is not None:
            self._housekeeping.finish()
        self._files.close()
        self._survey.close()
        self._log.event("service_stopped")
        self._manager.close()
