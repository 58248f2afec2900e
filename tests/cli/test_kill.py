"""Runs that are killed without warning: `python -m pytest -m slow tests/cli/test_kill.py`."""

import json
import random
import signal
import subprocess
import time

import pytest
from fresh_process import COMMAND, started

from dreal_tf.training.callbacks import read_history

TRAIN = [*COMMAND, "train", "digits_resnet8_se"]
TRAIN += ["--set", "schedule.epochs=6", "--set", "backbone.width=0.5"]
KILLS = 20  # Random moments.


def start(out):
    return started(*TRAIN, "--out", out)


def metrics_of(out):
    return json.loads((out / "metrics.json").read_text()) | {"training_seconds": None}


@pytest.mark.slow
def test_killed_at_random_moments_every_run_ends_as_if_nothing_had_been(tmp_path):
    whole = tmp_path / "whole"
    started = time.monotonic()
    assert start(whole).wait() == 0
    duration = time.monotonic() - started
    moments = random.Random(0)
    kills = attempt = 0
    while kills < KILLS:
        attempt += 1
        out = tmp_path / f"run{attempt}"
        for _ in range(2):  # Each run is killed twice, at most.
            process = start(out)
            try:
                process.wait(timeout=moments.uniform(0.2, duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        process = start(out)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert metrics_of(out) == metrics_of(whole)
        for one, two in zip(
            read_history(whole / "history.csv"), read_history(out / "history.csv"), strict=True
        ):
            assert one | {"seconds": 0} == two | {"seconds": 0}
    print(f"{kills} kills in {attempt} runs of {duration:.0f} s")
