"""Summaries of states and actions, and the memory over modules."""

import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.method.critics import MetaCritic, PaperCritic
from dreal_tf.method.critics.meta_critic import area_pool, summarize, summary_width
from dreal_tf.modules import ModuleOutput, ModuleSpec

RANDOM = np.random.default_rng(0)


def spec_of(kind, state, action, axes=()):
    return ModuleSpec("conv2_1/any", "conv2", kind, state.shape[1:], action.shape[1:], axes)


def pooled_by_hand(plane, grid):
    """Mean over each cell, pixels cut where a cell's edge cuts them, by fine sampling."""
    fine = 60
    height, width = plane.shape
    rows = ((np.arange(grid * fine) + 0.5) * height / (grid * fine)).astype(int)
    columns = ((np.arange(grid * fine) + 0.5) * width / (grid * fine)).astype(int)
    sampled = plane[np.ix_(rows, columns)]
    return sampled.reshape(grid, fine, grid, fine).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (5, 3), (1, 1), (2, 30), (3, 15)])
def test_area_pool_averages_equal_areas(size):
    maps = RANDOM.normal(size=(2, *size, 3)).astype("float32")
    pooled = area_pool(maps, 4).numpy()
    assert pooled.shape == (2, 4, 4, 3)
    for image in range(2):
        for channel in range(3):
            expected = pooled_by_hand(maps[image, :, :, channel], 4)
            np.testing.assert_allclose(pooled[image, :, :, channel], expected, atol=1e-5)


def test_area_pool_keeps_the_mean():
    maps = RANDOM.normal(size=(2, 7, 9, 1)).astype("float32")
    np.testing.assert_allclose(
        area_pool(maps, 3).numpy().mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=1e-6
    )


def test_channel_summary_is_average_and_action():
    state, action = RANDOM.normal(size=(2, 5, 3, 6)), RANDOM.normal(size=(2, 1, 1, 6))
    expected = np.concatenate([state.mean(axis=(1, 2)), action[:, 0, 0]], axis=1)
    summary = summarize(spec_of("channel", state, action), state, action)
    np.testing.assert_allclose(summary, expected, rtol=1e-5)


def test_spatial_summary_is_both_maps_on_the_grid():
    state, action = RANDOM.normal(size=(2, 8, 8, 6)), RANDOM.normal(size=(2, 8, 8, 1))
    spec = spec_of("spatial", state, action)
    summary = summarize(spec, state, action).numpy().reshape(2, 4, 4, 2)
    for image in range(2):
        of_state = pooled_by_hand(state[image].mean(axis=2), 4)
        np.testing.assert_allclose(summary[image, :, :, 0], of_state, atol=1e-5)
        of_action = pooled_by_hand(action[image, :, :, 0], 4)
        np.testing.assert_allclose(summary[image, :, :, 1], of_action, atol=1e-5)


def test_pairwise_summary_is_attention_received_and_entropy():
    state = RANDOM.normal(size=(1, 4, 4, 3))
    action = RANDOM.uniform(size=(1, 16, 16))
    action /= action.sum(axis=2, keepdims=True)
    action[0, 0] = np.eye(16)[5]  # A row without entropy.
    spec = spec_of("pairwise", state, action, ("places", "places"))
    summary = summarize(spec, state, action).numpy()[0]
    np.testing.assert_allclose(summary[:16], action[0].mean(axis=0), rtol=1e-5)
    entropy = -np.sum(action * np.log(np.maximum(action, 1e-30)), axis=2)[0]
    np.testing.assert_allclose(summary[16:32], entropy, atol=1e-5)
    np.testing.assert_allclose(summary[32:], state[0].mean(axis=(0, 1)), rtol=1e-5)


def test_heads_are_averaged_and_members_are_side_by_side():
    state = RANDOM.normal(size=(2, 4, 4, 3))
    action = RANDOM.uniform(size=(2, 5, 16, 4))
    action[0, 0, 0] = np.eye(4)[2]
    spec = spec_of("pairwise", state, action, ("heads", "places", "members"))
    summary = summarize(spec, state, action).numpy()
    received = action.mean(axis=(1, 2))  # (2, 4 keys), each stretched over four of the 16 cells.
    np.testing.assert_allclose(summary[:, :16], np.repeat(received, 4, axis=1), atol=1e-5)
    entropy = -np.sum(action * np.log(np.maximum(action, 1e-30)), axis=3).mean(axis=1)
    np.testing.assert_allclose(summary[:, 16:32], entropy, atol=1e-5)


def test_as_many_members_as_places_are_no_map():
    """The module's spec names an axis; its length does not tell the meaning."""
    state, action = RANDOM.normal(size=(1, 2, 2, 3)), np.zeros((1, 4, 4))
    action[..., 1] = 1.0
    received = {}
    for keys in ("places", "members"):
        spec = spec_of("pairwise", state, action, ("places", keys))
        received[keys] = summarize(spec, state, action, grid=4).numpy()[0, :16].tolist()
    assert received["places"] == [0, 0, 1, 1] * 2 + [0] * 8
    assert received["members"] == [0] * 4 + [1] * 4 + [0] * 8


@pytest.mark.parametrize(
    ("kind", "action_shape", "axes"),
    [
        ("channel", (1, 1, 6), ()),
        ("spatial", (9, 5, 1), ()),
        ("pairwise", (45, 45), ("places", "places")),
    ],
)
@pytest.mark.parametrize("grid", [2, 4])
def test_width_is_what_summary_width_says(kind, action_shape, axes, grid):
    state, action = np.ones((2, 9, 5, 6)), np.ones((2, *action_shape))
    spec = spec_of(kind, state, action, axes)
    assert tuple(summarize(spec, state, action, grid).shape) == (2, summary_width(spec, grid))
    alone = summarize(spec, state, None, grid)
    assert tuple(alone.shape) == (2, summary_width(spec, grid, with_action=False))


def spec(module, stage, channels, kind="channel"):
    action = {"channel": (1, 1, channels), "spatial": (4, 4, 1)}[kind]
    return ModuleSpec(module, stage, kind, (4, 4, channels), action)


def step(channels, kind="channel", seed=0):
    random = np.random.default_rng(seed)
    action = {"channel": (3, 1, 1, channels), "spatial": (3, 4, 4, 1)}[kind]
    state = random.normal(size=(3, 4, 4, channels)).astype("float32")
    return ModuleOutput(tf.constant(state), tf.constant(random.uniform(size=action).astype("float32")))


def test_blocks_of_a_stage_share_an_encoder_and_kinds_do_not():
    critic = MetaCritic(units=4)
    critic.build(
        [
            spec("conv2_1/a", "conv2", 6),
            spec("conv2_1/b", "conv2", 6, "spatial"),
            spec("conv2_2/a", "conv2", 6),
            spec("conv3_1/a", "conv3", 8),
        ]
    )
    assert critic.encoder_of == [0, 1, 0, 2] and len(critic.encoders) == 3


@pytest.mark.parametrize("kind", ["channel", "spatial"])
def test_stages_of_equal_width_have_encoders_of_their_own(kind):
    critic = MetaCritic(units=4)
    critic.build([spec("conv2_1/a", "conv2", 6, kind), spec("conv3_1/a", "conv3", 6, kind)])
    assert critic.encoder_of == [0, 1]
    kernels = [encoder.kernel for encoder in critic.encoders]
    with tf.GradientTape(persistent=True) as tape:
        first, second = tf.unstack(critic([step(6, kind, seed) for seed in (0, 1)]), axis=1)
    own, later = tape.gradient(first, kernels, unconnected_gradients="zero")
    assert np.any(own) and not np.any(later)
    # The memory carries the first stage on to the second.
    assert all(np.any(gradient) for gradient in tape.gradient(second, kernels))


def test_pairwise_steps_share_an_encoder_only_where_their_axes_are_the_same():
    """The two of A² and the two of DANet stand in one stage and have summaries of one width."""
    axes = [
        ("members", "places"),
        ("places", "members"),
        ("places", "places"),
        ("members", "members"),
        ("members", "places"),
    ]
    critic = MetaCritic(units=4)
    critic.build(
        [
            ModuleSpec(f"conv2_{block}/a", "conv2", "pairwise", (4, 4, 6), (16, 16), of_step)
            for block, of_step in enumerate(axes)
        ]
    )
    assert critic.encoder_of == [0, 1, 2, 3, 0] and len(critic.encoders) == 4
    assert len({variable.path for variable in critic.trainable_variables}) == 2 * 4 + 3


def test_a_critique_depends_on_its_own_step_and_those_before_it_alone():
    critic = PaperCritic(units=4)
    critic.build([spec(f"conv2_{i}/se", "conv2", 6) for i in range(1, 4)], classes=3)
    steps = [step(6, seed=seed) for seed in range(3)]
    actions = [s.action for s in steps]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(actions)
        critic_output = critic([ModuleOutput(s.state, a) for s, a in zip(steps, actions, strict=True)])
        critiques = critic_output.critiques
        columns = tf.unstack(critiques, axis=1)
    depends = np.array(
        [
            [np.abs(g).max() > 0 if (g := tape.gradient(q, a)) is not None else False for a in actions]
            for q in columns
        ]
    )
    np.testing.assert_array_equal(depends, np.tril(np.ones((3, 3), bool)))


def test_critiques_of_an_image_do_not_depend_on_the_others():
    critic = PaperCritic(units=4)
    critic.build([spec("conv2_1/se", "conv2", 6)], classes=3)
    whole = step(6)
    alone = ModuleOutput(whole.state[1:2], whole.action[1:2])
    alone, whole = critic([alone]).critiques, critic([whole]).critiques
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-5)
