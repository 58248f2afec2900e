"""The nearest images, exactly and through faiss."""

import importlib.util
import sys

import numpy as np
import pytest

from dreal_tf.errors import InputError
from dreal_tf.retrieval import METRICS, ApproximateIndex, distances, nearest

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason='faiss is not installed: pip install ".[search]"'
)


def clustered():
    random = np.random.default_rng(0)
    centres = random.normal(size=(30, 8))
    return [
        (centres[random.integers(0, 30, rows)] + 0.5 * random.normal(size=(rows, 8))).astype("float32")
        for rows in (20, 400)
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("memory", [1e-3, 256])
def test_the_exact_ones_are_the_first_of_all_distances(metric, memory):
    query, gallery = clustered()
    gallery[200:210] = gallery[:10]  # Ties.
    neighbours = nearest(query, gallery, count=7, metric=metric, memory=memory)
    table = distances(query, gallery, metric)
    np.testing.assert_allclose(
        neighbours.distances, np.sort(table, axis=1)[:, :7], rtol=1e-5, atol=1e-6
    )
    if memory == 256:
        np.testing.assert_array_equal(
            neighbours.positions, np.argsort(table, axis=1, kind="stable")[:, :7]
        )


def test_a_small_gallery_gives_all_it_has():
    neighbours = nearest([[1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], count=10)
    assert neighbours.positions.tolist() == [[1, 0]] and neighbours.distances.tolist() == [[0.0, 1.0]]


@needs_faiss
@pytest.mark.parametrize("metric", METRICS)
def test_faiss_finds_them_at_the_same_distances(metric):
    query, gallery = clustered()
    exact = nearest(query, gallery, count=5, metric=metric)
    neighbours = ApproximateIndex(gallery, metric).nearest(query, count=5)
    assert np.mean(neighbours.positions == exact.positions) > 0.98
    same = neighbours.positions == exact.positions
    np.testing.assert_allclose(neighbours.distances[same], exact.distances[same], rtol=1e-4, atol=1e-6)


@needs_faiss
def test_of_noise_more_is_found_with_more_effort():
    random = np.random.default_rng(0)
    query, gallery = (random.normal(size=(rows, 32)).astype("float32") for rows in (50, 1500))
    exact, index = nearest(query, gallery, 5).positions, ApproximateIndex(gallery, links=8)
    little, much = (np.mean(index.nearest(query, 5, effort=n).positions == exact) for n in (5, 500))
    assert little < 0.8 and much > 0.98


@needs_faiss
def test_an_index_is_kept_in_a_file(tmp_path):
    query, gallery = clustered()
    index = ApproximateIndex(gallery, metric="euclidean")
    index.save(tmp_path / "gallery.faiss")
    loaded = ApproximateIndex.load(tmp_path / "gallery.faiss", metric="euclidean")
    before, after = index.nearest(query, 5), loaded.nearest(query, 5)
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.distances, before.distances)
    assert len(loaded) == len(gallery) and loaded.nearest(query, 1000).positions.shape == (20, 400)


@needs_faiss
def test_what_is_no_index_of_ours_is_refused(tmp_path):
    import faiss

    with pytest.raises(InputError, match="Received: a file that does not exist"):
        ApproximateIndex.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputError, match="Received: a file that faiss cannot read"):
        ApproximateIndex.load(tmp_path / "text")
    faiss.write_index(faiss.IndexFlatL2(4), str(tmp_path / "flat"))
    with pytest.raises(InputError, match="Received: IndexFlatL2"):
        ApproximateIndex.load(tmp_path / "flat")
    with pytest.raises(InputError, match="of 8 dimensions, as the index has. Received: 3"):
        ApproximateIndex(clustered()[1]).nearest(np.ones((1, 3)), 1)


def test_without_faiss_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # Python's way to say that it is not there.
    with pytest.raises(InputError, match=r'Expected faiss.*pip install "dreal-tf\[search\]"'):
        ApproximateIndex(clustered()[1])


def test_what_does_not_fit_is_refused():
    query, gallery = clustered()
    with pytest.raises(InputError, match="`count` must be at least 1"):
        nearest(query, gallery, 0)
    with pytest.raises(InputError, match="Expected a metric, one of: cosine.*Did you mean 'cosine'"):
        ApproximateIndex(gallery, "cosin")
