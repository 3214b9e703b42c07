# The same with ganger's SDK: errors carry class and stack, several kinds live in one worker, progress can be told.
import os
import sys

sys.path.insert(0, os.environ["SDK"])

from ganger import worker  # noqa: E402


@worker.task("count")
def count(payload, task):
    return {"words": len(payload["text"].split())}


@worker.task("shout")
def shout(payload, task):
    task.progress({"done": 0.5})
    return {"text": payload["text"].upper()}


worker.run()
