# A worker with ganger's Python SDK that notes every attempt with its fence, fsynced, and sees if another one runs beside it.
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SDK"], "python"))

from ganger import worker  # noqa: E402

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
mark = os.environ["GUARD"]


def note(what, n, task):
    os.write(ledger, f"{what} {n} {task.attempt} {task.token} {os.getpid()} {time.monotonic_ns()}\n".encode())
    os.fdatasync(ledger)


@worker.task()
def fenced(payload, task):
    n = payload["n"]
    # The kernel gives a name to one socket at a time and takes it back when its process is gone.
    guard = socket.socket(socket.AF_UNIX)
    try:
        guard.bind(f"\0{mark}-{n}")
    except OSError:
        note("O", n, task)
    note("S", n, task)
    time.sleep(payload["ms"] / 1000)
    note("E", n, task)
    guard.close()
    return {"n": n, "token": task.token, "pid": os.getpid()}


worker.run()
