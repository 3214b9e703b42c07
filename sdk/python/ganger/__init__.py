"""Workers for ganger: tasks come in, results go out, durably.

    from ganger import worker

    @worker.task("resize")
    def resize(payload, task):
        return {"ok": True}

    worker.run()
"""

from ._errors import Cancelled, ChannelError, NonRetryableError, RetryAfterError
from ._task import Task
from ._worker import Worker

__version__ = "0.1.0"
__all__ = ["Cancelled", "ChannelError", "NonRetryableError", "RetryAfterError", "Task", "Worker", "worker"]

worker = Worker()
"""The worker of this process. Make another `Worker` only in tests."""
