"""The table of what modules cost, by its command."""

import pytest
from fresh_process import REPOSITORY, ended

COMMAND = REPOSITORY / "tools" / "benchmarks" / "module_cost.py"
SMALL = ["--side", "32", "--batch", "2", "--rounds", "1"]


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_module():
    process = ended(COMMAND, "eca", *SMALL)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| none", "| eca"]
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_a_kind_that_nobody_knows_is_refused():
    process = ended(COMMAND, "ecq", *SMALL)
    assert process.returncode == 1 and "Did you mean 'eca'" in process.stderr
