"""How lines come and go: a socket whose number ganger gives, or stdin and stdout for ``protocol = "stdio"``."""

from __future__ import annotations

import os
import socket
import stat
import sys
from typing import Callable, Iterator, List, Mapping, MutableMapping, Optional

from ._errors import ChannelError

RECEIVE = 256 * 1024
"""Bytes per read: some hundred tasks."""


class Transport:
    """Blocking ends: ``receive`` gives ``b""`` at the end, ``send`` takes whole lines."""

    def __init__(
        self,
        receive: Callable[[], bytes],
        send: Callable[[bytes], None],
        *,
        answers_after_end: bool,
    ) -> None:
        self.receive = receive
        self.send = send
        self.answers_after_end = answers_after_end
        """The end of what comes says only that no more tasks will come: a pipe's, not a socket's."""


def open_transport(environ: MutableMapping[str, str]) -> Transport:
    """Finds out how ganger can be reached from this process."""
    number = channel_number(environ)
    # Not for children of this process: they have no such descriptor.
    environ.pop("GANGER_CHANNEL_FD", None)
    environ.pop("NODE_CHANNEL_FD", None)
    return over_stdio() if number is None else over_socket(number)


def channel_number(environ: Mapping[str, str]) -> Optional[int]:
    """The channel's descriptor, checked; none when there is no channel to be expected."""
    told = environ.get("GANGER_CHANNEL_FD") or environ.get("NODE_CHANNEL_FD")
    if told is None:
        return None
    try:
        number = int(told)
        mode = os.fstat(number).st_mode
    except (ValueError, OSError) as why:
        raise swallowed(told, f"it is not open here ({why})") from None
    if not stat.S_ISSOCK(mode):
        raise swallowed(told, "it is no socket here")
    return number


def swallowed(told: str, what: str) -> ChannelError:
    return ChannelError(
        f"ganger gave descriptor {told} as this worker's channel, but {what}. A program in between took or closed it "
        "(npm, npx, uv run, poetry run and subprocess with close_fds do). "
        'Let ganger start python itself: command = ["python3", "worker.py"], or use protocol = "stdio".'
    )


def over_socket(number: int) -> Transport:
    channel = socket.socket(fileno=number)
    channel.setblocking(True)
    channel.set_inheritable(False)

    def receive() -> bytes:
        try:
            return channel.recv(RECEIVE)
        except ConnectionError:
            return b""

    def send(lines: bytes) -> None:
        try:
            channel.sendall(lines)
        except (BrokenPipeError, ConnectionError):
            # The reading side sees the end too, and that is where it is handled.
            pass

    return Transport(receive, send, answers_after_end=False)


def over_stdio() -> Transport:
    if sys.stdin is not None and sys.stdin.isatty():
        raise ChannelError(
            "This worker was not started by ganger: there is no channel, and stdin is a terminal. "
            'Put it into ganger.toml as [pool.NAME] command = ["python3", "worker.py"] and run `ganger up`.'
        )
    source = os.dup(0)
    sink = os.dup(1)
    # stdout is the protocol: what the program prints goes to stderr, which ganger logs. Its stdin is empty.
    sys.stdout.flush()
    os.dup2(2, 1)
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)

    def send(lines: bytes) -> None:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(sink, view) :]
        except BrokenPipeError:
            pass

    return Transport(lambda: os.read(source, RECEIVE), send, answers_after_end=True)


def lines_of(receive: Callable[[], bytes]) -> Iterator[bytes]:
    """Whole lines, however they come; a long one is put together once."""
    parts: List[bytes] = []
    while True:
        chunk = receive()
        if not chunk:
            return
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        if rest:
            yield b"".join(parts)
            yield from rest[:-1]
            parts = [rest[-1]]
