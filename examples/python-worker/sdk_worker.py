# The same with ganger's SDK: errors carry class and stack, several kinds live in one worker, progress can be told.
import os
import sys

sys.path.insert(0, os.environ["SDK"])

import ganger  # noqa: E402


def count(payload, task):
    return {"words": len(payload["text"].split())}


def shout(payload, task):
    task.progress({"done": 0.5})
    return {"text": payload["text"].upper()}


ganger.worker({"count": count, "shout": shout})
