"""Paired differences of accuracies, worked by hand."""

import numpy as np
import pytest

from dreal_tf.analysis.report.summary import accuracy_difference


def test_the_difference_counts_what_only_one_gets_right():
    correct = np.array([True] * 12 + [False] * 4 + [True] * 84)
    other = np.array([False] * 12 + [True] * 4 + [True] * 84)
    difference = accuracy_difference(correct, other)
    assert difference["mean"] == pytest.approx(0.08)
    assert (difference["only_this"], difference["only_other"]) == (12, 4)
    # Twice the chance of at most 4 heads in 16 throws: 2 (1 + 16 + 120 + 560 + 1820) / 2^16.
    assert difference["p_value"] == pytest.approx(2 * 2517 / 65536)
    # The deviation of the differences is 0.392, so an interval of about ±1.96 · 0.0392.
    assert difference["low"] == pytest.approx(0.08 - 0.077, abs=0.01)
    assert difference["high"] == pytest.approx(0.08 + 0.077, abs=0.01)


def test_networks_that_answer_alike_do_not_differ():
    correct = np.array([True, False, True])
    difference = accuracy_difference(correct, correct)
    assert (difference["mean"], difference["low"], difference["high"], difference["p_value"]) == (
        0,
        0,
        0,
        1,
    )
