"""Which pairs are measured, and against what: balanced, and each equally often."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method import rewards


def drawn_often(draws, batch, measured, steps, kinds, seed):
    """Images, steps, kinds and donors of many draws, each an array (draws, measured)."""

    @tf.function
    def draw(number):
        return rewards.sample_plan(batch, measured, steps, tf.stack([seed, number]), kinds)[:4]

    drawn = [draw(tf.constant(number)) for number in range(draws)]
    return [np.array(part) for part in zip(*drawn, strict=True)]


def z_of(counts, draws, share):
    """Standard deviations by which counts of independent draws differ from a share of the draws."""
    return (counts / draws - share) / np.sqrt(share * (1 - share) / draws)


@pytest.mark.parametrize(("batch", "measured", "steps"), [(6, 6, 3), (8, 5, 3), (7, 2, 4), (4, 4, 1)])
def test_drawn_images_are_distinct_and_steps_are_balanced(batch, measured, steps):
    for seed in range(20):
        drawn = rewards.sample_plan(batch, measured, steps, seed=(0, seed))
        images = drawn.images.numpy()
        assert len(set(images)) == measured and images.max() < batch
        counts = np.bincount(drawn.modules.numpy(), minlength=steps)
        assert counts.sum() == measured and counts.max() - counts.min() <= 1
        assert not drawn.kinds.numpy().any()  # There is one alternative.


@pytest.mark.parametrize(
    ("batch", "measured", "steps"),
    [(9, 9, 3), (9, 8, 3), (9, 7, 5), (9, 2, 5), (9, 1, 4), (40, 40, 33)],
)
def test_where_a_steps_rows_lie_is_known_before_they_are_drawn(batch, measured, steps):
    seen = set()
    for seed in range(40):
        drawn = rewards.sample_plan(batch, measured, steps, seed=(0, seed))
        assigned = drawn.modules.numpy()
        row_splits = [int(drawn.first_row(step, steps)) for step in range(steps + 1)]
        assert row_splits[0] == 0 and row_splits[-1] == measured and row_splits == sorted(row_splits)
        for step in range(steps):
            first, end = map(int, drawn.row_range(step, steps))
            here = np.flatnonzero(assigned == step)
            assert ((first <= here) & (here < end)).all() and end <= row_splits[step + 1]
            assert (assigned[row_splits[step] :] >= step).all()  # None changes before it joins.
            assert end - first <= measured / steps + 2
        seen |= set(assigned)
    assert seen == set(range(steps))


def test_every_assignment_lists_the_rows_of_each_step_apart():
    every = rewards.full_plan(rewards.SamplingPlan(np.int32([3, 1]), None), 3)
    assert [tuple(map(int, every.row_range(step, 3))) for step in range(3)] == [(0, 2), (2, 4), (4, 6)]
    assert [int(every.first_row(step, 3)) for step in range(4)] == [0, 2, 4, 6] and every.repeats == 3


def test_rows_that_are_in_no_order_all_begin_at_the_first_step():
    some = rewards.SamplingPlan(np.int32([3, 1]), np.int32([2, 0]))
    assert [int(some.first_row(step, 3)) for step in range(4)] == [0, 2, 2, 2]
    assert [tuple(map(int, some.row_range(step, 3))) for step in range(3)] == [(0, 2)] * 3


def test_every_pair_is_drawn_equally_often():
    batch, measured, steps, draws = 4, 3, 3, 4000
    images, assigned, _, _ = drawn_often(draws, batch, measured, steps, 1, seed=1)
    counts = np.zeros((batch, steps))
    np.add.at(counts, (images, assigned), 1)
    assert np.abs(z_of(counts, draws, measured / (batch * steps))).max() <= 4


def test_every_image_step_and_alternative_is_drawn_equally_often():
    batch, measured, steps, kinds, draws = 4, 3, 3, 2, 4000
    images, assigned, chosen, _ = drawn_often(draws, batch, measured, steps, kinds, seed=2)
    counts = np.zeros((batch, steps, kinds))
    np.add.at(counts, (images, assigned, chosen), 1)
    assert np.abs(z_of(counts, draws, measured / (batch * steps * kinds))).max() <= 4


@pytest.mark.parametrize(("steps", "kinds"), [(3, 2), (3, 3), (2, 4), (4, 2), (1, 3)])
def test_a_whole_round_holds_every_step_with_every_alternative_once(steps, kinds):
    """Also where steps and alternatives have a common divisor."""
    for seed in range(10):
        drawn = rewards.sample_plan(30, steps * kinds, steps, (3, seed), kinds)
        pairs = sorted(zip(drawn.modules.numpy(), drawn.kinds.numpy(), strict=True))
        assert pairs == sorted(itertools.product(range(steps), range(kinds)))


def test_a_partner_is_any_other_image_equally_often():
    batch, measured, draws = 5, 3, 4000
    images, _, _, donors = drawn_often(draws, batch, measured, 2, 1, seed=4)
    counts = np.zeros((batch, batch))
    np.add.at(counts, (images, donors), 1)
    assert not counts.diagonal().any()
    others = counts[~np.eye(batch, dtype=bool)]
    assert np.abs(z_of(others, draws, measured / (batch * (batch - 1)))).max() <= 4


def test_an_image_alone_is_its_own_partner():
    assert rewards.sample_plan(1, 1, 3, (0, 0), 2).donors.numpy().tolist() == [0]


def test_the_same_seed_draws_the_same():
    one, same, other = (rewards.sample_plan(64, 64, 3, (0, seed), 2) for seed in (1, 1, 2))
    for part in ("images", "modules", "kinds", "donors", "seed"):
        np.testing.assert_array_equal(getattr(one, part), getattr(same, part))
    assert np.any(one.images != other.images) and np.any(one.seed != other.seed)


def test_every_assignment_is_the_product_of_images_and_steps():
    every = rewards.full_plan(rewards.SamplingPlan(np.int32([3, 1]), None), 3)
    pairs = set(zip(every.images.numpy().tolist(), every.modules.numpy().tolist(), strict=True))
    assert pairs == set(itertools.product([3, 1], range(3))) and len(every.images) == 6
    assert every.modules.numpy().tolist() == [0, 0, 1, 1, 2, 2]  # Steps vary slowest.
    assert every.kinds is None and every.donors is None


def test_every_assignment_keeps_partners_and_gives_each_step_another_alternative():
    drawn = rewards.sample_plan(6, 4, 3, (0, 7), kinds=3)
    every = rewards.full_plan(drawn, 3, kinds=3)
    np.testing.assert_array_equal(every.donors, np.tile(drawn.donors, 3))
    kinds = every.kinds.numpy().reshape(3, 4)  # (steps, images)
    np.testing.assert_array_equal(np.sort(kinds, axis=0), np.repeat([[0], [1], [2]], 4, axis=1))
    np.testing.assert_array_equal(kinds[0], drawn.kinds)
