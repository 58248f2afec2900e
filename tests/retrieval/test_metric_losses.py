"""The losses over embeddings: values worked by hand, gradients against differences."""

import numpy as np
import pytest
import tensorflow as tf
from differences import slopes

from dreal_tf.errors import InputError
from dreal_tf.retrieval import metric_losses

# On a line, so that distances can be read off: two of identity 0, three of identity 1, one of 2.
POSITIONS = np.float32([[0], [3], [1], [4], [9], [5]])
IDENTITIES = np.array([0, 0, 1, 1, 1, 2])
# Each anchor's farthest image of its identity and nearest of another; the last image is no anchor.
FARTHEST, NEAREST = np.array([3, 3, 8, 5, 8]), np.array([1, 1, 1, 1, 4])


def test_batch_hard_triplets_worked_by_hand():
    for margin in (0.0, 0.5, -4.5):
        loss = metric_losses.batch_hard_triplet_loss(POSITIONS, IDENTITIES, margin)
        expected = np.maximum(0, margin + FARTHEST - NEAREST).mean()
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
    soft = metric_losses.batch_hard_triplet_loss(POSITIONS, IDENTITIES)
    np.testing.assert_allclose(soft, np.log1p(np.exp(FARTHEST - NEAREST)).mean(), rtol=1e-6)


def weighted_by_definition(embeddings, identities):
    """Ye et al. 2021: the softmax-weighted positives less the softmin-weighted negatives."""
    terms = []
    for anchor, identity in enumerate(identities):
        distance = np.sqrt(np.square(embeddings - embeddings[anchor]).sum(axis=1))
        others = np.arange(len(identities)) != anchor
        near = distance[(identities == identity) & others]
        far = distance[identities != identity]
        if len(near) and len(far):
            pull = (np.exp(near) * near).sum() / np.exp(near).sum()
            push = (np.exp(-far) * far).sum() / np.exp(-far).sum()
            terms.append(np.log1p(np.exp(pull - push)))
    return np.mean(terms)


def batch(seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(9, 4)), np.array([3, 3, 3, 8, 8, 5, 5, 1, 5])


def test_weighted_triplets_are_those_of_the_definition():
    for embeddings, identities in ((POSITIONS.astype("float64"), IDENTITIES), batch(), batch(1)):
        loss = metric_losses.weighted_triplet_loss(embeddings, identities)
        np.testing.assert_allclose(loss, weighted_by_definition(embeddings, identities), rtol=1e-5)


def hard_by_definition(embeddings, identities, margin):
    terms = []
    for anchor, identity in enumerate(identities):
        distance = np.sqrt(np.square(embeddings - embeddings[anchor]).sum(axis=1))
        others = np.arange(len(identities)) != anchor
        near = distance[(identities == identity) & others]
        if len(near):
            difference = near.max() - distance[identities != identity].min()
            terms.append(
                np.log1p(np.exp(difference)) if margin is None else max(0, margin + difference)
            )
    return np.mean(terms)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_gradients_of_batch_hard_triplets(margin):
    embeddings, identities = batch()
    check_gradient(
        lambda rows: metric_losses.batch_hard_triplet_loss(rows, identities, margin),
        lambda rows: hard_by_definition(rows, identities, margin),
        embeddings,
    )


def test_gradients_of_weighted_triplets():
    embeddings, identities = batch()
    check_gradient(
        lambda rows: metric_losses.weighted_triplet_loss(rows, identities),
        lambda rows: weighted_by_definition(rows, identities),
        embeddings,
    )


def test_gradients_of_the_centre_loss():
    embeddings, identities = batch()
    centres = np.random.default_rng(2).normal(size=(9, 4))
    check_gradient(
        lambda rows: metric_losses.centre_loss(rows, identities, centres),
        lambda rows: 0.5 * np.square(rows - centres[identities]).sum(axis=1).mean(),
        embeddings,
    )


def test_no_gradient_flows_through_what_moves_the_centres():
    embeddings, identities = batch()
    rows = tf.Variable(embeddings, dtype=tf.float32)
    with tf.GradientTape() as tape:
        sums, _ = metric_losses.identity_sums(rows, identities, 9)
    np.testing.assert_allclose(sums[8], embeddings[identities == 8].sum(axis=0), rtol=1e-5)
    assert tape.gradient(sums, rows) is None


def check_gradient(loss, formula, embeddings):
    rows = tf.Variable(embeddings, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = loss(rows)
    np.testing.assert_allclose(value, formula(embeddings), rtol=1e-5)
    entries = range(embeddings.size)
    expected = slopes(lambda points: formula(points["rows"]), {"rows": embeddings}, "rows", entries)
    gradient = np.ravel(tape.gradient(value, rows))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert np.abs(expected).max() > 0.01


TRIPLETS = [
    metric_losses.batch_hard_triplet_loss,
    metric_losses.weighted_triplet_loss,
    lambda *batch: metric_losses.batch_hard_triplet_loss(*batch, margin=0.3),
]
NO_ANCHOR = {
    "each identity once": (np.eye(3), [0, 1, 2]),
    "one identity": (np.eye(3), [4, 4, 4]),
    "one image": (np.eye(1), [0]),
    "no image": (np.zeros((0, 3)), np.zeros(0, int)),
}


@pytest.mark.parametrize("loss", TRIPLETS)
@pytest.mark.parametrize("case", NO_ANCHOR)
def test_where_there_is_no_anchor_there_is_no_loss_and_no_gradient(loss, case):
    embeddings, identities = NO_ANCHOR[case]
    rows = tf.Variable(embeddings, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = loss(rows, identities)
    assert float(value) == 0.0
    assert np.abs(tape.gradient(value, rows)).sum() == 0


@pytest.mark.parametrize("loss", TRIPLETS)
@pytest.mark.parametrize("compiled", [False, True])
def test_images_at_one_place_give_finite_gradients(loss, compiled):
    rows = tf.Variable(np.ones((4, 3), "float32"))

    @tf.function(jit_compile=compiled)
    def value_and_gradient():
        with tf.GradientTape() as tape:
            value = loss(rows, np.array([0, 0, 1, 1]))
        return value, tape.gradient(value, rows)

    value, gradient = value_and_gradient()
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_an_image_alone_of_its_identity_is_a_negative_and_no_anchor():
    """With it, the nearest of another identity is nearer; the number of anchors is the same."""
    embeddings, identities = np.float32([[0], [1], [10], [12], [0.5]]), np.array([0, 0, 1, 1, 2])
    loss = metric_losses.batch_hard_triplet_loss
    without = float(loss(embeddings[:4], identities[:4], margin=0.0))
    assert without == 0.0
    assert float(loss(embeddings, identities, margin=0.0)) == pytest.approx((0.5 + 0.5 + 0 + 0) / 4)


@pytest.mark.parametrize("loss", TRIPLETS)
def test_the_order_of_the_batch_does_not_matter(loss):
    embeddings, identities = batch()
    order = np.random.default_rng(1).permutation(len(identities))
    one, other = loss(embeddings, identities), loss(embeddings[order], identities[order])
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_distances_keep_their_digits_far_from_the_origin():
    embeddings, identities = batch()
    near = metric_losses.batch_hard_triplet_loss(np.float32(embeddings), identities)
    far = metric_losses.batch_hard_triplet_loss(np.float32(embeddings) + 512, identities)
    np.testing.assert_allclose(far, near, rtol=1e-3)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(kind):
    embeddings, identities = batch()
    half = tf.cast(embeddings, kind)
    for loss in TRIPLETS:
        value = loss(half, identities)
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, loss(tf.cast(half, tf.float32), identities))


def test_the_centre_loss_worked_by_hand():
    embeddings, centres = np.float32([[1, 0], [0, 2], [5, 5]]), np.float32([[0, 0], [5, 4]])
    loss = metric_losses.centre_loss(embeddings, [0, 0, 1], centres)
    assert float(loss) == 0.5 * (1 + 4 + 1) / 3
    nothing = metric_losses.centre_loss(np.zeros((0, 2)), np.zeros(0, int), centres)
    assert float(nothing) == 0.0


def test_no_gradient_flows_to_the_centres():
    centres = tf.Variable([[0.0], [1.0]])
    with tf.GradientTape() as tape:
        loss = metric_losses.centre_loss(np.float32([[3.0]]), [1], centres)
    assert tape.gradient(loss, centres) is None


def test_centres_move_as_in_the_paper():
    """c - rate · sum of (c - x) over one plus the count; those of absent identities stay."""
    embeddings, identities = np.float32([[4.0], [8.0], [1.0]]), np.array([1, 1, 2])
    centres = np.float32([[7.0], [2.0], [3.0]])
    sums, counts = metric_losses.identity_sums(embeddings, identities, 3)
    moved = metric_losses.moved_centres(centres, sums, counts, rate=0.5)
    expected = [[7], [2 - 0.5 * ((2 - 4) + (2 - 8)) / 3], [3 - 0.5 * (3 - 1) / 2]]
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("embeddings", "identities"),
    [(np.ones(3), [0, 1, 2]), (np.ones((3, 2)), [0, 1]), (np.ones((3, 2)), [[0], [1], [2]])],
)
def test_what_does_not_fit_is_refused(embeddings, identities):
    message = r"Expected embeddings \(batch, dimensions\) and identities \(batch,\). Received: shapes"
    for loss in (*TRIPLETS, lambda *batch: metric_losses.centre_loss(*batch, np.zeros((3, 2)))):
        with pytest.raises(InputError, match=message):
            loss(embeddings, identities)
