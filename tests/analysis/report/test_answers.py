"""Confusions, mistakes and paired differences, worked by hand."""

import numpy as np
import pytest

from dreal_tf.analysis.report.gathering import (
    confident_mistakes,
    confusion_counts,
    most_confused,
    paired_difference,
)


def test_confusions_are_counted_by_label_and_answer():
    counts = confusion_counts(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 0, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [2, 0, 1]]


def test_the_most_frequent_confusions_come_first_and_right_answers_never():
    counts = np.array([[90, 4, 6], [6, 94, 0], [1, 0, 99]])
    pairs = [(0, 2, 6, 0.06), (1, 0, 6, 0.06), (0, 1, 4, 0.04), (2, 0, 1, 0.01)]
    assert most_confused(counts) == pairs
    assert most_confused(counts, most=2) == pairs[:2]
    assert most_confused(np.diag([3, 4])) == []


def test_a_class_without_images_takes_part_in_no_confusion():
    assert most_confused(np.array([[0, 0], [2, 3]])) == [(1, 0, 2, 0.4)]


def test_mistakes_are_ordered_by_the_probability_of_the_wrong_answer():
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.05, 0.95]])
    labels = np.array([1, 0, 0, 1])  # Wrong, wrong, wrong, right.
    assert confident_mistakes(probabilities, labels).tolist() == [1, 2, 0]
    assert confident_mistakes(probabilities, labels, most=1).tolist() == [1]
    assert confident_mistakes(probabilities, probabilities.argmax(1)).size == 0


def test_a_paired_difference_counts_what_only_one_gets_right():
    right = np.array([True] * 12 + [False] * 4 + [True] * 84)
    other = np.array([False] * 12 + [True] * 4 + [True] * 84)
    found = paired_difference(right, other)
    assert found["mean"] == pytest.approx(0.08)
    assert (found["only_this"], found["only_other"]) == (12, 4)
    # Twice the chance of at most 4 heads in 16 throws: 2 (1 + 16 + 120 + 560 + 1820) / 2^16.
    assert found["p_value"] == pytest.approx(2 * 2517 / 65536)
    # The deviation of the differences is 0.392, so an interval of about ±1.96 · 0.0392.
    assert found["low"] == pytest.approx(0.08 - 0.077, abs=0.01)
    assert found["high"] == pytest.approx(0.08 + 0.077, abs=0.01)


def test_networks_that_answer_alike_do_not_differ():
    right = np.array([True, False, True])
    found = paired_difference(right, right)
    assert (found["mean"], found["low"], found["high"], found["p_value"]) == (0, 0, 0, 1)
