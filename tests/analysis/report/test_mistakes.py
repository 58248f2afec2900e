"""Confusions and confident mistakes, worked by hand."""

import numpy as np

from dreal_tf.analysis.report.mistakes import confident_mistakes, most_confused


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
