"""Costs of epochs, of depth and on a GPU, by their commands."""

import re

import numpy as np
import pytest
from depth_cost import ratios_of
from fresh_process import REPOSITORY, ended

FOLDER = REPOSITORY / "tools" / "benchmarks"


def test_ratios_are_taken_turn_by_turn():
    seconds = {(8, "plain"): np.array([1.0, 2.0]), (8, "sampled"): np.array([1.5, 2.0])}
    seconds |= {(14, "plain"): np.array([2.0, 4.0]), (14, "sampled"): np.array([4.0, 4.0])}
    ratios = ratios_of(seconds)
    assert ratios[8].tolist() == [1.5, 1.0] and ratios[14].tolist() == [2.0, 1.0]


@pytest.mark.slow
def test_whole_epochs_take_turns():
    options = ["--images", "200", "--side", "8", "--rounds", "2", "--threads", "1"]
    process = ended(FOLDER / "epoch_cost.py", "digits_resnet8_se", *options)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["plain", "sampled", "ratio"]
    assert float(lines[2].split()[1]) > 0 and "2 epochs of each, 1 threads" in lines[2]


@pytest.mark.slow
def test_the_measurements_for_a_gpu_run_dry_on_any_device():
    process = ended(FOLDER / "gpu.py", "--dry", "--images", "16")
    assert process.returncode == 0, process.stderr[-2000:]
    rows = re.findall(r"^\| digits_resnet8_se \| 8 \| (\w+) \| (on|off) \|", process.stdout, re.M)
    assert rows == [(p, xla) for p in ("float32", "mixed_bfloat16") for xla in ("off", "on")]
    assert "difference: " in process.stdout and "Ratio " in process.stdout
