"""The figures' share of a training, by its command."""

import pytest
from fresh_process import REPOSITORY, ended

COMMAND = REPOSITORY / "tools" / "benchmarks" / "figure_cost.py"
SMALL = ["--images", "200", "--side", "8", "--epochs", "2"]


@pytest.mark.slow
def test_the_command_prints_the_parts_and_the_share():
    process = ended(COMMAND, "digits_resnet8_se", *SMALL)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "at", "share"]
    assert float(lines[0].split()[1]) > 0 and float(lines[1].split()[3]) > 0
    assert float(lines[2].split()[1]) == 0.0  # So short a training has no time for a drawing.
