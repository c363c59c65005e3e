# The command line's worker: once, and several at a time until a signal.
export PYTHONPATH=.
gigq submit office.nothing --name none >/dev/null
gigq worker --once --worker-id clerk >/dev/null 2>&1
echo "exit $?"
gigq worker --once >/dev/null 2>&1
echo "exit $?"
python -c 'from gigq import JobQueue
queue = JobQueue("gigq.db")
for job in queue.list_jobs():
    print([run["worker_id"] for run in queue.get_status(job["id"])["executions"]])'

for signal in TERM INT; do
    for number in 1 2 3 4; do
        gigq --db "$signal.db" submit office.pause --name "$number" -p seconds=0.2 >/dev/null
    done
    # A background command of a script ignores SIGINT, so that Python must start it.
    python - "$signal" <<'PROGRAM'
import signal
import subprocess
import sys
import time

from gigq import JobQueue

name = sys.argv[1]
queue = JobQueue(f"{name}.db")
worker = subprocess.Popen(
    ["gigq", "--db", f"{name}.db", "worker", "--worker-id", "team"]
    + ["--concurrency", "2", "--polling-interval", "1"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
end = time.monotonic() + 20
while queue.stats()["completed"] < 4 and time.monotonic() < end:
    time.sleep(0.02)
worker.send_signal(getattr(signal, f"SIG{name}"))
print(name, worker.wait(20), queue.stats()["completed"], queue.stats()["running"])
runs = [run for job in queue.list_jobs() for run in queue.get_status(job["id"])["executions"]]
print(sorted({run["worker_id"] for run in runs}))
PROGRAM
done
gigq worker --concurrency 0 >/dev/null 2>&1
[ $? -ne 0 ] && echo "refused"
