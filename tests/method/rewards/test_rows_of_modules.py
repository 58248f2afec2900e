"""The rows of a plan that can belong to each module, cut in one operation."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method import rewards
from dreal_tf.method.rewards import RowsOfModules, SamplingPlan


def assignments(rows, modules):
    plan = rewards.sample_plan(rows, rows, modules, seed=(0, 1))
    return {
        "sampled": plan,
        "exact": rewards.full_plan(plan, modules),
        "in no order": SamplingPlan(plan.images, plan.modules),
    }


@pytest.mark.parametrize("rows", [1, 2, 5, 12])
@pytest.mark.parametrize("form", ["sampled", "exact", "in no order"])
def test_known_and_unknown_lengths_are_cut_alike(form, rows):
    modules = 4
    plan = assignments(rows, modules)[form]

    groups = [[0, 2], [1], [3]]

    def cut(images, chosen):
        rows_of = RowsOfModules(plan._replace(images=images, modules=chosen), groups)
        of_groups = rows_of.of_groups(rows_of.all(chosen))
        of_modules = [rows_of.of_modules(v, group) for v, group in zip(of_groups, groups, strict=True)]
        return rows_of.rows, rows_of.all_rows(), of_modules, rows_of.module_of_row()

    spec = tf.TensorSpec([None], tf.int32)
    known = cut(plan.images, plan.modules)
    unknown = tf.function(cut, input_signature=[spec, spec])(plan.images, plan.modules)
    for one, other in zip(tf.nest.flatten(known), tf.nest.flatten(unknown), strict=True):
        np.testing.assert_array_equal(one, other)
    entries, whole, of_modules, own = known
    order = [0, 2, 1, 3]
    np.testing.assert_array_equal(whole, np.concatenate([entries[module] for module in order]))
    np.testing.assert_array_equal(own, np.repeat(order, [len(entries[module]) for module in order]))
    for module, values in zip(order, tf.nest.flatten(of_modules), strict=True):
        np.testing.assert_array_equal(values, plan.modules.numpy()[entries[module]])
        # Each row that changes this module is among its candidates.
        assert set(np.flatnonzero(plan.modules.numpy() == module)) <= set(entries[module])


@pytest.mark.parametrize("module", range(3))
def test_a_tensor_is_cut_before_and_after_a_modules_rows(module):
    rows_of = RowsOfModules(assignments(7, 3)["sampled"], [[0], [1, 2]])
    first, end = rows_of.ranges[module]
    for rows in {end, 7}:
        before, now, after = rows_of.cut(tf.range(rows), module)
        np.testing.assert_array_equal(tf.concat([*before, now, *after], 0), np.arange(rows))
        np.testing.assert_array_equal(now, np.arange(first, end))
        assert (len(before), len(after)) == (first > 0, rows > end)


def test_a_seed_is_folded_once_for_all_modules():
    """The noise of a module is what its own seed gives, folded by itself."""
    seed = tf.constant([3, 4])
    for position in range(3):
        folded = tf.random.experimental.stateless_fold_in(seed, position)
        first = tf.random.experimental.stateless_fold_in(seed, 0)[0]
        np.testing.assert_array_equal(folded, tf.stack([first, position]))
