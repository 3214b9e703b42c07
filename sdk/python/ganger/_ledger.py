"""What this worker holds: tasks waiting, running, and answers that ganger has not committed yet."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

from ._errors import Cancelled, NonRetryableError, describe
from ._task import Task
from ._transport import Transport

SLICE_S = 0.001
"""Answers wait at most so long for others to share their line."""
UNACKED_MAX = 100_000
"""Answers remembered at most. Ganger acknowledges at every commit, so this many are never open unless it went wrong."""

encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Ledger:
    """Shared by the threads that run tasks and the one that listens.

    ``lock`` guards everything but sending; ``sending`` keeps lines whole and in order.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.lock = threading.Lock()
        self.news = threading.Condition(self.lock)
        self.sending = threading.Lock()
        self.waiting: Deque[Dict[str, Any]] = deque()
        self.running: Dict[str, Task] = {}
        self.outbox: List[str] = []
        self.flushed_at = 0.0
        self.unacked: Deque[str] = deque()
        self.acked = 0
        self.draining = False
        self.closed = False

    # Called by threads that run tasks.

    def next(self, announce: bool) -> Optional[Tuple[Task, Any]]:
        """The next task and its payload; waits for it. None: there will be none."""
        while True:
            with self.lock:
                # What nobody adds to any more is sent before waiting.
                while not self.waiting and not self.outbox:
                    if self.closed or self.draining:
                        return None
                    self.news.wait()
                if self.closed:
                    return None
                task = self._start(announce) if self.waiting else None
            if task is None or announce:
                self.flush()
            if task is not None:
                return task

    def _start(self, announce: bool) -> Tuple[Task, Any]:
        message = self.waiting.popleft()
        task = Task(message, self.say)
        self.running[task.id] = task
        if announce:
            self.outbox.append('{"id":%s,"started":true}' % encode(task.id))
        return task, message.get("payload")

    def answer(self, task_id: str, answer: str) -> None:
        """Ends a task. ``answer`` is the whole message."""
        with self.lock:
            self.running.pop(task_id, None)
            self._remember(answer)
            late = time.monotonic() - self.flushed_at > SLICE_S
        if late:
            self.flush()

    def _remember(self, answer: str) -> None:
        self.unacked.append(answer)
        self.outbox.append(answer)
        if len(self.unacked) > UNACKED_MAX:
            self.unacked.popleft()
            self.acked += 1

    def say(self, task: Task, said: Dict[str, Any]) -> None:
        """Tells something of a task that runs, at once: the words before a crash are those that are wanted."""
        message = encode(said)
        with self.lock:
            if self.running.get(task.id) is not task:
                return
            self.outbox.append(message)
        self.flush()

    def flush(self) -> None:
        """Sends what there is, as one line."""
        with self.sending:
            with self.lock:
                out, self.outbox = self.outbox, []
                self.flushed_at = time.monotonic()
            if out:
                self.transport.send(line_of(out))

    # Called by the thread that listens.

    def take(self, messages: List[Any]) -> None:
        """Does what messages of ganger say."""
        with self.lock:
            for message in messages:
                # A word of another process is for `channel`.
                if not isinstance(message, dict) or "$g" in message:
                    continue
                if "id" in message:
                    self.waiting.append(message)
                elif "$ack" in message:
                    self._forget(message["$ack"])
                elif "$drain" in message:
                    self.draining = True
                elif "$cancel" in message:
                    self._cancel(message["$cancel"])
            self.news.notify_all()

    def pong(self, n: Any) -> None:
        """Answers a ping: this thread still gets its turns."""
        with self.sending:
            self.transport.send((encode({"$pong": n}) + "\n").encode())

    def _forget(self, up_to: int) -> None:
        while self.acked < up_to and self.unacked:
            self.unacked.popleft()
            self.acked += 1

    def _cancel(self, task_id: str) -> None:
        task = self.running.get(task_id)
        if task is not None:
            task._cancel()
            return
        for message in self.waiting:
            if message["id"] == task_id:
                self.waiting.remove(message)
                self._remember(error_of(task_id, Cancelled("cancelled before it started")))
                return

    def sync(self, n: Any) -> None:
        """A new daemon asks what is here; its session begins with the answers it has not got for sure."""
        with self.sending:
            with self.lock:
                told_below = set(map(id, self.unacked))
                other = [message for message in self.outbox if id(message) not in told_below]
                self.outbox = []
                ids = [*self.running, *(message["id"] for message in self.waiting)]
                self.acked = 0
                answer = '{"$sync":{"n":%s,"running":%s,"done":[%s]}}' % (
                    encode(n),
                    encode(ids),
                    ",".join(self.unacked),
                )
            self.transport.send(line_of([*other, answer]))

    def close(self) -> None:
        """Nobody is there any more."""
        with self.lock:
            self.closed = True
            for task in list(self.running.values()):
                task._cancel()
            self.news.notify_all()


def line_of(messages: List[str]) -> bytes:
    text = messages[0] if len(messages) == 1 else "[" + ",".join(messages) + "]"
    return (text + "\n").encode()


def result_of(task_id: str, value: Any) -> str:
    """The answer with a result, or with an error when the result is no JSON."""
    try:
        return '{"id":%s,"result":%s}' % (encode(task_id), encode(value))
    except (TypeError, ValueError, RecursionError) as why:
        bad = NonRetryableError(f"the result can't be written as JSON: {why}")
        return error_of(task_id, bad)


def error_of(task_id: str, raised: BaseException) -> str:
    return '{"id":%s,"error":%s}' % (encode(task_id), encode(describe(raised)))
