"""The cost of scoring, by its command."""

import re

import numpy as np
import pytest
from fresh_process import REPOSITORY, ended
from ranking_cost import generated_embeddings

COMMAND = (REPOSITORY / "tools" / "benchmarks" / "ranking_cost.py",)
SMALL = ("--queries", "40", "--gallery", "300", "--dimensions", "8")


def test_the_command_prints_what_scoring_takes():
    process = ended(*COMMAND, *SMALL, "--rerank")
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines[3:]] == ["| ours", "| ours, re-ranked"]
    assert all(line.count("|") == lines[1].count("|") for line in lines[2:])


def test_a_peer_that_is_not_there_is_refused():
    process = ended(*COMMAND, *SMALL, "--peer", "no/such/python")
    assert process.returncode == 1
    assert "Expected a Python interpreter that has torchreid. Received: 'no/such" in process.stderr


def test_the_arrays_are_like_a_benchmark_and_the_same_each_time():
    made, again = generated_embeddings(200, 2000, 8), generated_embeddings(200, 2000, 8)
    for split in made:
        for kind, values in made[split].items():
            np.testing.assert_array_equal(values, again[split][kind])
    alone = np.mean(made["gallery"]["identities"] == 0)
    assert 0.1 < alone < 0.25 and made["query"]["identities"].min() > 0
    assert set(made["query"]["cameras"]) == set(range(1, 7))


@pytest.mark.slow
def test_a_benchmark_of_market_1501s_size_takes_less_than_a_minute_and_four_gigabytes():
    process = ended(*COMMAND)
    assert process.returncode == 0, process.stderr[-2000:]
    seconds, _, peak = re.search(r"ours \| ([\d.]+) \| ([\d.]+) \| (\d+)", process.stdout).groups()
    assert float(seconds) < 60 and int(peak) < 4000
