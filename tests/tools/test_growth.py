"""The growth of costs with the size of the data."""

import pytest
from fresh_process import REPOSITORY, ended
from growth import exponent


def test_the_exponent_is_that_of_a_power():
    assert exponent([10, 100, 1000], [5.0, 1.0, 1000.0]) == pytest.approx(3)


@pytest.mark.slow
def test_every_cost_is_measured_at_small_sizes(tmp_path):
    command = REPOSITORY / "tools" / "benchmarks" / "growth.py"
    process = ended(command, "--scale", "0.2", "--folder", tmp_path)
    assert process.returncode == 0, process.stderr
    rows = process.stdout.splitlines()[2:]
    assert len(rows) == 5 and all(row.count("|") == 6 for row in rows)
    assert (tmp_path / "history_200.csv").read_text().count("\n") == 201
