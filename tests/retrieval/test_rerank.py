"""Re-ranking against the published algorithm, written out image by image over full matrices."""

import tracemalloc

import numpy as np
import pytest

from dreal_tf.errors import InputError
from dreal_tf.retrieval import (
    Labels,
    reranked_distances,
    score_distances,
    score_embeddings,
    unit_length,
)


def published(query, gallery, k1, k2, weight):
    """Zhong et al. 2017, equations 2 to 12, with sets and loops; Euclidean distances, squared."""
    images = np.concatenate([query, gallery]).astype("float64")
    distance = np.square(images[:, None] - images).sum(axis=2)
    distance = distance / distance.max(axis=1, keepdims=True)
    ordered = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(image, k):
        return {int(j) for j in ordered[image, : k + 1] if image in ordered[j, : k + 1]}

    code = np.zeros_like(distance)
    for image in range(len(images)):
        mutual = reciprocal(image, k1)
        expanded = set(mutual)
        for other in mutual:
            candidates = reciprocal(other, int(np.around(k1 / 2)))
            if len(candidates & mutual) > 2 / 3 * len(candidates):
                expanded |= candidates
        for other in expanded:
            code[image, other] = np.exp(-distance[image, other])
        code[image] /= code[image].sum()
    code = np.array([code[ordered[image, :k2]].mean(axis=0) for image in range(len(images))])
    jaccard = np.zeros((len(query), len(gallery)))
    for row in range(len(query)):
        for column in range(len(gallery)):
            pair = code[row], code[len(query) + column]
            jaccard[row, column] = 1 - np.minimum(*pair).sum() / np.maximum(*pair).sum()
    return (1 - weight) * jaccard + weight * distance[: len(query), len(query) :]


def clustered(queries=15, images=75, identities=8, spread=0.8, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(identities, 12))
    parts = []
    for rows in (queries, images):
        labels = random.integers(0, identities, rows)
        noise = spread * random.normal(size=(rows, 12))
        parts.append(((centres[labels] + noise).astype("float32"), labels + 1))
    return parts


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 1, 0.5), (5, 3, 0.0), (1, 1, 0.9)])
def test_it_is_the_published_algorithm(metric, k1, k2, weight):
    (query, _), (gallery, _) = clustered()
    reranked = reranked_distances(query, gallery, k1, k2, weight, metric)
    if metric == "cosine":
        query, gallery = unit_length(query), unit_length(gallery)
    np.testing.assert_allclose(reranked, published(query, gallery, k1, k2, weight), atol=2e-6)
    assert reranked.dtype == np.float32 and reranked.min() >= 0 and reranked.max() <= 1


def test_neighbourhoods_larger_than_the_data_are_all_of_it():
    (query, _), (gallery, _) = clustered(queries=2, images=6)
    reranked = reranked_distances(query, gallery, k1=20, k2=6, metric="euclidean")
    np.testing.assert_allclose(reranked, published(query, gallery, 20, 6, 0.3), atol=2e-6)


def test_how_the_distances_are_cut_does_not_matter():
    (query, _), (gallery, _) = clustered()
    whole = reranked_distances(query, gallery)
    np.testing.assert_allclose(reranked_distances(query, gallery, memory=0.003), whole, atol=1e-6)


def test_it_finds_more_where_images_of_an_identity_lie_together():
    (query, of_query), (gallery, of_gallery) = clustered(queries=60, images=400, spread=1.0)
    labels = Labels(of_query), Labels(of_gallery)
    before = score_embeddings(query, gallery, *labels).summary()
    after = score_distances(reranked_distances(query, gallery), *labels).summary()
    assert after["mAP"] > before["mAP"] + 0.05


@pytest.mark.filterwarnings("error")  # For example a division by the weights of no neighbour.
def test_more_copies_of_an_image_than_it_has_neighbours():
    same = np.ones((40, 3), "float32")
    reranked = reranked_distances(same[:4], same[4:], k1=5, k2=2)
    assert np.isfinite(reranked).all() and reranked.min() >= 0 and reranked.max() <= 1


def test_memory_grows_with_the_images_and_not_with_their_square():
    """Twice the images: twice the memory, beside the result, and not four times."""
    peaks = []
    for images in (1000, 2000):
        (query, _), (gallery, _) = clustered(20, images, identities=images // 8, spread=0.3)
        tracemalloc.start()
        reranked = reranked_distances(query, gallery, memory=1)
        peaks.append(tracemalloc.get_traced_memory()[1] - reranked.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 2.5 * peaks[0] and peaks[1] < 2000 * 2000 * 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k1": 0}, "`k1` must be at least 1"),
        ({"k2": 0}, "`k2` must be at least 1"),
        ({"weight": 1.5}, "Received: metric='cosine', weight=1.5"),
        ({"metric": "squared_euclidean"}, "Expected metric 'cosine' or 'euclidean'"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        reranked_distances(np.ones((2, 3)), np.ones((5, 3)), **changed)
