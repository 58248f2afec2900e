"""CMC, mAP and mINP: galleries worked by hand, and every order of ties tried by brute force."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreal_tf.errors import InputError
from dreal_tf.retrieval import (
    Labels,
    Protocol,
    distances,
    ranked_gallery,
    score_distances,
    score_embeddings,
)

# Identities and cameras of a gallery: -1 is junk, 0 a distractor.
GALLERY = Labels([7, 9, 7, -1, 0, 7], [1, 2, 2, 2, 1, 3])
NO_CAMERAS = Labels([1, 2, 2, 3])


def test_a_gallery_worked_by_hand():
    """With rows of unequal length, and two queries without a match."""
    query = Labels([7, 9, 5, 9], [1, 1, 1, 2])
    table = [
        [0.1, 0.2, 0.3, 0.35, 0.4, 0.5],  # Own view excluded; wrong, right, (junk), wrong, right.
        [0.9, 0.1, 0.2, 0.05, 0.4, 0.5],  # (Junk), right, and four wrong ones.
        [0.1, 0.2, 0.3, 0.35, 0.4, 0.5],  # Nobody of that identity.
        [0.1, 0.2, 0.3, 0.35, 0.4, 0.5],  # Seen by its own camera alone.
    ]
    scores = score_distances(np.array(table), query, GALLERY, ranks=(1, 2, 10))
    assert scores.matched.tolist() == [True, True, False, False]
    np.testing.assert_allclose(scores.cmc[:2], [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_allclose(scores.average_precision[:2], [(1 / 2 + 2 / 4) / 2, 1])
    np.testing.assert_allclose(scores.inverse_negative_penalty[:2], [2 / 4, 1])
    assert scores.summary() == pytest.approx(
        {"rank_1": 0.5, "rank_2": 1, "rank_10": 1, "mAP": 0.75, "mINP": 0.75}
        | {"queries": 2, "queries_without_match": 2}
    )


def test_ties_worked_by_hand():
    """Two of four right, all four as near: six orders of right and wrong."""
    scores = score_distances([[1, 1, 1, 1]], Labels([2]), Labels([2, 1, 1, 2]), ranks=(1, 2, 3, 4))
    np.testing.assert_allclose(scores.cmc, [[1 / 2, 5 / 6, 1, 1]])
    orders = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]  # Ranks of the right ones.
    precision = np.mean([(1 / first + 2 / last) / 2 for first, last in orders])
    np.testing.assert_allclose(scores.average_precision, precision)
    np.testing.assert_allclose(
        scores.inverse_negative_penalty, np.mean([2 / last for _, last in orders])
    )


def test_a_tie_of_right_answers_alone_is_a_perfect_ranking():
    for right in (1, 2, 3):
        gallery = Labels([2] * right + [1])
        scores = score_distances([[1] * right + [3]], Labels([2]), gallery, ranks=(1, 2))
        assert scores.cmc.tolist() == [[1, 1]]
        np.testing.assert_allclose(scores.average_precision, [1])
        np.testing.assert_allclose(scores.inverse_negative_penalty, [1])


def test_an_embedding_that_says_nothing_scores_as_chance_does_in_any_order_of_the_gallery():
    """15,000 images at one distance, of which one matches; sorted by identity, it is the first."""
    images = 15_000
    identities = np.arange(1, images + 1)
    for order in (slice(None), slice(None, None, -1)):
        scores = score_distances(np.zeros((1, images)), Labels([1]), Labels(identities[order]))
        expected = np.sum(1 / np.arange(1, images + 1)) / images
        np.testing.assert_allclose(scores.cmc, [[1 / images, 5 / images, 10 / images]], rtol=1e-6)
        np.testing.assert_allclose(scores.average_precision, expected, rtol=1e-9)
        np.testing.assert_allclose(scores.inverse_negative_penalty, expected, rtol=1e-6)


def test_many_right_answers_in_one_large_tie():
    """The draws of a permutation, each counted as it is."""
    random, images, right = np.random.default_rng(0), 300, 40
    identities = np.repeat([1, 2], [right, images - right])
    scores = score_distances(np.zeros((1, images)), Labels([1]), Labels(identities), ranks=(1, 3))
    sampled = np.array([np.sort(random.permutation(images)[:right]) + 1 for _ in range(20_000)])
    seen = {
        "cmc": np.stack([sampled[:, 0] <= 1, sampled[:, 0] <= 3], axis=1).astype(float),
        "average_precision": np.mean(np.arange(1, right + 1) / sampled, axis=1)[:, None],
        "inverse_negative_penalty": (right / sampled[:, -1])[:, None],
    }
    for name, draws in seen.items():
        error = draws.std(axis=0) / np.sqrt(len(draws))
        z = (np.ravel(getattr(scores, name)) - draws.mean(axis=0)) / error
        assert np.abs(z).max() < 4, name


def one_order(right, ranks):
    """Scores of one order of a gallery: bools, nearest first."""
    positions = [position for position, hit in enumerate(right, 1) if hit]
    precision = sum((n + 1) / position for n, position in enumerate(positions)) / len(positions)
    return [*(float(positions[0] <= rank) for rank in ranks), precision, len(positions) / positions[-1]]


def by_brute_force(table, query, gallery, ranks):
    """Scores of each query by the definition: the mean over all orders in which distances rise."""
    rows = []
    for row, identity, camera, number in zip(table, *query, strict=True):
        kept = [
            (distance, of == identity and of != 0)
            for distance, of, by, other in zip(row, *gallery, strict=True)
            if of != -1 and not (of == identity and by == camera) and other != number
        ]
        if not any(right for _, right in kept):
            rows.append([np.nan] * (len(ranks) + 2))
            continue
        orders = [
            one_order([right for _, right in order], ranks)
            for order in itertools.permutations(kept)
            if all(one[0] <= other[0] for one, other in itertools.pairwise(order))
        ]
        rows.append(np.mean(orders, axis=0))
    return np.array(rows)


@st.composite
def galleries(draw):
    """Few images, so that all orders can be tried; few distances, so that many tie."""
    images, queries = draw(st.integers(1, 6)), draw(st.integers(1, 4))

    def integers(count, *values):
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    # From 8 on: numbers that the other set does not have.
    query = Labels(integers(queries, -1, 0, 1, 2, 3), integers(queries, 1, 2), integers(queries, 7, 8))
    gallery = Labels(integers(images, -1, 0, 1, 2, 3), integers(images, 1, 2), integers(images, 7, 9))
    table = [integers(images, 0.0, 0.5, 1.0, 2.0) for _ in range(queries)]
    return np.array(table), query, gallery


@settings(max_examples=150, deadline=None, derandomize=True)
@given(galleries(), st.sampled_from([1e-5, 256]))
def test_scores_are_those_of_the_definition(case, memory):
    table, query, gallery = case
    ranks = (1, 2, 5)
    expected = by_brute_force(table, query, gallery, ranks)
    if np.isnan(expected).all():
        with pytest.raises(InputError, match="Expected at least one query with a match"):
            score_distances(table, query, gallery)
        return
    scores = score_distances(table, query, gallery, ranks=ranks, memory=memory)
    columns = [scores.cmc, scores.average_precision[:, None], scores.inverse_negative_penalty[:, None]]
    np.testing.assert_allclose(np.hstack(columns), expected, rtol=1e-9, atol=1e-12)
    assert scores.summary()["queries_without_match"] == np.isnan(expected[:, 0]).sum()


def made_up(queries=30, images=200, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, 16))
    made = []
    for rows in (queries, images):
        identities = random.integers(0, 12, rows)
        embeddings = centres[identities] + 1.5 * random.normal(size=(rows, 16))
        made += [embeddings.astype("float32"), Labels(identities, random.integers(1, 4, rows))]
    return made[0], made[2], made[1], made[3]


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("memory", [1e-4, 0.05, 256])
def test_embeddings_score_as_their_distances_do_however_they_are_cut(metric, memory):
    query, gallery, *labels = made_up()
    scores = score_embeddings(query, gallery, *labels, metric=metric, memory=memory)
    table = distances(query, gallery, metric)
    ranks = []
    for row, identity, camera in zip(table, *labels[0][:2], strict=True):
        kept = ~((labels[1].identities == identity) & (labels[1].cameras == camera))
        right = (labels[1].identities[kept] == identity)[np.argsort(row[kept])]
        if identity == 0:
            ranks.append([np.nan] * 5)
        else:
            ranks.append(one_order(right, (1, 5, 10)))
    columns = [scores.cmc, scores.average_precision[:, None], scores.inverse_negative_penalty[:, None]]
    np.testing.assert_allclose(np.hstack(columns), ranks, rtol=1e-9)


def test_the_order_of_the_gallery_does_not_matter():
    query, gallery, *labels = made_up()
    gallery[100:] = gallery[:100]  # Every distance twice.
    order = np.random.default_rng(1).permutation(len(gallery))
    shuffled = Labels(labels[1].identities[order], labels[1].cameras[order])
    one = score_distances(distances(query, gallery), *labels).summary()
    other = score_distances(distances(query, gallery)[:, order], labels[0], shuffled).summary()
    assert one == pytest.approx(other, rel=1e-12)


def test_a_protocol_may_take_zero_for_an_identity_and_keep_the_own_camera():
    query, gallery = Labels([0], [1]), Labels([0, 3], [1, 1])
    with pytest.raises(InputError, match="Received: 1 queries and 2 images without any"):
        score_distances([[0.1, 0.2]], query, gallery)
    protocol = Protocol(exclude_same_camera=False, distractor=None)
    assert score_distances([[0.1, 0.2]], query, gallery, protocol).summary()["rank_1"] == 1.0
    assert score_distances([[0.2, 0.1]], query, gallery, protocol).summary()["mAP"] == 0.5


def test_without_junk_every_image_counts():
    query, gallery = Labels([3]), Labels([-1, 3])
    assert score_distances([[0.1, 0.2]], query, gallery).summary()["rank_1"] == 1.0
    plain = Protocol(junk=None)
    assert score_distances([[0.1, 0.2]], query, gallery, plain).summary()["rank_1"] == 0.0


def test_memory_does_not_grow_with_the_number_of_queries():
    """The matrix of distances alone would take 15 MiB."""
    query, gallery, *labels = made_up(queries=200, images=20_000)
    tracemalloc.start()
    score_embeddings(query, gallery, *labels, memory=2)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak < 2 + 3 * gallery.nbytes / 2**20


def test_distances_are_not_changed_and_may_lie_on_disk(tmp_path):
    query, gallery, *labels = made_up()
    table = distances(query, gallery)
    np.save(tmp_path / "table.npy", table)
    on_disk = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert (
        score_distances(on_disk, *labels, memory=0.01).summary()
        == score_distances(table, *labels).summary()
    )
    np.testing.assert_array_equal(on_disk, table)


def test_the_top_passes_over_what_the_protocol_leaves_out():
    query = np.float32([[0], [1]])
    gallery = np.float32([[0], [1], [2], [0.5], [4], [0]])
    labels = Labels([7, 9], [1, 2]), GALLERY
    for memory in (1e-5, 256):
        positions, right = ranked_gallery(
            query, gallery, *labels, count=4, metric="euclidean", memory=memory
        )
        assert positions.tolist() == [[5, 1, 2, 4], [0, 2, 5, 4]]
        assert right.tolist() == [[True, False, True, False], [False] * 4]
    positions, right = ranked_gallery(query, gallery, *labels, count=7, metric="euclidean")
    assert positions.tolist() == [[5, 1, 2, 4, -1, -1, -1], [0, 2, 5, 4, -1, -1, -1]]
    assert not right[positions < 0].any()


WRONG = [
    ([[0, np.nan, 0, 0]], Labels([1]), NO_CAMERAS, "Expected finite distances.*NaN or infinity"),
    ([[0, np.inf, 0, 0]], Labels([1]), NO_CAMERAS, "Expected finite distances"),
    ([0, 0, 0, 0], Labels([1]), NO_CAMERAS, r"Expected distances.*Received: int64 of shape \(4,\)"),
    (
        np.zeros((0, 4)),
        Labels([]),
        NO_CAMERAS,
        "Expected distances, numbers .queries, images., at least",
    ),
    (np.zeros((1, 4)), Labels([1, 1]), NO_CAMERAS, r"Expected 1 query identities.*shape \(2,\)"),
    (np.zeros((1, 4)), Labels([1]), Labels([1, 2]), r"Expected 4 gallery identities.*shape \(2,\)"),
    (np.zeros((1, 4)), Labels(["a"]), NO_CAMERAS, "whole numbers.*Received: <U1"),
    (np.zeros((1, 4)), Labels([1], [1]), NO_CAMERAS, "Expected cameras of both query and gallery"),
    (np.zeros((1, 4)), Labels([1], [1, 2]), NO_CAMERAS, "Expected 1 query cameras"),
]


@pytest.mark.parametrize(("table", "query", "gallery", "message"), WRONG)
def test_what_does_not_fit_is_refused(table, query, gallery, message):
    with pytest.raises(InputError, match=message):
        score_distances(table, query, gallery)


def test_ranks_begin_at_one():
    with pytest.raises(InputError, match="`ranks` must be at least 1. Received: ranks=0"):
        score_distances(np.zeros((1, 4)), Labels([1]), NO_CAMERAS, ranks=(0, 1))


def test_a_query_that_is_in_the_gallery_is_not_its_own_answer():
    query, gallery = Labels([7], images=[3]), Labels([7, 9, 7], images=[3, 4, 5])
    positions, right = ranked_gallery([[1, 0]], [[1, 0], [1, 0.1], [1, 0.5]], query, gallery, count=3)
    assert positions.tolist() == [[1, 2, -1]] and right.tolist() == [[False, True, False]]
    unnumbered = query._replace(images=None)  # Without numbers nothing is excluded.
    assert score_distances([[0, 1, 2]], unnumbered, gallery).summary()["rank_1"] == 1
    assert score_distances([[0, 1, 2]], query, gallery).summary()["rank_1"] == 0
