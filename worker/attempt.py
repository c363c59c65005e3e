"""Running one claimed job, here and now: where, which function, with what, and how it ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gigq.queue.errors import NotJsonError, StoreError
from gigq.queue.serialize import decode, encode
from gigq.worker import outcome as outcomes
from gigq.worker.allowed import NotAllowedError
from gigq.worker.resolve import JOB_RESULTS, PARENT_RESULTS, FunctionLoadError
from gigq.worker.time_limit import JobInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gigq.queue.records import Claim, Outcome
    from gigq.worker.resolve import Loaded, Loader


def run(
    claim: Claim,
    loader: Loader,
    parent_results: Callable[[int], dict[str, str | None]],
    *,
    change_directory: bool = False,
    configured_directory: str = "",
) -> Outcome:
    """Run the claim's function in this thread and give the outcome.

    `parent_results` gives JSON text by parent id. Raises only what was raised in here from
    outside: JobInterrupted, KeyboardInterrupt.
    """
    try:
        if change_directory:
            _change_directory(claim.job_directory or configured_directory or claim.directory)
        loaded = loader.load(claim)
        arguments = _arguments(claim, loaded, parent_results)
        if claim.kind == "command" and not change_directory:
            arguments.setdefault("cwd", claim.job_directory or claim.directory)
    except _DirectoryError as error:
        return outcomes.failed(claim, str(error), cause="directory")
    except NotAllowedError as error:
        return outcomes.failed(claim, str(error), cause="not_allowed", retry=False)
    except StoreError as error:  # the parents' results could not be read
        return outcomes.failed(claim, str(error), cause="store")
    except (RecursionError, ValueError) as error:
        return outcomes.raised(claim, error, cause="parameters")
    except FunctionLoadError as error:
        trace = outcomes.trace_of(error.__cause__ or error)
        return outcomes.failed(claim, str(error), cause="import", trace=trace)
    try:
        returned = loaded.call(**arguments)
    except (JobInterrupted, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 (SystemExit too is a failure of the job)
        return outcomes.raised(claim, error)
    return _completed(claim, returned)


class _DirectoryError(Exception):
    """The directory to run in cannot be entered."""


def _change_directory(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        message = (
            f"the directory {directory} cannot be entered: {error.strerror}; "
            "create it, give Job(cwd=), or set [workers] directory"
        )
        raise _DirectoryError(message) from None


def _arguments(
    claim: Claim, loaded: Loaded, parent_results: Callable[[int], dict[str, str | None]]
) -> dict[str, Any]:
    arguments = decode(claim.params)
    if not isinstance(arguments, dict):
        message = f"the parameters are a {type(arguments).__name__}, and have to be a dict"
        raise ValueError(message)  # noqa: TRY004 (of what somebody has written into the database)
    if not claim.parents:
        return arguments
    passes = claim.pass_parent_results
    if passes is not None and not passes:
        return arguments
    older = loaded.requires_job_results and JOB_RESULTS not in arguments
    wanted = loaded.takes_parent_results or (bool(passes) and not older)
    if wanted or older:
        results = {uuid: decode(text) for uuid, text in parent_results(claim.job).items()}
        if wanted:
            arguments[PARENT_RESULTS] = results
        if older:
            arguments[JOB_RESULTS] = results
    return arguments


def _completed(claim: Claim, returned: object) -> Outcome:
    """Record the result; one that is not JSON fails for good: the work was done."""
    if returned is None:
        return outcomes.completed(claim, None)
    try:
        # Errors are logged, and results are not: the error shows nothing of it.
        return outcomes.completed(claim, encode(returned, "result", secret=True))
    except NotJsonError as error:
        return outcomes.failed(claim, str(error), cause="result_not_json", retry=False)
    except (JobInterrupted, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 (a result's own methods may even exit)
        kind = type(error).__name__
        text = f"result: cannot be written as JSON ({kind} was raised)"
        return outcomes.failed(claim, text, cause="result_not_json", retry=False)
