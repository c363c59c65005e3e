"""The exceptions of gigq: one small tree, each with its default message as its docstring.

Mistakes in what a caller hands in are raised before anything is written.
"""

from __future__ import annotations


class GigqError(Exception):
    """Something that gigq was asked to do cannot be done."""

    def __init__(self, message: str | None = None) -> None:
        """Carry `message`, or the class's docstring where none is given."""
        super().__init__(message or type(self).__doc__)


class InvalidJobError(GigqError, ValueError):
    """The job's values are not usable."""


class NotJsonError(InvalidJobError, TypeError):
    """A value cannot be written as JSON."""


class FunctionReferenceError(InvalidJobError, TypeError):
    """A worker process could not find this function again by its name."""


class WorkflowError(InvalidJobError):
    """The workflow's jobs cannot be submitted together."""


class CycleError(WorkflowError):
    """The jobs wait for each other in a circle."""


class UnknownDependencyError(WorkflowError):
    """A job waits for a job that does not exist."""


class DuplicateJobError(InvalidJobError):
    """A job can be submitted once; make a new Job to run it again."""


class UnguardedMainError(GigqError, RuntimeError):
    """Guard this with `if __name__ == "__main__":`.

    The worker loads this script to find a job's function, and must not submit or run jobs by it.
    """


class UnknownJobError(GigqError, KeyError):
    """No job has this id."""

    def __str__(self) -> str:
        """Say it as a sentence; KeyError would show the message's repr."""
        return str(self.args[0])


class JobNotCompletedError(GigqError):
    """The job failed, timed out or was cancelled."""


class WaitTimeoutError(GigqError, TimeoutError):
    """The job did not end within the time that was given; it goes on."""


class StoreError(GigqError):
    """The database cannot be used."""


class EmptyDatabaseError(StoreError):
    """There is no database yet, or somebody is just setting it up."""


class StoreBusyError(StoreError):
    """Another process held the database's write lock for too long."""


class StoreUnusableError(StoreError):
    """The file or its disk does not allow what was asked for."""


class DescriptorsLostError(StoreError):
    """A program has closed descriptors of the database that it did not open."""


class StoreDamagedError(StoreUnusableError):
    """The database file is damaged."""


class ForeignDatabaseError(StoreError):
    """The file is a database of something else."""


class SchemaVersionError(StoreError):
    """The database was made by another version of gigq."""


class SettingsError(GigqError):
    """The configuration cannot be used."""
