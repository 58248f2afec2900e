"""The instruments' share of an epoch, by its command."""

import pytest
from fresh_process import REPOSITORY, ended

COMMAND = REPOSITORY / "tools" / "benchmarks" / "instrument_cost.py"
SMALL = ["--images", "200", "--side", "8", "--rounds", "1"]


@pytest.mark.slow
def test_the_command_prints_the_parts_and_the_share():
    process = ended(COMMAND, "digits_resnet8_se", *SMALL)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["training", "without", "with", "share"]
    assert float(lines[0].split()[1]) > 0 and "% of an epoch" in lines[-1]
