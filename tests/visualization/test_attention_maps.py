"""A module's own attention over the image, each kind against a NumPy loop over its definition."""

import keras
import numpy as np
import pytest
from support import randomized

from dreal_tf import residual_network
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS
from dreal_tf.modules import ModuleSpec
from dreal_tf.visualization.attention_maps import (
    attention_map,
    has_map,
    module_maps,
    query_map,
    recorded_actions,
)

HEIGHT, WIDTH = 5, 4
MADE_WITH = {"sasa": dict(kernel_size=3, heads=2), "aa": dict(heads=2), "emanet": dict(bases=3)}


def recorded(kind, **options):
    """Recorded actions of a kind\'s actor on two random states, the same as it returns them."""
    layer = ACTORS[kind](**(MADE_WITH.get(kind, {}) | options), name=f"conv4_1_{kind}")
    state = np.random.default_rng(0).normal(size=(2, HEIGHT, WIDTH, 16)).astype("float32")
    layer(state)
    inputs = keras.Input(state.shape[1:])
    network = keras.Model(inputs, randomized(layer)(inputs))
    attention = recorded_actions(network, state, batch_size=1)
    actions = layer(state, return_action=True)[1]
    actions = actions if isinstance(actions, tuple) else (actions,)
    for one, action in zip(attention.values(), actions, strict=True):
        np.testing.assert_allclose(one.action, action, rtol=1e-4, atol=1e-6)
    return attention


def positions(height=HEIGHT, width=WIDTH):
    return list(np.ndindex(height, width))


def attends(kind, action, image, query):
    """How much a query (row, column) attends to each place, by the definition of the kind."""
    attention = np.zeros((HEIGHT, WIDTH))
    row, column = query
    number = row * WIDTH + column
    if kind == "ccnet":
        attention[:, column] += action[image, row, column, :HEIGHT]
        attention[row, :] += action[image, row, column, HEIGHT:]
    elif kind == "sasa":
        for offset, (down, right) in enumerate(np.ndindex(3, 3)):
            there = row + down - 1, column + right - 1
            if 0 <= there[0] < HEIGHT and 0 <= there[1] < WIDTH:
                attention[there] += action[image, :, number, offset].mean()
    elif kind == "aa":
        for key, there in enumerate(positions()):
            attention[there] = action[image, :, number, key].mean()
    elif kind == "emanet":
        for key, there in enumerate(positions()):
            for base in range(action.shape[-1]):
                given = action[image, :, base].sum()
                attention[there] += action[image, number, base] * action[image, key, base] / given
    else:
        halved = np.zeros(((HEIGHT + 1) // 2, (WIDTH + 1) // 2))
        attention = halved if action.shape[-1] == halved.size else attention
        for key, there in enumerate(np.ndindex(attention.shape)):
            attention[there] = action[image, number, key]
    return attention


PAIRWISE = {
    "non_local": ("non_local", {}),
    "non_local without pooling": ("non_local", {"subsample": False}),
    "aa": ("aa", {}),
    "sasa": ("sasa", {}),
    "danet": ("danet", {}),
    "ccnet": ("ccnet", {}),
}


@pytest.mark.parametrize("name", PAIRWISE)
def test_what_each_place_receives_and_what_each_query_attends_to(name):
    kind, options = PAIRWISE[name]
    for module, (spec, action) in recorded(kind, **options).items():
        if module.endswith("danet_channel"):
            continue
        received = attention_map(spec, action)
        for image in range(2):
            of_queries = [attends(kind, action, image, query) for query in positions()]
            even = 1 / of_queries[0].size
            np.testing.assert_allclose(received[image], np.mean(of_queries, axis=0) / even, rtol=1e-4)
            for query, expected in zip(positions(), of_queries, strict=True):
                attention = query_map(spec, action, query)[image]
                np.testing.assert_allclose(attention, expected, rtol=1e-4, atol=1e-7)
        if kind != "sasa":  # A part of a window may lie outside.
            np.testing.assert_allclose(received.mean(axis=(1, 2)), 1.0, rtol=1e-5)


def test_of_emanet_the_strongest_base_and_what_a_place_is_rebuilt_from():
    ((spec, action),) = recorded("emanet").values()
    strongest = attention_map(spec, action)
    for number, position in enumerate(positions()):
        np.testing.assert_allclose(strongest[0][position], max(action[0, number]))
        expected = attends("emanet", action, 0, position)
        np.testing.assert_allclose(query_map(spec, action, position)[0], expected, rtol=1e-4)
        assert expected.sum() == pytest.approx(1.0, rel=1e-5)


def test_of_a2_what_is_gathered_and_how_surely_it_is_handed_out():
    gather, distribute = recorded("a2").values()
    gathered = attention_map(*gather)
    expected = gather.action[0].mean(axis=0).reshape(HEIGHT, WIDTH) * HEIGHT * WIDTH
    np.testing.assert_allclose(gathered[0], expected, rtol=1e-5)
    descriptor = query_map(*gather, 2)
    np.testing.assert_array_equal(descriptor[1].ravel(), gather.action[1, 2])
    np.testing.assert_array_equal(
        attention_map(*distribute)[0].ravel(), distribute.action[0].max(axis=1)
    )


def test_a_spatial_action_is_its_own_map():
    channel, spatial = recorded("cbam").values()
    np.testing.assert_array_equal(attention_map(*spatial), spatial.action[..., 0])
    assert not has_map(channel.spec)


def test_an_even_attention_is_1_everywhere():
    for axes, shape in (
        (("heads", "places", "places"), (2, 2, 20, 20)),
        (("places", "halved"), (2, 20, 6)),
        (("members", "places"), (2, 7, 20)),
    ):
        spec = ModuleSpec("m/one", "m", "pairwise", (HEIGHT, WIDTH, 3), shape[1:], axes)
        even = np.full(shape, 1 / shape[-1])
        np.testing.assert_allclose(attention_map(spec, even), 1.0, rtol=1e-6)


def test_what_has_no_map_or_no_such_query_is_refused():
    channel, spatial = recorded("cbam").values()
    position, channels = recorded("danet").values()
    gather, _ = recorded("a2").values()
    for one in (channel, channels):
        with pytest.raises(InputError, match="Expected an action over places.*over channels"):
            attention_map(*one)
        with pytest.raises(InputError, match="Expected an action over places"):
            query_map(*one, (0, 0))
    with pytest.raises(InputError, match="Expected a pairwise action.*is spatial"):
        query_map(*spatial, (0, 0))
    for query in ((5, 0), (0, -1), 3, (1, 1, 1)):
        with pytest.raises(InputError, match=r"Expected a place \(row, column\) of a map of 5 × 4"):
            query_map(*position, query)
    for query in (4, -1, (0, 0)):
        with pytest.raises(InputError, match="Expected a member, from 0 to 3"):
            query_map(*gather, query)


def test_maps_of_a_network_by_module_wherever_its_actors_lie():
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype("float32")
    network = residual_network((16, 16, 3), 4, depth=8, attention=ACTORS["cbam"](4))
    flat = module_maps(network, images)
    assert list(flat) == ["conv2_1/cbam_spatial", "conv3_1/cbam_spatial", "conv4_1/cbam_spatial"]
    plain = keras.Model(network.input, network.output["logits"])
    nested = module_maps(keras.Sequential([plain, keras.layers.Softmax()]), images, batch_size=2)
    actions = network.predict(images, verbose=0)["actions"]
    for module, maps in flat.items():
        np.testing.assert_allclose(maps, actions[module][..., 0], rtol=1e-5)
        np.testing.assert_allclose(nested[module], maps, rtol=1e-5)


def test_a_network_without_attention_over_places_has_no_maps():
    network = residual_network((8, 8, 3), 4, depth=8, attention=ACTORS["se"](4))
    assert module_maps(network, np.zeros((2, 8, 8, 3))) == {}
