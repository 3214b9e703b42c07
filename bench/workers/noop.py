"""A Python worker with ganger's SDK that does nothing."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "sdk" / "python"))

import ganger  # noqa: E402

ganger.worker(lambda payload, task: None)
