"""The benchmark: sums, fractions and bytes by hand, and the command."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from command_line import command
from module_cost import recipe_of
from support import small_data, small_network

from dreal_tf import DREAL, load_recipe
from dreal_tf.analysis import benchmark as timing
from dreal_tf.analysis.benchmark import (
    PARTS,
    Benchmark,
    exchanged_bytes,
    generated_data,
    part_seconds,
    recipes_of_arms,
    turn_of_model,
)
from dreal_tf.cli.benchmark import benchmark_lines


@pytest.fixture(scope="module")
def costs():
    options = "--smoke", "--set", "dreal.estimator=exact", "--rounds", "2", "--json"
    done = command("benchmark", "digits_resnet8_se", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_command_gives_ratios_and_what_they_come_from(costs):
    assert set(costs["ratio"]) == set(costs["memory_ratio"]) == {"sampled", "exact"}
    for name, ratio in costs["ratio"].items():
        low, high = costs["ratio_interval"][name]
        assert 0 < low <= ratio <= high
        assert costs["memory_ratio"][name] == costs["memory"][name] / costs["memory"]["plain"]
        assert costs["memory_processes"][name] == [costs["memory"][name]]
    for arm, seconds in costs["seconds"].items():
        assert costs["images_per_second"][arm] == pytest.approx(costs["batch_size"] / seconds)
        low, high = costs["seconds_quartiles"][arm]
        assert low <= seconds <= high
    given = costs["input"]
    per_step = costs["batch_size"] / given["images_per_second"]
    assert given["times_step"] == pytest.approx(costs["seconds"]["plain"] / per_step)
    assert costs["modules"] == 3
    assert list(costs["parts"]) == ["exact"] and costs["separate_passes"]["share"] > 0
    assert costs["cores"] == os.cpu_count() and costs["versions"]["Keras"] == keras.__version__


@pytest.mark.slow
def test_its_table_says_the_same(costs):
    lines = benchmark_lines(costs)
    row = next(line for line in lines if line.startswith("exact "))
    assert f"{costs['ratio']['exact']:.3f}" in row and f"{costs['memory']['exact']:.0f} MiB" in row
    parts = next(line for line in lines if line.startswith("counterfactual pass"))
    assert f"{1e3 * costs['parts']['exact']['counterfactual_pass']:.1f} ms" in parts
    tables = [line for line in lines if "  " in line]
    assert len(tables) == 4 + 5 and all(len(line) <= 80 for line in tables)


@pytest.mark.slow
def test_as_a_frame_it_has_a_row_for_each_arm(costs):
    frame = Benchmark(costs).to_pandas()
    assert list(frame.index) == ["plain", "sampled", "exact"]
    for name in ("seconds", "images_per_second", "memory"):
        assert frame[name].to_dict() == costs[name]
    assert frame["ratio"].dropna().to_dict() == costs["ratio"]
    assert frame.loc["exact", ["ratio_low", "ratio_high"]].tolist() == costs["ratio_interval"]["exact"]
    assert (
        frame.loc["plain", ["seconds_low", "seconds_high"]].tolist()
        == (costs["seconds_quartiles"]["plain"])
    )


def test_a_step_takes_as_long_as_its_parts():
    images, labels = small_data(32)
    model = DREAL(small_network(), reward_fraction=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss=loss)
    batch = tf.constant(images), tf.constant(labels)
    before = [np.array(v) for v in model.network.trainable_variables]
    seconds = part_seconds(model, turn_of_model(model, batch), batch, rounds=3, separate=True)
    assert set(seconds) == {*PARTS, "separate_pass"}
    assert all(len(times) == 3 for times in seconds.values())
    assert all(np.sum([seconds[part] for part in PARTS], axis=0) > 0)
    assert any(np.any(a != b) for a, b in zip(before, model.network.trainable_variables, strict=True))


def test_exchanged_bytes_are_those_of_the_variables():
    plain = DREAL(small_network(), critic=None)
    model = DREAL(small_network(synchronized=True), critic="paper")
    weights = sum(int(np.prod(v.shape)) for v in model.network.trainable_variables)
    critic = sum(int(np.prod(v.shape)) for v in model.critic.trainable_variables)
    exchanged = exchanged_bytes(model)
    # Two blocks with four channels: sum and sum of squares, forward and back, in float32.
    assert exchanged == {
        "network": 4 * weights,
        "statistics": 2 * 2 * 2 * 4 * 4,
        "critic": 4 * critic,
    } | {"trust": 4 * 5 * 2, "relative_weight": 4 * 2 * 2}
    nothing = dict.fromkeys(("statistics", "critic", "trust", "relative_weight"), 0)
    assert exchanged_bytes(plain) == {"network": 4 * weights} | nothing


def test_arms_differ_in_the_method_alone():
    arms = recipes_of_arms(load_recipe("cifar10_resnet20_se"))
    assert not arms["plain"].dreal.enabled
    assert [arms[name].dreal.estimator for name in ("sampled", "exact")] == ["sampled", "exact"]
    same = {"dreal.enabled": True, "dreal.estimator": "sampled"}
    assert len({recipe.replace(same).to_json() for recipe in arms.values()}) == 1
    with pytest.raises(ValueError, match="Expected a recipe with attention and the method"):
        recipes_of_arms(load_recipe("cifar10_resnet20_se").replace({"dreal.enabled": False}))


def test_generated_images_have_the_shape_that_the_recipe_trains_on():
    small = generated_data(load_recipe("imagenet_resnet50_se").replace({"data.image_size": 32}))
    assert small.image_shape == (32, 32, 3) and len(small.class_names) == 1000
    recipe = load_recipe("cifar10_resnet8_se").replace({"data.name": "folder"})
    with pytest.raises(ValueError, match="--data-dir, or a size with --set data.image_size=224"):
        generated_data(recipe)


def test_the_table_of_modules_is_of_images_of_the_size_that_it_says():
    assert generated_data(recipe_of("eca", side=64, batch=2)).image_shape == (64, 64, 3)


def test_a_turn_lasts_a_while_and_says_how_long_one_call_takes(monkeypatch):
    clock = [0.0]

    def call():
        clock[0] += 0.02

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    turn = timing.timed(call, wait=lambda nothing: None)
    assert turn() == pytest.approx(0.02)
    before = clock[0]
    turn()
    assert clock[0] - before == pytest.approx(timing.TURN_SECONDS)


def test_the_interval_of_a_median_holds_it():
    values = np.random.default_rng(1).normal(1.1, 0.05, 25)
    low, high = timing.median_interval(values)
    assert low < np.median(values) < high and high - low < 0.1
    assert timing.median_interval(np.array([1.5])) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits_resnet8_se", "--rounds", "0"], "`rounds` must be at least 1"),
        (["digits_resnet8_se", "--set", "dreal.enabled=false"], "Expected a recipe with attention"),
        (["digits_resnet9_se"], "Did you mean 'digits_resnet8_se'"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    done = command("benchmark", *arguments)
    assert done.returncode == 2 and message in done.stderr
