"""What brings a worker's tasks: one for the process, read by one thread. With ``channel = true`` on its pool, words of other processes come over it too.

::

    listening thread ──▶ tasks, $cancel, $ack, $drain ──▶ Ledger
           └── {"$g":…} ──▶ Channel, if there is one
"""

from __future__ import annotations

import json
import os
import threading
import traceback
from typing import Any, Callable, List, Optional

from ._ledger import Ledger
from ._transport import lines_of, open_transport

CLOSE_GRACE_S = 5.0
"""When the channel is closed, running tasks get so long to notice that they are cancelled."""


class Link:
    """Opened by `Worker.run`, or by `channel` before it."""

    def __init__(self) -> None:
        self.peers = os.environ.pop("GANGER_PEERS", None) == "lines"
        """Words for others may be said on it."""
        self.transport = open_transport(os.environ)
        self.ledger = Ledger(self.transport)
        self.hear: Optional[Callable[[Any], None]] = None
        self.ended: Optional[Callable[[], None]] = None
        self._listens = False

    def listen(self) -> None:
        """Begins to read. Tasks that come before somebody works wait."""
        if not self._listens:
            self._listens = True
            threading.Thread(target=self._run, name="ganger", daemon=True).start()

    def send(self, line: bytes) -> None:
        """A whole line, between those of tasks."""
        with self.ledger.sending:
            self.transport.send(line)

    def _run(self) -> None:
        """Reads what ganger says until it is gone."""
        try:
            for line in lines_of(self.transport.receive):
                if line.strip():
                    self._take(json.loads(line))
        except Exception:
            # Without this thread nothing is heard any more: a crash that ganger sees is better than silence.
            traceback.print_exc()
            os._exit(1)
        if self.transport.answers_after_end:
            self.ledger.take([{"$drain": True}])
            return
        self.ledger.close()
        if self.ended is not None:
            self.ended()
        timer = threading.Timer(CLOSE_GRACE_S, os._exit, (0,))
        timer.daemon = True
        timer.start()

    def _take(self, said: Any) -> None:
        messages: List[Any] = said if isinstance(said, list) else [said]
        ledger = self.ledger
        ledger.take(messages)
        for message in messages:
            if not isinstance(message, dict):
                continue
            if "$sync" in message:
                ledger.sync((message["$sync"] or {}).get("n"))
            elif "$ping" in message:
                ledger.pong(message["$ping"])
            if self.hear is not None and ("$sync" in message or "$g" in message):
                self.hear(message)
        if any(isinstance(message, dict) and "$cancel" in message for message in messages):
            # A task that was cancelled before it started has its answer already.
            ledger.flush()


_one: Optional[Link] = None


def link() -> Link:
    """The link of this process. Raises `ChannelError` when ganger can't be reached from here."""
    global _one
    if _one is None:
        _one = Link()
    return _one


def workers_link() -> Optional[Link]:
    """The same, if this is a worker of a pool for certain."""
    return link() if "GANGER_PEERS" in os.environ else _one
