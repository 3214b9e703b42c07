"""Python's own pools with two workers and 200-byte tasks, one task per message (chunksize=1).

    python3 python_pool.py imap|executor TASKS

Prints {"value": tasks a second}.
"""

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

PAYLOAD = {"text": "x" * 150}


def noop(_payload):
    return None


def imap(tasks):
    with multiprocessing.Pool(2) as pool:
        for _ in pool.imap(noop, [PAYLOAD] * 256, chunksize=1):
            pass
        since = time.perf_counter()
        for _ in pool.imap(noop, (PAYLOAD for _ in range(tasks)), chunksize=1):
            pass
        return tasks / (time.perf_counter() - since)


def executor(tasks):
    with ProcessPoolExecutor(2) as pool:
        for _ in pool.map(noop, [PAYLOAD] * 256, chunksize=1):
            pass
        since = time.perf_counter()
        for _ in pool.map(noop, (PAYLOAD for _ in range(tasks)), chunksize=1):
            pass
        return tasks / (time.perf_counter() - since)


if __name__ == "__main__":
    run = {"imap": imap, "executor": executor}[sys.argv[1]]
    print(json.dumps({"value": run(int(sys.argv[2]))}))
