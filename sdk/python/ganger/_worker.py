"""Tasks in, answers out.

::

    listening thread ──▶ waiting ──▶ running (the main thread, or `concurrency` threads) ──▶ one array per ms ──▶ ganger
           ▲                                                            └──▶ unacknowledged ──$ack──▶ forgotten
           └── $sync, $cancel, $ack, $drain are heard while tasks run
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any, Callable, Dict, Optional, TypeVar

from ._errors import Cancelled, NonRetryableError
from ._ledger import Ledger, encode, error_of, result_of
from ._link import link
from ._task import Task

Handler = Callable[[Any, Task], Any]
H = TypeVar("H", bound=Handler)

class Worker:
    """The handlers of this process, by kind."""

    def __init__(self) -> None:
        self._handlers: Dict[str, Handler] = {}

    def task(self, kind: str = "*") -> Callable[[H], H]:
        """Decorates the handler of a kind; without one, of every kind that has no handler of its own.

        A handler takes the payload and the `Task`; what it returns is the result and must be JSON. It may be ``async``.
        """
        if callable(kind):
            raise TypeError('write @worker.task() or @worker.task("kind"), with parentheses')

        def add(handler: H) -> H:
            if kind in self._handlers:
                raise ValueError(f"kind {kind!r} has a handler already: {self._handlers[kind]!r}")
            self._handlers[kind] = handler
            return handler

        return add

    def run(self, concurrency: int = 1) -> None:
        """Works until ganger says `drain` or closes the channel, then returns.

        With ``concurrency`` 1 tasks run on the calling thread. More threads help only handlers that wait for something.
        Raises `ChannelError` when ganger can't be reached from here.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency must be a whole number from 1, not {concurrency!r}")
        if not self._handlers:
            raise ValueError('there is no handler: add one with @worker.task("kind")')
        here = link()
        ledger = here.ledger
        hello = {"sdk": "python", "version": _version(), "concurrency": concurrency, "batch": True, "ping": True}
        here.send((encode({"$hello": hello}) + "\n").encode())
        here.listen()
        if concurrency == 1:
            self._serve(ledger, False)
        else:
            threads = [
                threading.Thread(target=self._serve, args=(ledger, True), name=f"task-{n + 1}")
                for n in range(concurrency)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        ledger.flush()

    def _serve(self, ledger: Ledger, announce: bool) -> None:
        handlers = self._handlers
        others = handlers.get("*")
        loop = _Loop()
        while True:
            started = ledger.next(announce)
            if started is None:
                loop.close()
                return
            task, payload = started
            try:
                handler = handlers.get(task.kind, others)
                if handler is None:
                    known = ", ".join(handlers)
                    raise NonRetryableError(
                        f"this worker has no handler for kind {task.kind!r}; it has: {known}"
                    )
                value = handler(payload, task)
                if inspect.iscoroutine(value):
                    value = loop.run(value, task)
                answer = result_of(task.id, value)
            except Exception as raised:
                answer = error_of(task.id, raised)
            ledger.answer(task.id, answer)


class _Loop:
    """The event loop of a thread that met an ``async`` handler."""

    def __init__(self) -> None:
        self._loop: Optional[asyncio.AbstractEventLoop] = None

    def run(self, coroutine: Any, task: Task) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        loop = self._loop
        running = loop.create_task(coroutine)
        task._interrupt = lambda: loop.call_soon_threadsafe(running.cancel)
        if task.cancelled:
            running.cancel()
        try:
            return loop.run_until_complete(running)
        except asyncio.CancelledError:
            raise Cancelled("cancelled") from None
        finally:
            task._interrupt = None

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


def _version() -> str:
    from . import __version__

    return __version__
