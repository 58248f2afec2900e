import numpy as np
import pytest
from differences import check_gradients, weights_of

from dreal_tf.layers.a2 import DoubleAttention

CHANNELS, FEATURES, DESCRIPTORS = 6, 3, 4
SHAPES = [(2, 5, 7, CHANNELS), (1, 3, 4, CHANNELS), (1, 1, 1, CHANNELS), (2, 3, 1, CHANNELS)]


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(**settings):
    layer = DoubleAttention(FEATURES, DESCRIPTORS, **settings)
    layer.build((None, None, None, CHANNELS))
    random = np.random.default_rng(1)
    layer.set_weights([random.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def softmax(vector):
    powers = np.exp(vector - vector.max())
    return powers / powers.sum()


def by_hand(state, weights, given=(None, None)):
    """The paper's two attention steps for one image after the other, position by position, in float64."""
    refined, gatherings, distributings = np.float64(state), [], []
    for image, positions in enumerate(np.float64(state).reshape(len(state), -1, CHANNELS)):
        count = len(positions)
        features = positions @ weights["reduce/kernel"] + weights["reduce/bias"]
        maps = positions @ weights["gather/kernel"]
        vectors = positions @ weights["distribute/kernel"] + weights["distribute/bias"]
        gathering = np.array([softmax(maps[:, member]) for member in range(maps.shape[1])])
        distributing = np.array([softmax(vectors[position]) for position in range(count)])
        gatherings.append(gathering)
        distributings.append(distributing)
        gathering = gathering if given[0] is None else given[0][image]
        distributing = distributing if given[1] is None else given[1][image]
        distributed = np.zeros((count, features.shape[1]))
        for position in range(count):
            for member in range(maps.shape[1]):
                descriptor = sum(gathering[member, other] * features[other] for other in range(count))
                distributed[position] += distributing[position, member] * descriptor
        expanded = distributed @ weights["expand/kernel"] + weights["expand/bias"]
        refined[image] += expanded.reshape(state.shape[1:])
    return np.array(gatherings), np.array(distributings), refined


@pytest.mark.parametrize("shape", SHAPES)
def test_actions_and_map_follow_the_paper(shape):
    layer, state = made(), normal(shape)
    refined, (gathering, distributing) = layer(state, return_action=True)
    expected = by_hand(state, weights_of(layer))
    for ours, theirs in zip((gathering, distributing, refined), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_both_steps_read_the_map_that_came_in():
    layer, state = made(), normal(SHAPES[0])
    _, steps = layer(state, return_modules=True)
    for index, step in enumerate(steps):
        np.testing.assert_array_equal(step.state, state)
        np.testing.assert_array_equal(layer(state, propose_only=index), step.action)


def test_a_replaced_action_is_applied_and_leaves_the_other_as_it_was():
    layer, state = made(), normal(SHAPES[0])
    own = layer(state, return_action=True)[1]
    random = np.random.default_rng(2)
    for index in (0, 1):
        other = random.dirichlet(np.ones(own[index].shape[-1]), size=own[index].shape[:2])
        given = (other, None) if index == 0 else (None, other)
        refined, actions = layer(state, action=given, return_action=True)
        np.testing.assert_array_equal(actions[1 - index], own[1 - index])
        expected = by_hand(state, weights_of(layer), given)[2]
        np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    """A softmax over the batch axis would."""
    layer, state = made(), normal((3, 4, 3, CHANNELS))
    changed = np.concatenate([state[:1], 5 * normal((2, 4, 3, CHANNELS), seed=3)])
    results = [layer(maps, return_action=True) for maps in (state, changed, state[::-1])]
    for pick in (lambda r: r[0], lambda r: r[1][0], lambda r: r[1][1]):
        first, second, turned = (np.array(pick(result)) for result in results)
        np.testing.assert_allclose(second[0], first[0], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(turned[::-1], first, rtol=1e-6, atol=1e-7)
        assert np.abs(second[1:] - first[1:]).max() > 0.01


@pytest.mark.parametrize("step", [0, 1])
def test_zeros_in_either_action_pass_that_image_through_to_the_bit(step):
    layer, state = made(), normal(SHAPES[0])
    refined, actions = layer(state, return_action=True)
    given = [None, None]
    given[step] = np.array(actions[step])
    given[step][0] = 0
    changed = np.array(layer(state, action=given))
    np.testing.assert_array_equal(changed[0], state[0])
    np.testing.assert_allclose(changed[1], refined[1], rtol=1e-6)


def test_gradients_are_those_of_the_formula():
    layer = made()
    check_gradients(
        layer,
        lambda points: by_hand(points["state"], points)[2],
        normal((2, 3, 2, CHANNELS)),
    )


@pytest.mark.parametrize(
    ("settings", "channels", "features", "descriptors"),
    [({}, 16, 4, 4), ({}, 3, 1, 1), (dict(features=5), 10, 5, 2), (dict(descriptors=7), 10, 2, 7)],
)
def test_widths_and_parameters(settings, channels, features, descriptors):
    layer = DoubleAttention(**settings)
    _, actions = layer(np.ones((2, 3, 2, channels), "float32"), return_action=True)
    assert tuple(actions[0].shape) == (2, descriptors, 6)
    assert tuple(actions[1].shape) == (2, 6, descriptors)
    assert layer.count_params() == (
        (channels + 1) * features
        + channels * descriptors
        + (channels + 1) * descriptors
        + (features + 1) * channels
    )
