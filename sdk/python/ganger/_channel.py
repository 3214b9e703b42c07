"""Talking with other services through ganger: requests, topics, large bodies, descriptors. The words are in docs/channel.md.

::

    listening thread ──▶ request: a pool of threads ──▶ response       message ──▶ one thread per subscription ──took──▶ ganger
           └── response: a Future                                      $sync: subscriptions again, and which answers are waited for
"""

from __future__ import annotations

import array
import json
import os
import queue
import socket
import sys
import threading
import traceback
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import Any, Callable, Deque, Dict, List, Optional

from ._bodies import cargo_of, kind_of, seal
from ._errors import ChannelError, RequestError, describe
from ._link import Link, workers_link
from ._transport import RECEIVE, channel_number, lines_of

BODY_MIN = 1 << 20
"""Payloads of more bytes than this travel as memory, not in the message."""
WINDOW = 32
"""Messages of a subscription that may wait in this process; ganger keeps (and bounds) the others."""
GRACE_S = 15.0
"""Ganger answers at the deadline; this much later we stop waiting for a daemon that is away."""
THREADS = 8
"""Requests that are answered, and connections that are served, at once."""
LINE_MAX = (16 << 20) - (64 << 10)
"""The longest line that ganger takes is 16 MiB; the words around a payload are in it too."""

_ANCILLARY = socket.CMSG_SPACE(253 * 4)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Request:
    """A request that came."""

    def __init__(self, message: Dict[str, Any], handle: Optional[socket.socket], body: Optional[memoryview]) -> None:
        self.sender: str = message.get("from", "")
        self.kind: str = message.get("kind", "")
        self.timeout: float = message.get("timeout_ms", 0) / 1000
        """Seconds that were left when it came."""
        self.handle = handle
        self.body = body
        """Bytes beside the payload: memory that its sender can't change."""
        self.cancelled = threading.Event()
        """Set when nobody waits for the answer any more."""


class Message:
    """What a subscriber is told beside the payload."""

    def __init__(self, topic: str, sender: str, body: Optional[memoryview]) -> None:
        self.topic = topic
        self.sender = sender
        self.body = body


class Reply(Future):  # type: ignore[type-arg]
    """The answer to come. ``cancel()`` tells the other side."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        super().__init__()
        self._tell = cancel

    def cancel(self) -> bool:
        done = super().cancel()
        if done:
            self._tell()
        return done


class _Subscription:
    def __init__(self, handler: Callable[..., Any], window: int, on_gap: Optional[Callable[[Optional[int]], None]]) -> None:
        self.handler = handler
        self.window = window
        self.on_gap = on_gap
        self.line: "queue.SimpleQueue[Any]" = queue.SimpleQueue()


class Channel:
    """The channel of a service, or a worker of a pool, with ``channel = true``. Made by `channel`."""

    def __init__(self, sock: Optional[socket.socket], link: Optional[Link] = None) -> None:
        self._socket = sock
        self._link = link
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: Dict[int, Reply] = {}
        self._running: Dict[Any, Request] = {}
        self._handlers: Dict[str, Callable[..., Any]] = {}
        self._connections: Optional[Callable[[socket.socket, Any], Any]] = None
        self._subscriptions: Dict[str, _Subscription] = {}
        self._fds: Deque[int] = deque()
        self._next = 1
        self._pool = ThreadPoolExecutor(THREADS, "ganger-request")
        self._ended = threading.Event()
        if link is not None:
            link.hear, link.ended = lambda words: self._words(words, None, None), self._close
            link.listen()
            return
        self._hello()
        threading.Thread(target=self._listen, name="ganger", daemon=True).start()

    # What a service says.

    def ready(self) -> None:
        """Counts as ready, for ``ready = { channel = true }``."""
        self._say("ready")

    def on(self, kind: str = "*") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorates the handler of a kind of requests (``*``: of every other). It takes the payload and the `Request`; what it
        returns is the result: JSON, or bytes, which travel as memory."""

        def add(handler: Callable[..., Any]) -> Callable[..., Any]:
            if kind in self._handlers:
                raise ValueError(f"kind {kind!r} has a handler already: {self._handlers[kind]!r}")
            self._handlers[kind] = handler
            return handler

        return add

    def on_handle(self, kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The same for requests that bring a socket: the handler takes the socket, the payload and the `Request`."""

        def add(handler: Callable[..., Any]) -> Callable[..., Any]:
            def take(payload: Any, request: Request) -> Any:
                if request.handle is None:
                    raise TypeError(f"kind {kind!r} takes a handle, and none came")
                return handler(request.handle, payload, request)

            self.on(kind)(take)
            return handler

        return add

    def on_connection(self, handler: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        """Decorates what takes connections that ganger accepted (``listen_mode = "pass"``): the socket, and what came with it."""
        self._connections = handler
        return handler

    def ask(
        self,
        to: str,
        kind: str,
        payload: Any = None,
        *,
        timeout: float = 30.0,
        handle: Optional[socket.socket] = None,
        body: Optional[bytes] = None,
    ) -> Reply:
        """Asks ``NAME`` (any ready instance) or ``NAME#SLOT``; the answer is a `Future`."""
        with self._lock:
            number = self._next
            self._next += 1
            reply = Reply(lambda: self._call_off(number))
            self._waiting[number] = reply
        words = {"$g": "request", "id": number, "to": to, "kind": kind, "timeout_ms": timeout * 1000}
        try:
            self._carry(words, "payload", payload, body, handle)
        except BaseException:
            self._take(number)
            raise
        if self._ended.is_set():
            self._close()
        return reply

    def request(self, to: str, kind: str, payload: Any = None, *, timeout: float = 30.0, **options: Any) -> Any:
        """Asks and waits. Raises `RequestError`."""
        reply = self.ask(to, kind, payload, timeout=timeout, **options)
        try:
            return reply.result(timeout + GRACE_S)
        except Late:
            reply.cancel()
            raise RequestError("deadline", f"{to!r} did not answer in time") from None

    def send_handle(self, to: str, kind: str, handle: socket.socket, payload: Any = None, **options: Any) -> Any:
        """Passes a socket on and waits for the answer. Close yours when you don't need it any more."""
        return self.request(to, kind, payload, handle=handle, **options)

    def publish(self, topic: str, payload: Any = None, *, body: Optional[bytes] = None) -> None:
        """Tells all who subscribed."""
        self._carry({"$g": "publish", "topic": topic}, "payload", payload, body, None)

    def subscribe(
        self,
        topic: str,
        handler: Callable[[Any, Message], Any],
        *,
        window: int = WINDOW,
        on_gap: Optional[Callable[[Optional[int]], None]] = None,
    ) -> Callable[[], None]:
        """Hears a topic, or with a trailing ``*`` all that begin so, one message after the other on a thread of its own. What waits at ganger is
        bounded: ``on_gap`` is told how many were dropped (None: not known, the daemon changed). Gives a function that ends it."""
        with self._lock:
            if topic in self._subscriptions:
                raise ValueError(f"topic {topic!r} is subscribed to already")
            subscription = self._subscriptions[topic] = _Subscription(handler, window, on_gap)
        threading.Thread(target=self._serve, args=(topic, subscription), name=f"topic-{topic}", daemon=True).start()
        self._say({"$g": "subscribe", "topic": topic, "window": window})

        def end() -> None:
            with self._lock:
                known = self._subscriptions.pop(topic, None)
            if known is not None:
                known.line.put(None)
                self._say({"$g": "unsubscribe", "topic": topic})

        return end

    def run(self) -> None:
        """Waits until ganger closes the channel."""
        self._ended.wait()

    # How words go out.

    def _hello(self) -> None:
        from . import __version__

        # A worker of a pool has said its own, and takes no descriptors.
        if self._link is None:
            self._say({"$hello": {"sdk": "python", "version": __version__, "bodies": "fd"}})

    def _say(self, words: Any) -> None:
        self._write((_encode(words) + "\n").encode(), None)

    def _write(self, line: bytes, fd: Optional[int]) -> None:
        if self._socket is None:
            assert self._link is not None
            self._link.send(line)
            return
        with self._sending:
            try:
                if fd is not None:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
                    line = line[self._socket.sendmsg([line], rights) :]
                self._socket.sendall(line)
            except (BrokenPipeError, ConnectionError):
                # The reading side sees the end too, and that is where it is handled.
                pass

    def _carry(
        self, words: Dict[str, Any], name: str, payload: Any, body: Optional[bytes], handle: Optional[socket.socket]
    ) -> None:
        text = _encode(payload)
        if self._link is not None:
            if handle is not None or body is not None:
                raise TypeError("a worker of a pool sends no sockets and no bytes beside a payload: a service can")
            if len(text) > LINE_MAX:
                raise RequestError("too_large", "a worker of a pool sends at most 16 MiB in a message")
        if body is None and (len(text) <= BODY_MIN or handle is not None or self._link is not None):
            line = _encode(words)[:-1] + f',"{name}":{text}}}'
            if handle is None:
                self._write((line + "\n").encode(), None)
            else:
                self._hand(kind_of(handle), line, handle.fileno())
            return
        if handle is not None:
            raise TypeError("a message carries a handle or a body, not both")
        if body is None:
            data, what = text.encode(), "payload"
        else:
            data, what = body, "bytes"
            words = {**words, name: payload}
        fd = os.memfd_create("ganger-body", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(data)
            size = len(view)
            while view:
                view = view[os.write(fd, view) :]
            seal(fd)
            self._hand({"type": "ganger.memfd"}, _encode({**words, "body": {"size": size, "is": what}}), fd)
        finally:
            os.close(fd)

    def _hand(self, kind: Dict[str, str], message: str, fd: int) -> None:
        head = _encode({"cmd": "NODE_HANDLE", **kind})[:-1]
        self._write(f'{head},"msg":{message}}}\n'.encode(), fd)

    # How they come in.

    def _listen(self) -> None:
        try:
            for line in lines_of(self._receive):
                if line.strip():
                    self._hear(json.loads(line))
        except Exception:
            # Without this thread nothing is heard any more: a crash that ganger sees is better than silence.
            traceback.print_exc()
            os._exit(1)
        self._close()

    def _receive(self) -> bytes:
        try:
            assert self._socket is not None
            data, ancillary, _, _ = self._socket.recvmsg(RECEIVE, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return b""
        for level, kind, bytes_ in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(bytes_[: len(bytes_) - len(bytes_) % fds.itemsize])
                self._fds.extend(fds)
        return data

    def _hear(self, words: Any) -> None:
        fd = None
        if isinstance(words, dict) and words.get("cmd") == "NODE_HANDLE":
            fd = self._fds.popleft() if self._fds else None
            kind, words = words.get("type"), words.get("msg")
            take = None if kind == "ganger.memfd" or (isinstance(words, dict) and "$g" in words) else self._connections
            if fd is not None and take is not None:
                # Until a thread has it, it is ganger's, which gives it to another process if this one ends.
                self._pool.submit(self._accept, take, socket.socket(fileno=fd), words)
                return
            # At once: whoever waits for it sends nothing else.
            self._say({"cmd": "NODE_HANDLE_NACK" if fd is None else "NODE_HANDLE_ACK"})
            if fd is None:
                return
            if kind != "ganger.memfd":
                self._words(words, socket.socket(fileno=fd), None)
                return
        self._words(words, None, fd)

    def _words(self, words: Any, handle: Optional[socket.socket], fd: Optional[int]) -> None:
        word = words.get("$g") if isinstance(words, dict) else None
        if word is None and handle is not None:
            handle.close()
        elif word is None and isinstance(words, dict) and "$sync" in words:
            self._sync()
        elif word == "request":
            payload, body = cargo_of(words, "payload", fd)
            request = Request(words, handle, body)
            with self._lock:
                self._running[words["id"]] = request
            self._pool.submit(self._answer, words["id"], payload, request)
        elif word == "cancel":
            with self._lock:
                running = self._running.get(words["id"])
            if running is not None:
                running.cancelled.set()
        elif word == "response":
            self._answered(words, fd)
        elif word == "message":
            payload, body = cargo_of(words, "payload", fd)
            message = Message(words["topic"], words.get("from", ""), body)
            self._to(words.get("pattern", words["topic"]), (payload, message))
        elif word == "gap":
            self._to(words["topic"], words["missed"])
        elif word == "refused":
            print(f"ganger refused a message: {words['error']['message']}", file=sys.stderr)

    def _accept(self, take: Callable[..., Any], handle: socket.socket, words: Any) -> None:
        self._say({"cmd": "NODE_HANDLE_ACK"})
        _logged(take, handle, words)

    def _to(self, topic: str, item: Any) -> None:
        with self._lock:
            subscription = self._subscriptions.get(topic)
        if subscription is not None:
            subscription.line.put(item)

    def _serve(self, topic: str, subscription: _Subscription) -> None:
        took = 0
        while True:
            item = subscription.line.get()
            if item is None:
                return
            if not isinstance(item, tuple):
                if subscription.on_gap is not None:
                    _logged(subscription.on_gap, None if item is _UNKNOWN else item)
                continue
            _logged(subscription.handler, *item)
            took += 1
            if took * 2 >= subscription.window:
                self._say({"$g": "took", "topic": topic, "n": took})
                took = 0

    def _answer(self, number: Any, payload: Any, request: Request) -> None:
        words = {"$g": "response", "id": number}
        try:
            handler = self._handlers.get(request.kind) or self._handlers.get("*")
            if handler is None:
                raise LookupError(f"there is no handler for kind {request.kind!r}")
            result = handler(payload, request)
            with self._lock:
                # Not running any more: a new daemon waits for nothing of the old one's.
                if self._running.pop(number, None) is None:
                    return
            if isinstance(result, (bytes, bytearray, memoryview)):
                self._carry(words, "result", None, bytes(result), None)
            else:
                self._carry(words, "result", result, None, None)
        except Exception as raised:
            with self._lock:
                self._running.pop(number, None)
            self._say({**words, "error": describe(raised)})

    def _take(self, number: Any) -> Optional[Reply]:
        with self._lock:
            return self._waiting.pop(number, None)

    def _call_off(self, number: int) -> None:
        self._take(number)
        self._say({"$g": "cancel", "id": number})

    def _answered(self, words: Dict[str, Any], fd: Optional[int]) -> None:
        payload, body = cargo_of(words, "result", fd)
        reply = self._take(words["id"])
        if reply is None or not reply.set_running_or_notify_cancel():
            return
        error = words.get("error")
        if error is not None:
            message = error.get("message") if isinstance(error, dict) else None
            reply.set_exception(RequestError(words.get("code", "error"), message or _encode(error), error))
        else:
            reply.set_result(payload if body is None else body)

    def _sync(self) -> None:
        """A new daemon: it knows no subscription, and only those requests that the old one had not read."""
        with self._lock:
            for request in self._running.values():
                request.cancelled.set()
            self._running.clear()
            topics = dict(self._subscriptions)
            ids: List[int] = list(self._waiting)
        self._hello()
        for topic, subscription in topics.items():
            self._say({"$g": "subscribe", "topic": topic, "window": subscription.window})
            subscription.line.put(_UNKNOWN)
        self._say({"$g": "open", "ids": ids})

    def _close(self) -> None:
        self._ended.set()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            for request in self._running.values():
                request.cancelled.set()
        for reply in waiting.values():
            if reply.set_running_or_notify_cancel():
                reply.set_exception(RequestError("gone", "ganger closed the channel"))


_UNKNOWN = object()
_one: Optional[Channel] = None


def channel() -> Channel:
    """The channel of this process; the same at every call. Raises `ChannelError` when there is none."""
    global _one
    if _one is None:
        worker = workers_link()
        if worker is not None:
            if not worker.peers:
                raise ChannelError("there is no channel to others: the pool of this worker has no `channel = true` in ganger.toml")
            _one = Channel(None, worker)
            return _one
        number = channel_number(os.environ)
        if number is None:
            raise ChannelError(
                "there is no channel: this service was not started by ganger, or has no `channel = true` in ganger.toml"
            )
        # Not for children of this process: they have no such descriptor.
        os.environ.pop("GANGER_CHANNEL_FD", None)
        os.environ.pop("NODE_CHANNEL_FD", None)
        sock = socket.socket(fileno=number)
        sock.setblocking(True)
        sock.set_inheritable(False)
        _one = Channel(sock)
    return _one


def _logged(call: Callable[..., Any], *args: Any) -> None:
    try:
        call(*args)
    except Exception:
        traceback.print_exc()
