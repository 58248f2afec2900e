"""Requests that make no sense; `test_prune.py` has those that name no run to prune."""

import pytest

from dreal_tf.deployment.pruning_request import check_request
from dreal_tf.errors import InputError


@pytest.mark.parametrize(
    ("threshold", "keep", "message"),
    [
        (0.1, 2, "Expected a threshold or a number to keep. Received: threshold=0.1, keep=2. Leave"),
        (None, -1, "Received: keep=-1. Give 0"),
        (float("nan"), None, "Expected a threshold in nats. Received: threshold=nan"),
        (float("inf"), None, "Received: threshold=inf"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path, threshold, keep, message):
    with pytest.raises(InputError, match=message):
        check_request(tmp_path, threshold, keep)
