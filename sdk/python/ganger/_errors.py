"""What handlers may raise, and how anything raised is told."""

from __future__ import annotations

import traceback
from typing import Any


class NonRetryableError(Exception):
    """Another attempt would fail as well, so the task is discarded at once."""

    retryable = False


class RetryAfterError(Exception):
    """Try again, but not before so many seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        if not seconds >= 0:
            raise ValueError(f"RetryAfterError needs seconds >= 0, not {seconds}")
        self.seconds = seconds


class Cancelled(Exception):
    """Nobody wants this task's result any more."""


class ChannelError(Exception):
    """This process can't talk to ganger; the message says why and what to do."""


class RequestError(Exception):
    """A request without a result. ``code`` says why: ``error`` (the other side's own, in ``remote``), ``nobody``, ``busy``, ``too_large``,
    ``deadline``, ``cancelled`` or ``gone``."""

    def __init__(self, code: str, message: str, remote: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.remote = remote


def describe(raised: BaseException) -> dict[str, Any]:
    """The error as it goes to ganger."""
    error: dict[str, Any] = {
        "message": str(raised) or type(raised).__name__,
        "class": type(raised).__name__,
        "stack": "".join(traceback.format_exception(type(raised), raised, raised.__traceback__)),
    }
    if getattr(raised, "retryable", True) is False:
        error["retryable"] = False
    if isinstance(raised, RetryAfterError):
        error["retry_after_s"] = raised.seconds
    return error
