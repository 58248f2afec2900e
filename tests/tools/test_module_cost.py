"""The table of what modules cost, by its command."""

import pytest
from command_line import called
from module_cost import main

SMALL = ["--side", "32", "--batch", "2", "--rounds", "1"]


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_module():
    process = called(main, "eca", *SMALL)
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| none", "| eca"]
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_a_kind_that_nobody_knows_is_refused():
    process = called(main, "ecq", *SMALL)
    assert process.returncode == 1 and "Did you mean 'eca'" in process.stderr
