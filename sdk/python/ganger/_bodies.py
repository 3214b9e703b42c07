"""What travels beside a message: sockets, and memory that nobody can change any more."""

from __future__ import annotations

import json
import mmap
import os
import socket
from typing import Any, Dict, Optional, Tuple


def kind_of(handle: socket.socket) -> Dict[str, str]:
    if handle.type == socket.SOCK_DGRAM:
        family = "udp6" if handle.family == socket.AF_INET6 else "udp4"
        return {"type": "dgram.Socket", "dgramType": family}
    listens = handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return {"type": "net.Server" if listens else "net.Socket"}


def seal(fd: int) -> None:
    import fcntl

    # F_ADD_SEALS; SEAL, SHRINK, GROW, WRITE (linux/fcntl.h): Python has their names from 3.9 on.
    fcntl.fcntl(fd, 1033, 0x1 | 0x2 | 0x4 | 0x8)


def cargo_of(words: Dict[str, Any], name: str, fd: Optional[int]) -> Tuple[Any, Optional[memoryview]]:
    """What a message carries. Mapped privately: kernels before 6.7 map sealed memory in no other way."""
    if fd is None:
        return words.get(name), None
    try:
        size = words["body"]["size"]
        data: Any = mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ) if size else b""
    finally:
        os.close(fd)
    if words["body"]["is"] == "payload":
        return json.loads(bytes(data)), None
    return words.get(name), memoryview(data)
