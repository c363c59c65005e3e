"""gigq.db_utils: one connection for each thread and path."""

import json
import sqlite3
import threading

import gigq
from gigq import Job, JobQueue
from gigq.db_utils import close_connection, close_connections, get_connection

import office

queue = JobQueue("gigq.db")
job = queue.submit(Job("job", office.add, {"a": 1}))
connection = get_connection("gigq.db")
print(type(connection).__name__, connection.row_factory is sqlite3.Row)
print(get_connection("gigq.db") is connection, get_connection("other.db") is connection)
print(connection.execute("PRAGMA journal_mode").fetchone()[0])
row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
print(row["name"], row["status"], row["priority"], row["function_name"], json.loads(row["params"]))
print(sorted(row.keys()))
office.drain("gigq.db", name="clerk")
connection = get_connection("gigq.db")
row = connection.execute("SELECT status, result FROM jobs").fetchone()
print(tuple(row))
run = connection.execute("SELECT * FROM job_executions WHERE job_id = ?", (job,)).fetchone()
print(sorted(run.keys()), run["status"], run["worker_id"])
print(sorted(office.columns("gigq.db", "jobs")))
print(sorted(office.columns("gigq.db", "job_executions")))

seen = []


def other_thread():
    """Take the connection of another thread."""
    seen.append(get_connection("gigq.db") is connection)
    seen.append(get_connection("gigq.db") is get_connection("gigq.db"))
    close_connections()


thread = threading.Thread(target=other_thread)
thread.start()
thread.join()
print(seen, connection.execute("SELECT count(*) FROM jobs").fetchone()[0])

connection.execute("CREATE TABLE notes (text TEXT)")
with connection:
    connection.execute("INSERT INTO notes VALUES ('mine')")
print(connection.execute("SELECT text FROM notes").fetchone()["text"])
close_connection("gigq.db")
print(office.raised(connection.execute, "SELECT 1"))
print(get_connection("gigq.db") is connection)
again = get_connection("gigq.db")
gigq.close_connections()
print(office.raised(again.execute, "SELECT 1"))
gigq.close_connections()
close_connection("gigq.db")
print(queue.stats()["completed"], queue.get_result(job))
queue.close()
queue.close()
