"""Which pairs are measured, and against what: balanced, and each equally often."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method import rewards


def sampled_often(draws, batch, measured, modules, kinds, seed):
    """Images, modules, kinds and donors of many draws, each an array (draws, measured)."""

    def draw(number):
        return rewards.sample_plan(batch, measured, modules, tf.stack([seed, number]), kinds)[:4]

    many = tf.function(lambda: tf.map_fn(draw, tf.range(draws), fn_output_signature=(tf.int32,) * 4))
    return [part.numpy() for part in many()]


def z_of(counts, draws, probability):
    """Standard deviations by which counts of independent draws differ from their expectation."""
    return (counts / draws - probability) / np.sqrt(probability * (1 - probability) / draws)


@pytest.mark.parametrize(("batch", "measured", "modules"), [(6, 6, 3), (8, 5, 3), (7, 2, 4), (4, 4, 1)])
def test_drawn_images_are_distinct_and_modules_are_balanced(batch, measured, modules):
    for seed in range(20):
        plan = rewards.sample_plan(batch, measured, modules, seed=(0, seed))
        images = plan.images.numpy()
        assert len(set(images)) == measured and images.max() < batch
        counts = np.bincount(plan.modules.numpy(), minlength=modules)
        assert counts.sum() == measured and counts.max() - counts.min() <= 1
        assert not plan.kinds.numpy().any()  # There is one counterfactual.


@pytest.mark.parametrize(
    ("batch", "measured", "modules"),
    [(9, 9, 3), (9, 8, 3), (9, 7, 5), (9, 2, 5), (9, 1, 4), (40, 40, 33)],
)
def test_where_a_modules_rows_lie_is_known_before_they_are_drawn(batch, measured, modules):
    seen = set()
    for seed in range(40):
        plan = rewards.sample_plan(batch, measured, modules, seed=(0, seed))
        assigned = plan.modules.numpy()
        row_splits = [int(plan.first_row(module, modules)) for module in range(modules + 1)]
        assert row_splits[0] == 0 and row_splits[-1] == measured and row_splits == sorted(row_splits)
        for module in range(modules):
            first, end = map(int, plan.row_range(module, modules))
            here = np.flatnonzero(assigned == module)
            assert ((first <= here) & (here < end)).all() and end <= row_splits[module + 1]
            assert (assigned[row_splits[module] :] >= module).all()  # None changes before it joins.
            assert end - first <= measured / modules + 2
        seen |= set(assigned)
    assert seen == set(range(modules))


def test_every_assignment_lists_the_rows_of_each_module_apart():
    every = rewards.full_plan(rewards.SamplingPlan(np.int32([3, 1]), None), 3)
    assert [tuple(map(int, every.row_range(module, 3))) for module in range(3)] == [
        (0, 2),
        (2, 4),
        (4, 6),
    ]
    assert [int(every.first_row(module, 3)) for module in range(4)] == [
        0,
        2,
        4,
        6,
    ] and every.repeats == 3


def test_rows_that_are_in_no_order_all_begin_at_the_first_module():
    some = rewards.SamplingPlan(np.int32([3, 1]), np.int32([2, 0]))
    assert [int(some.first_row(module, 3)) for module in range(4)] == [0, 2, 2, 2]
    assert [tuple(map(int, some.row_range(module, 3))) for module in range(3)] == [(0, 2)] * 3


def test_every_pair_is_drawn_equally_often():
    batch, measured, modules, draws = 4, 3, 3, 4000
    images, assigned, _, _ = sampled_often(draws, batch, measured, modules, 1, seed=1)
    counts = np.zeros((batch, modules))
    np.add.at(counts, (images, assigned), 1)
    assert np.abs(z_of(counts, draws, measured / (batch * modules))).max() <= 4


def test_every_image_module_and_counterfactual_is_drawn_equally_often():
    batch, measured, modules, kinds, draws = 4, 3, 3, 2, 4000
    images, assigned, chosen, _ = sampled_often(draws, batch, measured, modules, kinds, seed=2)
    counts = np.zeros((batch, modules, kinds))
    np.add.at(counts, (images, assigned, chosen), 1)
    assert np.abs(z_of(counts, draws, measured / (batch * modules * kinds))).max() <= 4


@pytest.mark.parametrize(("modules", "kinds"), [(3, 2), (3, 3), (2, 4), (4, 2), (1, 3)])
def test_a_whole_round_holds_every_module_with_every_counterfactual_once(modules, kinds):
    """Also where modules and counterfactuals have a common divisor."""
    for seed in range(10):
        plan = rewards.sample_plan(30, modules * kinds, modules, (3, seed), kinds)
        pairs = sorted(zip(plan.modules.numpy(), plan.kinds.numpy(), strict=True))
        assert pairs == sorted(itertools.product(range(modules), range(kinds)))


def test_a_donor_is_any_other_image_equally_often():
    batch, measured, draws = 5, 3, 4000
    images, _, _, donors = sampled_often(draws, batch, measured, 2, 1, seed=4)
    counts = np.zeros((batch, batch))
    np.add.at(counts, (images, donors), 1)
    assert not counts.diagonal().any()
    others = counts[~np.eye(batch, dtype=bool)]
    assert np.abs(z_of(others, draws, measured / (batch * (batch - 1)))).max() <= 4


def test_an_image_alone_is_its_own_donor():
    assert rewards.sample_plan(1, 1, 3, (0, 0), 2).donors.numpy().tolist() == [0]


def test_the_same_seed_draws_the_same():
    one, same, other = (rewards.sample_plan(64, 64, 3, (0, seed), 2) for seed in (1, 1, 2))
    for part in ("images", "modules", "kinds", "donors", "seed"):
        np.testing.assert_array_equal(getattr(one, part), getattr(same, part))
    assert np.any(one.images != other.images) and np.any(one.seed != other.seed)


def test_every_assignment_is_the_product_of_images_and_modules():
    every = rewards.full_plan(rewards.SamplingPlan(np.int32([3, 1]), None), 3)
    pairs = set(zip(every.images.numpy().tolist(), every.modules.numpy().tolist(), strict=True))
    assert pairs == set(itertools.product([3, 1], range(3))) and len(every.images) == 6
    assert every.modules.numpy().tolist() == [0, 0, 1, 1, 2, 2]  # Steps vary slowest.
    assert every.kinds is None and every.donors is None


def test_every_assignment_keeps_donors_and_gives_each_module_another_counterfactual():
    plan = rewards.sample_plan(6, 4, 3, (0, 7), kinds=3)
    every = rewards.full_plan(plan, 3, kinds=3)
    np.testing.assert_array_equal(every.donors, np.tile(plan.donors, 3))
    kinds = every.kinds.numpy().reshape(3, 4)  # (modules, images)
    np.testing.assert_array_equal(np.sort(kinds, axis=0), np.repeat([[0], [1], [2]], 4, axis=1))
    np.testing.assert_array_equal(kinds[0], plan.kinds)
