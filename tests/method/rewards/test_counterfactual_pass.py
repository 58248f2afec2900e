"""The counterfactual pass: its results, its operations, and the rows of each module."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import operations_of
from support import ACTORS, TwoModules, small_data, small_network

from dreal_tf import SqueezeExcite, imagenet_residual_network
from dreal_tf.method import rewards
from dreal_tf.method.rewards import CounterfactualPass, RowsOfModules, SamplingPlan
from dreal_tf.networks.backbones import actors_of

IMAGES, _ = small_data(5)
POSITIONS = np.int32([4, 0, 2, 2, 1, 3])


@pytest.mark.parametrize("row_splits", [[0, 2, 4, 6], [0, 6, 6, 6], [0, 1, 1, 6], [0, 0, 3, 6]])
@pytest.mark.parametrize("form", ACTORS)
def test_rows_that_change_nothing_end_as_in_the_factual_pass(form, row_splits):
    network = small_network(ACTORS[form], blocks=3)
    counterfactual_pass = CounterfactualPass(network, actors_of(network))
    outputs = counterfactual_pass.factual(IMAGES, training=False)
    again = counterfactual_pass(outputs["cached_activations"], POSITIONS, row_splits)
    np.testing.assert_allclose(again, tf.gather(outputs["logits"], POSITIONS), atol=1e-6)
    np.testing.assert_allclose(outputs["logits"], network(IMAGES)["logits"], atol=1e-6)


def test_rows_join_where_the_skip_path_changes_its_shape():
    network = imagenet_residual_network(
        (32, 32, 3), classes=4, depth=18, width=0.125, attention=SqueezeExcite(2)
    )
    counterfactual_pass = CounterfactualPass(network, actors_of(network))
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    outputs = counterfactual_pass.factual(images, training=False)
    positions, row_splits = np.arange(9, dtype="int32") % 3, [0, 1, 3, 3, 4, 5, 6, 7, 9]
    again = counterfactual_pass(outputs["cached_activations"], positions, row_splits)
    np.testing.assert_allclose(again, tf.gather(outputs["logits"], positions), atol=1e-5)


def traced(network, actors, row_splits):
    counterfactual_pass = CounterfactualPass(network, actors)
    outputs = counterfactual_pass.factual(IMAGES, training=False)
    rerun = tf.function(lambda cached: counterfactual_pass(cached, POSITIONS, row_splits))
    return operations_of(rerun.get_concrete_function(outputs["cached_activations"]).graph)


def test_what_lies_before_the_first_actor_is_not_run_again():
    network = small_network(blocks=3)  # A convolution before the blocks, and one in each.
    actors = actors_of(network)
    assert traced(network, actors, [0, 2, 4, 6]).count("Conv2D") == 2
    assert traced(network, actors[1:], [0, 2, 6]).count("Conv2D") == 1
    assert traced(network, actors[2:], [0, 6]).count("Conv2D") == 0


def test_it_grows_with_the_network_and_not_with_its_square():
    sizes = []
    for blocks in (4, 8, 12):
        network = small_network(blocks=blocks)
        row_splits = [*range(blocks), 6] if blocks < 6 else [0] * blocks + [6]
        sizes.append(len(traced(network, actors_of(network), row_splits)))
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.1)


def test_it_runs_on_a_loaded_network(tmp_path):
    network = small_network(TwoModules())
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    counterfactual_pass = CounterfactualPass(loaded, actors_of(loaded))
    outputs = counterfactual_pass.factual(IMAGES, training=False)
    again = counterfactual_pass(outputs["cached_activations"], POSITIONS, [0, 3, 6])
    expected = np.array(network(IMAGES)["logits"])[POSITIONS]
    np.testing.assert_allclose(again, expected, atol=1e-6)


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
