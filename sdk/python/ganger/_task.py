"""One attempt of a task, as its handler sees it."""

from __future__ import annotations

from typing import Any, Callable, Optional

from ._errors import Cancelled


class Task:
    """One attempt of a task."""

    __slots__ = ("id", "kind", "queue", "attempt", "token", "cancelled", "_tell", "_interrupt")

    id: str
    """13 characters; the same in every attempt."""
    kind: str
    """As given to ``ganger push --kind``; empty if none was."""
    queue: str
    attempt: int
    """From 1."""
    token: str
    """Fencing token of this attempt. Give it to systems that can refuse late writers."""
    cancelled: bool
    """Becomes true when the task is cancelled or timed out, or when ganger is gone. Look at it now and then."""

    def __init__(self, message: dict[str, Any], tell: Callable[[Task, dict[str, Any]], None]) -> None:
        self.id = message["id"]
        get = message.get
        self.kind = get("kind", "")
        self.queue = get("queue", "")
        self.attempt = get("attempt", 1)
        self.token = get("token", "")
        self.cancelled = False
        self._tell = tell
        self._interrupt: Optional[Callable[[], None]] = None

    def raise_if_cancelled(self) -> None:
        """Raises `Cancelled` when the task is."""
        if self.cancelled:
            raise Cancelled("cancelled")

    def progress(self, value: Any, message: Optional[str] = None) -> None:
        """Tells how far the task is: a number from 0 to 100, or any small JSON, and what it is at.

        Only the newest is kept.
        """
        said = {"id": self.id, "token": self.token, "progress": value}
        if message is not None:
            said["message"] = str(message)
        self._tell(self, said)

    def log(self, line: object) -> None:
        """Adds a line (or several) to the attempt's log. The newest 500 are kept."""
        self._tell(self, {"id": self.id, "token": self.token, "log": str(line)})

    def _cancel(self) -> None:
        self.cancelled = True
        interrupt = self._interrupt
        if interrupt is not None:
            interrupt()
