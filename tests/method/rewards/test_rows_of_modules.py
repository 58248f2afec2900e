"""What an plan says of each step's rows, cut out of the whole in one operation."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method import rewards
from dreal_tf.method.rewards import RowsOfModules, SamplingPlan


def assignments(rows, steps):
    drawn = rewards.sample_plan(rows, rows, steps, seed=(0, 1))
    return {
        "sampled": drawn,
        "exact": rewards.full_plan(drawn, steps),
        "in no order": SamplingPlan(drawn.images, drawn.modules),
    }


@pytest.mark.parametrize("rows", [1, 2, 5, 12])
@pytest.mark.parametrize("form", ["sampled", "exact", "in no order"])
def test_known_and_unknown_lengths_are_cut_alike(form, rows):
    steps = 4
    plan = assignments(rows, steps)[form]

    groups = [[0, 2], [1], [3]]

    def cut(images, chosen):
        found = RowsOfModules(plan._replace(images=images, modules=chosen), groups)
        of_groups = found.of_groups(found.all(chosen))
        of_steps = [found.of_modules(v, group) for v, group in zip(of_groups, groups, strict=True)]
        return found.rows, found.all_rows(), of_steps, found.module_of_row()

    spec = tf.TensorSpec([None], tf.int32)
    known = cut(plan.images, plan.modules)
    unknown = tf.function(cut, input_signature=[spec, spec])(plan.images, plan.modules)
    for one, other in zip(tf.nest.flatten(known), tf.nest.flatten(unknown), strict=True):
        np.testing.assert_array_equal(one, other)
    entries, whole, of_steps, own = known
    order = [0, 2, 1, 3]
    np.testing.assert_array_equal(whole, np.concatenate([entries[step] for step in order]))
    np.testing.assert_array_equal(own, np.repeat(order, [len(entries[step]) for step in order]))
    for step, values in zip(order, tf.nest.flatten(of_steps), strict=True):
        np.testing.assert_array_equal(values, plan.modules.numpy()[entries[step]])
        # Each row that changes this step is among its candidates.
        assert set(np.flatnonzero(plan.modules.numpy() == step)) <= set(entries[step])


@pytest.mark.parametrize("step", range(3))
def test_a_tensor_is_cut_before_and_after_a_steps_rows(step):
    found = RowsOfModules(assignments(7, 3)["sampled"], [[0], [1, 2]])
    first, end = found.ranges[step]
    for rows in {end, 7}:
        before, now, after = found.cut(tf.range(rows), step)
        np.testing.assert_array_equal(tf.concat([*before, now, *after], 0), np.arange(rows))
        np.testing.assert_array_equal(now, np.arange(first, end))
        assert (len(before), len(after)) == (first > 0, rows > end)


def test_a_seed_is_folded_once_for_all_steps():
    """The noise of a step is what its own seed gives, folded by itself."""
    seed = tf.constant([3, 4])
    for position in range(3):
        folded = tf.random.experimental.stateless_fold_in(seed, position)
        first = tf.random.experimental.stateless_fold_in(seed, 0)[0]
        np.testing.assert_array_equal(folded, tf.stack([first, position]))
