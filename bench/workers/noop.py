"""A Python worker with ganger's SDK that does nothing."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "sdk" / "python"))

from ganger import worker  # noqa: E402


@worker.task()
def noop(payload, task):
    return None


worker.run()
