"""Workers for ganger: tasks come in, results go out, durably.

    from ganger import worker

    @worker.task("resize")
    def resize(payload, task):
        return {"ok": True}

    worker.run()
"""

from ._channel import Channel, Message, Reply, Request, channel
from ._errors import Cancelled, ChannelError, NonRetryableError, RequestError, RetryAfterError
from ._task import Task
from ._worker import Worker

__version__ = "0.1.0"
__all__ = [
    "Cancelled",
    "Channel",
    "ChannelError",
    "Message",
    "NonRetryableError",
    "Reply",
    "Request",
    "RequestError",
    "RetryAfterError",
    "Task",
    "Worker",
    "channel",
    "worker",
]

worker = Worker()
"""The worker of this process. Make another `Worker` only in tests."""
