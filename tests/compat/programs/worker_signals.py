"""A worker in the main thread ends at SIGTERM and SIGINT, with its job done."""

import os
import signal
import threading
import time

from gigq import Job, JobQueue, Worker

import office

for number in (signal.SIGTERM, signal.SIGINT):
    path = f"{number.name}.db"
    queue = JobQueue(path)
    job = queue.submit(Job("pause", office.pause, {"seconds": 0.4, "text": number.name}))
    worker = Worker(path, polling_interval=1)

    def send(number=number, path=path, job=job):
        """Send the signal while the job runs."""
        watching = JobQueue(path)
        while watching.get_status(job)["status"] != "running":
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    worker.start()
    thread.join()
    print(number.name, worker.running, queue.get_status(job)["status"], office.marks())
    worker.close()
    queue.close()
