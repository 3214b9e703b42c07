import asyncio
import os
import sys
import threading
import time

from ganger import Cancelled, NonRetryableError, RetryAfterError, worker


@worker.task("echo")
def echo(payload, task):
    return payload


@worker.task("about")
def about(payload, task):
    return [task.id, task.kind, task.queue, task.attempt, task.token, threading.current_thread().name]


@worker.task("throws")
def throws(payload, task):
    raise KeyError("boom") from ValueError("deep")


@worker.task("never")
def never(payload, task):
    raise NonRetryableError("bad input")


@worker.task("not-now")
def not_now(payload, task):
    raise RetryAfterError("busy", 2.5)


@worker.task("object")
def an_object(payload, task):
    return object()


@worker.task("nan")
def nan(payload, task):
    return float("nan")


@worker.task("later")
async def later(payload, task):
    await asyncio.sleep(0)
    return payload


@worker.task("forever")
async def forever(payload, task):
    await asyncio.Event().wait()


@worker.task("until-cancelled")
def until_cancelled(payload, task):
    task.progress("begun")
    while not task.cancelled:
        time.sleep(0.001)  # stands for a piece of work
    raise Cancelled("noticed")


@worker.task("words")
def words(payload, task):
    task.log("first")
    task.progress(10, "begun")
    task.log({"n": 1})
    LATE.append(task)
    return 1


@worker.task("late")
def late(payload, task):
    old = LATE.pop()
    old.progress(99)
    old.log("too late")
    return 2


@worker.task("crash")
def crash(payload, task):
    task.log("a")
    task.log("b\nc")
    os.kill(os.getpid(), 9)


@worker.task("prints")
def prints(payload, task):
    print("a log line", flush=True)
    return os.environ.get("GANGER_CHANNEL_FD", "unset")


LATE = []

worker.run(concurrency=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
