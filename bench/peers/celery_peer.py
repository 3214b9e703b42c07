"""Celery on Redis: 200-byte no-op tasks, two worker processes (prefork), results kept in Redis (its default).

Prints {"value": tasks a second, "memory": MiB of redis and workers, "version"}.
"""
import json
import os
import signal
import subprocess
import sys
import time

import celery
import redis

PORT = int(os.environ["BENCH_PORT"])
URL = f"redis://127.0.0.1:{PORT}/0"
app = celery.Celery("celery_peer", broker=URL, backend=URL)


@app.task(name="noop")
def noop(text):
    return None


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def tree(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            below = file.read().split()
    except OSError:
        return []
    return [pid] + [found for child in below for found in tree(int(child))]


def main():
    tasks = int(sys.argv[1])
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--concurrency", "2", "--loglevel", "ERROR"],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        connection = redis.Redis(port=PORT)
        results = 0

        def run(count):
            nonlocal results
            results += count
            text = "x" * 150
            for _ in range(count):
                noop.delay(text)
            # Every result is a key; the broker keeps a handful of its own.
            while sum(1 for _ in connection.scan_iter("celery-task-meta-*", count=10_000)) < results:
                time.sleep(0.02)

        run(200)
        since = time.monotonic()
        run(tasks)
        seconds = time.monotonic() - since
        pids = tree(int(os.environ["BENCH_SERVER"])) + tree(worker.pid)
        memory = sum(pss(pid) for pid in pids)
        version = f"Celery {celery.__version__}"
        print(json.dumps({"value": tasks / seconds, "memory": memory, "version": version}))
    finally:
        os.killpg(worker.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
