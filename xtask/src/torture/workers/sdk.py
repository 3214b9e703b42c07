# A worker with ganger's Python SDK: notes in the ledger, a pause, a square.
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SDK"], "python"))

from ganger import worker  # noqa: E402

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)


def note(what, n):
    os.write(ledger, f"{what} {n} {os.getpid()} {time.monotonic_ns()}\n".encode())


@worker.task()
def square(payload, task):
    n = payload["n"]
    note("S", n)
    time.sleep(payload["ms"] / 1000)
    note("E", n)
    return {"n": n, "square": n * n}


worker.run()
