"""The members of JobStatus, by name and by value."""

from gigq import JobStatus

for status in JobStatus:
    print(status.name, status.value, JobStatus(status.value) is status, JobStatus[status.name])
print(len(JobStatus), JobStatus("pending") == JobStatus.PENDING)
print(repr(JobStatus.RUNNING))
print(f"{JobStatus.FAILED} {JobStatus.FAILED.value}")
try:
    JobStatus("asleep")
except ValueError as error:
    print("ValueError", error)
words = {JobStatus.COMPLETED: "done", JobStatus.TIMEOUT: "late"}
print(words[JobStatus("completed")], words[JobStatus("timeout")])
print(JobStatus.PENDING in {JobStatus.PENDING, JobStatus.FAILED})
print(JobStatus.PENDING == "pending", isinstance(JobStatus.PENDING, str))
