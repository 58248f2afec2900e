"""The table of what modules cost, by its command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SMALL = ["--side", "32", "--batch", "2", "--rounds", "1"]


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_module():
    process = subprocess.run(
        [sys.executable, "-m", "dreal_tf.studies.module_cost", "eca", *SMALL],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| none", "| eca"]
    assert all(line.count("|") == lines[0].count("|") for line in lines)
