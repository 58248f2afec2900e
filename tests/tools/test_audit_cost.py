"""The cost of an audit, by its command."""

import re

import pytest
from fresh_process import REPOSITORY, ended

COMMAND = REPOSITORY / "tools" / "benchmarks" / "audit_cost.py"


@pytest.mark.slow
def test_both_ways_are_timed_and_agree():
    process = ended(COMMAND, "--side", "32", "--rounds", "1")
    assert process.returncode == 0, process.stderr[-2000:]
    ratio = float(re.search(r"Ratio ([\d.]+) \(", process.stdout)[1])
    assert 0 < ratio < 10 and float(re.search(r"difference ([\de.+-]+)\.", process.stdout)[1]) < 1e-3
