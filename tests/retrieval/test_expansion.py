"""Query expansion, worked by hand."""

import numpy as np
import pytest

from dreal_tf.errors import InputError
from dreal_tf.retrieval import Labels, expanded_queries, score_embeddings, unit_length

QUERY = np.array([[2.0, 0.0]])
GALLERY = np.array([[0.0, 1.0], [3.0, 4.0], [-1.0, 0.0], [4.0, 3.0]])  # Cosines 0, 0.6, -1, 0.8.


def test_the_average_weighs_all_the_same():
    expected = unit_length([[1 + 0.8 + 0.6, 0.6 + 0.8]])
    np.testing.assert_allclose(expanded_queries(QUERY, GALLERY, count=2, alpha=0), expected, rtol=1e-6)


def test_alpha_weighs_by_the_power_of_the_cosine():
    far, near = 0.6**3, 0.8**3
    expected = unit_length([[1 + near * 0.8 + far * 0.6, near * 0.6 + far * 0.8]])
    for count in (2, 4, 9):  # The two others are at right angles, or opposite.
        np.testing.assert_allclose(expanded_queries(QUERY, GALLERY, count=count), expected, rtol=1e-6)


def test_queries_are_expanded_each_by_its_own_however_they_are_cut():
    random = np.random.default_rng(0)
    query, gallery = random.normal(size=(20, 6)), random.normal(size=(90, 6))
    whole = expanded_queries(query, gallery, count=5)
    np.testing.assert_allclose(expanded_queries(query, gallery, 5, memory=1e-3), whole, atol=1e-6)
    alone = [expanded_queries(row[None], gallery, count=5)[0] for row in query]
    np.testing.assert_allclose(whole, alone, atol=1e-6)


def test_it_finds_more_where_images_of_an_identity_lie_together():
    random = np.random.default_rng(0)
    centres, of_gallery = random.normal(size=(20, 16)), random.integers(0, 20, 600)
    query = centres + 1.2 * random.normal(size=centres.shape)
    gallery = centres[of_gallery] + 0.7 * random.normal(size=(600, 16))
    labels = Labels(np.arange(1, 21)), Labels(of_gallery + 1)
    before = score_embeddings(query, gallery, *labels).summary()["mAP"]
    for alpha in (0, 3):
        expanded = expanded_queries(query, gallery, count=10, alpha=alpha)
        assert score_embeddings(expanded, gallery, *labels).summary()["mAP"] > before + 0.05


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="`alpha` must be at least 0. Received: alpha=-1"):
        expanded_queries(QUERY, GALLERY, alpha=-1)
    with pytest.raises(InputError, match="`count` must be at least 1"):
        expanded_queries(QUERY, GALLERY, count=0)
    with pytest.raises(InputError, match="2 and 3 dimensions"):
        expanded_queries(QUERY, np.ones((2, 3)))
