"""`python -P -m gigq.worker.entry`: where a supervisor starts a worker process."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from gigq.queue.life_lock import pin
from gigq.worker.channel import Channel
from gigq.worker.descriptor_limit import lower_descriptor_limit
from gigq.worker.orders import Orders
from gigq.worker.process_tree import become_subreaper, signal_when_parent_dies
from gigq.worker.service_worker import ServiceWorker
from gigq.worker.slot import Slot

_FIRST_TO_GO = "500"  # oom_score_adj: rather a worker than its supervisor
_ORDERS_WITHIN = 10.0  # seconds


def main() -> int:
    """Take over the descriptors, become what a worker process is, and live."""
    channel_descriptor, reports_descriptor, *kept = map(int, sys.argv[1:])
    for descriptor in kept:
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    slot_descriptor, stacks, *life_lock = kept
    for descriptor in life_lock:
        with suppress(OSError):  # then the descriptor has to do
            pin(descriptor)
    channel = Channel.inherited(channel_descriptor)
    reports = Channel.inherited(reports_descriptor)
    orders = _orders(channel)
    lower_descriptor_limit(*orders.descriptors)
    become_subreaper()
    signal_when_parent_dies(signal.SIGUSR2)
    faulthandler.enable()
    with suppress(OSError):  # a sandbox may refuse it; it is only a preference
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv[1:] = []
    worker = ServiceWorker(orders, channel, reports, Slot(slot_descriptor), stacks)
    if os.getppid() != orders.supervisor:
        return 0  # it died before the signal could be asked for
    return _end(worker, worker.run())


def _end(worker: ServiceWorker, code: int) -> int:
    """Leave without waiting for threads that jobs have left; what was registered is called."""
    worker.limit_its_end()
    atexit._run_exitfuncs()  # noqa: SLF001 (there is no public way to call them now)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


def _orders(channel: Channel) -> Orders:
    channel.wait(_ORDERS_WITHIN)
    messages = channel.receive()
    if not messages:
        sys.exit("gigq.worker.entry is started by gigqd, not by hand; see: gigqd start --help")
    return Orders.from_message(messages[0])


if __name__ == "__main__":
    sys.exit(main())
