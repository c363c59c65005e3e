"""When to try again what did not work: less and less often, and each time once it works."""

from __future__ import annotations

_MOST_SKIPPED = 63


class Seldom:
    """Counts the occasions to try something that saves time if it works, and costs some if not."""

    def __init__(self) -> None:
        """Try at the first occasion."""
        self._skips = 0  # occasions between the last two failures
        self._left = 0

    def is_time(self) -> bool:
        """Whether to try on this occasion."""
        if not self._left:
            return True
        self._left -= 1
        return False

    def worked(self) -> None:
        """Try on each occasion."""
        self._skips = self._left = 0

    def failed(self) -> None:
        """Let twice as many occasions pass as the last time."""
        self._left = self._skips = min(2 * self._skips + 1, _MOST_SKIPPED)
