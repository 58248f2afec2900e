"""The images of a batch of P identities × K images, and the identities and images that are held out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreal_tf.data.identity_layouts import Listed
from dreal_tf.data.identity_sampling import IdentitySampler, held_out_identities, held_out_images
from dreal_tf.data.splits import epoch_order
from dreal_tf.errors import InputError


def numbered(*counts):
    """Identities 10, 11, ... with so many images each, in no order."""
    identities = np.repeat(np.arange(len(counts)) + 10, counts)
    return np.random.default_rng(0).permutation(identities)


@st.composite
def data(draw):
    counts = draw(st.lists(st.integers(1, 9), min_size=2, max_size=12))
    per_batch, images = draw(st.integers(2, len(counts))), draw(st.integers(2, 4))
    return counts, per_batch, images, draw(st.integers(0, 5))


def most_batches(groups, per_batch):
    """By trying: always deal to the identities that have most groups left."""
    left, batches = sorted(groups, reverse=True), 0
    while sum(left[:per_batch]) and left[per_batch - 1] > 0:
        left = sorted([n - 1 for n in left[:per_batch]] + left[per_batch:], reverse=True)
        batches += 1
    return batches


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data())
def test_every_batch_holds_different_identities_and_as_many_images_of_each(case):
    counts, per_batch, images, epoch = case
    identities = numbered(*counts)
    if sum(counts) < per_batch * images:
        with pytest.raises(InputError, match="Expected at least"):
            IdentitySampler(identities, per_batch, images)
        return
    sampler = IdentitySampler(identities, per_batch, images)
    order = sampler.order(seed=1, epoch=epoch)
    groups = [max(count // images, 1) for count in counts]
    assert order.shape == (most_batches(groups, per_batch), per_batch * images)
    assert order.shape == (sampler.steps_per_epoch, sampler.batch_size)
    whose = identities[order].reshape(len(order), per_batch, images)
    assert (whose == whose[:, :, :1]).all()
    assert all(len(set(row)) == per_batch for row in whose[:, :, 0])
    # An image comes once, or as often as it must where its identity has too few.
    times = np.bincount(order.ravel(), minlength=len(identities))
    for identity, count in enumerate(counts, 10):
        own = times[identities == identity]
        most = 1 if count >= images else -(-images // count)
        assert own.max() <= most and (count >= images or own.max() - own.min() <= 1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data())
def test_no_identity_is_dropped_while_another_comes_twice(case):
    counts, per_batch, images, epoch = case
    identities = numbered(*counts)
    if sum(counts) < per_batch * images:
        return
    order = IdentitySampler(identities, per_batch, images).order(0, epoch)
    visits = np.unique(identities[order[:, ::images]], return_counts=True)[1]
    assert len(visits) == len(counts) or visits.max() == 1


def test_an_epoch_worked_by_hand():
    """Two of three identities in a batch, two images of each: the first has two pairs, others one."""
    identities = np.array([5, 5, 5, 5, 8, 8, 9])
    sampler = IdentitySampler(identities, identities_per_batch=2, images_per_identity=2)
    assert (sampler.steps_per_epoch, sampler.repeated, sampler.single) == (2, 1, 1)
    batches = sampler.order(seed=0, epoch=0)
    assert sorted(batches.ravel().tolist()) == [0, 1, 2, 3, 4, 5, 6, 6]
    assert sorted(sorted(set(row)) for row in identities[batches].tolist()) == [[5, 8], [5, 9]]


def test_over_the_epochs_every_image_and_every_identity_is_seen():
    identities = numbered(7, 5, 3, 2, 1, 6)
    sampler = IdentitySampler(identities, identities_per_batch=4, images_per_identity=2)
    seen = np.unique(np.concatenate([sampler.order(0, epoch).ravel() for epoch in range(40)]))
    assert len(seen) == len(identities)


def test_the_order_follows_from_seed_and_epoch_alone():
    identities = numbered(*[6] * 20)
    sampler = IdentitySampler(identities, 5, 3)
    np.testing.assert_array_equal(sampler.order(3, 7), IdentitySampler(identities, 5, 3).order(3, 7))
    assert (sampler.order(3, 7) != sampler.order(3, 8)).mean() > 0.9
    assert (sampler.order(3, 7) != sampler.order(4, 7)).mean() > 0.9


def test_identities_meet_different_ones_in_every_epoch():
    identities = numbered(*[2] * 12)
    sampler = IdentitySampler(identities, 3, 2)
    met = {
        tuple(sorted(set(row))) for epoch in range(30) for row in identities[sampler.order(0, epoch)]
    }
    assert len(met) > 80  # 120 were sampled, and 220 are possible.


def test_an_identity_does_not_come_in_one_batch_after_the_other():
    """Three visits in twelve batches follow each other once in eighteen draws."""
    identities = numbered(*[6] * 20)
    sampler = IdentitySampler(identities, 5, 2)
    in_a_row = []
    for epoch in range(10):
        whose = identities[sampler.order(0, epoch)]
        for identity in range(10, 30):
            steps = np.flatnonzero((whose == identity).any(axis=1))
            in_a_row.append(np.ptp(steps) == 2)
    assert np.mean(in_a_row) < 0.15


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_replicas_and_workers_see_whole_identities(workers):
    identities = numbered(*[8] * 12)
    sampler = IdentitySampler(identities, identities_per_batch=8, images_per_identity=2, replicas=4)
    order = sampler.order(0, 0)
    for worker in range(workers):
        shard = worker, workers
        mine = epoch_order(len(identities), (0, 0), sampler.batch_size, shard, sampler)
        rows = identities[np.array(mine)].reshape(len(order) * 4 // workers, 2, 2)  # (replicas, P, K)
        assert (rows[:, :, 0] == rows[:, :, 1]).all()
        assert (rows[:, 0, 0] != rows[:, 1, 0]).all()


WRONG = [
    (
        {"identities_per_batch": 4},
        "Expected at least 4 identities and 8 images.*Received: 3 identities",
    ),
    ({"images_per_identity": 4}, "Expected at least 3 identities and 12 images.*9 images with"),
    ({"identities_per_batch": 1}, "`identities_per_batch` must be at least 2.*Received"),
    ({"images_per_identity": 1}, "`images_per_identity` must be at least 2.*Received"),
    ({"replicas": 2}, "Expected identities that 2 replicas can share equally.*batch=3. Choose"),
    ({"replicas": 0}, "`replicas` must be at least 1"),
    ({"identities": np.ones(3)}, "Expected identities .images,. that are whole numbers"),
    ({"identities": np.zeros(0, int)}, "Received: 0 identities and 0 images"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_arguments_that_do_not_fit_are_refused(changed, message):
    arguments = {"identities": numbered(3, 3, 3), "identities_per_batch": 3, "images_per_identity": 2}
    with pytest.raises(InputError, match=message):
        IdentitySampler(**(arguments | changed))


def test_too_few_identities_to_hold_out():
    alone = Listed(np.zeros(8), np.repeat([1, 2, 3, 4], 2), np.repeat([1, 2, 1, 2], 2))
    with pytest.raises(InputError, match="4 identities, 0 of them seen by two cameras"):
        held_out_identities(alone, 0.1, seed=0)
    with pytest.raises(InputError, match="with three images"):
        held_out_images(np.array([1, 1, 2, 2]), 0.5, seed=0)


def test_other_seeds_hold_out_others():
    identities, cameras = np.repeat(np.arange(20), 4), np.tile([1, 2], 40)
    held = [
        held_out_identities(Listed(identities, identities, cameras), 0.1, seed)[2] for seed in (0, 1, 0)
    ]
    assert np.array_equal(held[0], held[2]) and not np.array_equal(held[0], held[1])
    kept, out = held_out_images(np.repeat(np.arange(20), 10), 0.1, 0)
    assert sorted([*kept, *out]) == list(range(200)) and len(out) == 20
