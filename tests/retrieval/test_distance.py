"""Distances against their definition in float64, and the choice of the smallest."""

import warnings

import numpy as np
import pytest

from dreal_tf.errors import InputError
from dreal_tf.retrieval import METRICS, distance_blocks, distances, mean_of_views, unit_length
from dreal_tf.retrieval.distance import smallest


def by_definition(query, gallery, metric):
    query, gallery = query.astype("float64"), gallery.astype("float64")
    if metric == "cosine":
        lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
        return 1 - query @ gallery.T / lengths
    squared = np.square(query[:, None] - gallery).sum(axis=2)
    return squared if metric == "squared_euclidean" else np.sqrt(squared)


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_of_the_definition(metric):
    """Also of embeddings that lie together far from the origin, where digits cancel."""
    random = np.random.default_rng(0)
    query, gallery = (100 + random.normal(size=(n, 5)).astype("float32") for n in (7, 11))
    expected = by_definition(query, gallery, metric)
    actual = distances(query, gallery, metric)
    assert actual.dtype == np.float32
    atol = {"cosine": 5e-7}.get(metric, 0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)


def test_blocks_come_in_order_and_hold_as_many_rows_as_the_memory_takes():
    random = np.random.default_rng(0)
    query, gallery = random.normal(size=(50, 3)), random.normal(size=(128, 3))
    blocks = list(distance_blocks(query, gallery, memory=10 * 128 * 8 / 2**20))
    assert [len(block) for block in blocks] == [10] * 5
    np.testing.assert_allclose(np.concatenate(blocks), distances(query, gallery), atol=1e-6)
    with warnings.catch_warnings():  # scikit-learn warns of memory that does not take one row.
        warnings.simplefilter("error")
        assert {len(block) for block in distance_blocks(query, gallery, memory=1e-9)} == {1}


def test_the_smallest_come_nearest_first_and_among_equals_leftmost_first():
    random = np.random.default_rng(0)
    for columns in (1, 5, 40):
        values = random.integers(0, 6, (60, columns)).astype("float32")
        for count in (1, 3, 7, 40, 50):
            expected = np.argsort(values, axis=1, kind="stable")[:, :count]
            np.testing.assert_array_equal(smallest(values, count), expected)


def test_views_are_averaged_as_directions():
    image, mirrored = np.array([[3.0, 0], [0, 1]]), np.array([[0, 0.1], [0, 5]])
    expected = [[np.sqrt(0.5), np.sqrt(0.5)], [0, 1]]
    np.testing.assert_allclose(mean_of_views(image, mirrored), expected, rtol=1e-6)
    np.testing.assert_allclose(mean_of_views(image), unit_length(image))
    with pytest.raises(InputError, match=r"same images.*Received: shapes \[\(1, 2\), \(2, 2\)\]"):
        mean_of_views(image, mirrored[:1])


WRONG = [
    ([[1.0, np.nan]], [[1.0, 1.0]], "cosine", "query embeddings that are finite.*Received: 1 rows"),
    ([[1.0, 1.0]], [[1, 1], [1, np.inf]], "cosine", "gallery embeddings that are finite.*row 1"),
    ([1.0, 1.0], [[1.0, 1.0]], "cosine", r"Expected query embeddings.*shape \(2,\)"),
    ([[1.0, 1.0]], np.zeros((0, 2)), "cosine", r"Expected gallery embeddings.*shape \(0, 2\)"),
    ([[1.0]], [[1.0, 1.0]], "cosine", "Received: 1 and 2 dimensions"),
    ([["a"]], [["b"]], "cosine", "Expected query embeddings, numbers"),
    ([[1.0]], [[1.0]], "cosin", "Did you mean 'cosine'"),
]


@pytest.mark.parametrize(("query", "gallery", "metric", "message"), WRONG)
def test_what_does_not_fit_is_refused(query, gallery, metric, message):
    with pytest.raises(InputError, match=message):
        distance_blocks(query, gallery, metric)
