import numpy as np
import pytest

from dreal_tf.method.critics.meta_critic import area_pool, summarize, summary_width
from dreal_tf.modules import ModuleSpec

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
