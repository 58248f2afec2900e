"""The contract that every attention kind keeps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS
from dreal_tf.layers.attention_actor import POSITIONS_IN_BLOCK

CHANNELS = 8
SMALL = {"se": {"reduction": 2}, "cbam": {"reduction": 2}, "emanet": {"bases": 5}, "aa": {"heads": 2}}
SHAPES = [(3, 5, 7, CHANNELS), (1, 4, 3, CHANNELS), (2, 1, 1, CHANNELS)]
MIXING = ("aa", "sasa")  # In place of a convolution: nothing passes them by.


def actor_of(kind, state_shape=(None, 5, 7, CHANNELS), **arguments):
    """An actor in which nothing is left at a value that makes it do nothing."""
    actor = ACTORS[kind](**SMALL.get(kind, {}), **arguments)
    actor.build(state_shape)
    random = np.random.default_rng(0)
    for variable in actor.trainable_variables:
        variable.assign(np.array(variable) + random.normal(size=variable.shape) * 0.3)
    return actor


def state_of(shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def steps_of(actor, state, **arguments):
    return actor(state, return_modules=True, **arguments)[1]


def parts(actions):
    return actions if isinstance(actions, tuple) else (actions,)


def valid(kind, action):
    """True for keys that a query can attend to: in CCNet all but its own key in the column part."""
    mask = np.ones(action.shape, bool)
    if kind == "ccnet":
        height = action.shape[1]
        mask[:, np.arange(height), :, np.arange(height)] = False
    return mask


@pytest.mark.parametrize("kind", ACTORS)
def test_names_kinds_and_placement_are_stated(kind):
    actor = ACTORS[kind]()
    assert actor.attention == kind and actor.placement.where in POSITIONS_IN_BLOCK
    assert all(suffix.startswith(kind) for suffix in actor.suffixes)
    assert ACTORS[kind].__doc__.count("arXiv") >= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ACTORS)
def test_actions_lie_in_their_domain_on_maps_of_any_size(kind, shape):
    actor, state = actor_of(kind, (None, None, None, CHANNELS)), state_of(shape)
    refined, steps = actor(state, return_modules=True)
    assert tuple(refined.shape) == shape and np.isfinite(refined).all()
    for step, action_kind in zip(steps, actor.kinds, strict=True):
        action = np.array(step.action)
        assert action.min() >= 0
        if action_kind == "pairwise":
            np.testing.assert_allclose(action.sum(axis=-1), 1, rtol=1e-5)
        else:
            assert action.max() <= 1


@pytest.mark.parametrize("kind", ACTORS)
def test_own_actions_given_back_change_nothing_and_others_are_applied(kind):
    actor, state = actor_of(kind), state_of(SHAPES[0])
    refined, actions = actor(state, return_action=True)
    np.testing.assert_array_equal(actor(state, action=actions), refined)
    for position, action in enumerate(parts(actions)):
        other = np.array(action)[..., ::-1, :] if action.shape[-1] == 1 else np.array(action)[..., ::-1]
        given = tuple(other if p == position else None for p in range(len(parts(actions))))
        changed, returned = actor(state, action=given, return_action=True)
        np.testing.assert_array_equal(parts(returned)[position], other)
        assert np.abs(changed - refined).max() > 1e-4


@pytest.mark.parametrize("kind", ACTORS)
def test_a_step_proposes_the_same_alone(kind):
    actor, state = actor_of(kind), state_of(SHAPES[0])
    for index, step in enumerate(steps_of(actor, state)):
        alone = actor(step.state, propose_only=index)
        np.testing.assert_allclose(alone, step.action, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ACTORS)
def test_an_image_decides_for_itself(kind):
    actor, state = actor_of(kind), state_of(SHAPES[0])
    others = np.concatenate([state[:1], state_of((2, 5, 7, CHANNELS), seed=2)])
    for step, other in zip(steps_of(actor, state), steps_of(actor, others), strict=True):
        np.testing.assert_allclose(other.action[0], step.action[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", ACTORS)
def test_the_mean_reference_action(kind, dtype):
    """Shape, dtype and mean are kept; a second time it changes nothing; nor does it a constant."""
    actor = actor_of(kind, dtype=f"mixed_{dtype}" if dtype == "float16" else dtype)
    for index, step in enumerate(steps_of(actor, state_of(SHAPES[0]))):
        action = tf.cast(step.action, dtype)
        flat = actor.reference_action(action, "mean", index)
        assert flat.shape == action.shape and flat.dtype == action.dtype
        np.testing.assert_array_equal(actor.reference_action(flat, "mean", index), flat)
        axes = {"channel": 3, "spatial": (1, 2), "pairwise": -1}[actor.kinds[index]]
        mask, flat = valid(kind, action), np.float64(flat)
        expected = np.float64(action).mean(axis=axes, where=mask, keepdims=True)
        rtol = 1e-5 if dtype == "float32" else 2e-3
        np.testing.assert_allclose(
            flat, np.where(mask, np.broadcast_to(expected, flat.shape), 0), rtol=rtol
        )
        if actor.kinds[index] == "pairwise":
            np.testing.assert_allclose(flat[mask], 1 / mask.sum(axis=-1).max(), rtol=rtol)
        constant = tf.cast(tf.where(mask, 0.3, 0.0), dtype)
        np.testing.assert_array_equal(actor.reference_action(constant, "mean", index), constant)


@pytest.mark.parametrize("kind", sorted(set(ACTORS) - set(MIXING)))
def test_the_identity_passes_the_state_through_image_by_image(kind):
    actor, state = actor_of(kind), state_of(SHAPES[0])
    refined, actions = actor(state, return_action=True)
    nothing = []
    for index, action in enumerate(parts(actions)):
        identity = np.array(actor.reference_action(action, "identity", index))
        nothing.append(np.concatenate([identity[:2], np.array(action)[2:]]))
    passed = np.array(actor(state, action=tuple(nothing)))
    np.testing.assert_array_equal(passed[:2], state[:2])
    np.testing.assert_allclose(passed[2], refined[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MIXING)
def test_in_place_of_a_convolution_there_is_no_identity(kind):
    actor = actor_of(kind)
    (step,) = steps_of(actor, state_of(SHAPES[0]))
    with pytest.raises(InputError, match="Use 'mean'"):
        actor.reference_action(step.action, "identity")


@pytest.mark.parametrize("kind", ACTORS)
def test_a_moved_action_stays_in_its_domain(kind):
    actor, random = actor_of(kind), np.random.default_rng(3)
    for index, step in enumerate(steps_of(actor, state_of(SHAPES[0]))):
        action = np.array(step.action)
        change = random.normal(size=action.shape).astype("float32")
        moved = np.array(actor.perturb_action(action, change, index))
        mask = valid(kind, action)
        assert (moved[~mask] == 0).all() and moved.min() >= 0 and moved.max() <= 1
        assert np.abs(moved - action).max() > 1e-3
        if actor.kinds[index] == "pairwise":
            np.testing.assert_allclose(moved.sum(axis=-1), 1, rtol=1e-5)
        still = np.array(actor.perturb_action(action, np.zeros_like(change), index))
        np.testing.assert_allclose(still, action, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", ACTORS)
def test_mixed_precision_keeps_weights_and_softmaxes_in_float32(kind, policy):
    whole, half = actor_of(kind), actor_of(kind, dtype=policy)
    half.set_weights(whole.get_weights())
    state = state_of(SHAPES[0])
    refined, steps = half(state, return_modules=True)
    assert {w.dtype for w in half.weights} == {"float32"} and refined.dtype == half.compute_dtype
    for step, exact in zip(steps, steps_of(whole, state), strict=True):
        assert step.action.dtype == half.compute_dtype
        np.testing.assert_allclose(np.float32(step.action), exact.action, atol=5e-2)
    large = half(100 * state, return_modules=True)  # float16 has no number above 65,504.
    assert all(np.isfinite(np.float32(step.action)).all() for step in large[1])


@pytest.mark.parametrize("kind", ACTORS)
def test_a_network_of_any_image_size_survives_saving(kind, tmp_path):
    images = keras.Input((None, None, CHANNELS))
    actor = ACTORS[kind](**SMALL.get(kind, {}), name=f"conv2_1_{kind}")
    refined, steps = actor(images, return_modules=True)
    network = keras.Model(images, [refined, *(step.action for step in steps)])
    random = np.random.default_rng(4)
    network.set_weights([np.abs(random.normal(size=w.shape)) for w in network.get_weights()])
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    for shape in SHAPES:
        for ours, theirs in zip(network(state_of(shape)), loaded(state_of(shape)), strict=True):
            np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("kind", ACTORS)
def test_no_state_moves_at_inference(kind):
    actor = actor_of(kind)
    before = [np.array(v) for v in actor.non_trainable_variables]
    actor(state_of(SHAPES[0]), training=False)
    for old, new in zip(before, actor.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(new, old)


# The weights that the regularizer penalizes.
REGULARIZED = {
    "se": "squeeze/kernel excite/kernel",
    "cbam": "squeeze/kernel excite/kernel convolve/kernel",
    "srm": "style",
    "eca": "convolve/kernel",
    "non_local": "theta/kernel phi/kernel g/kernel w_z/kernel",
    "a2": "reduce/kernel gather/kernel distribute/kernel expand/kernel",
    "aa": "convolution/kernel query/kernel key/kernel value/kernel project/kernel",
    "sasa": "query/kernel key/kernel value/kernel",
    "danet": "query/kernel key/kernel value/kernel",
    "ccnet": "query/kernel key/kernel value/kernel",
    "emanet": "project/kernel restore/kernel",
}


@pytest.mark.parametrize("kind", ACTORS)
def test_kernels_alone_are_regularized(kind):
    actor = actor_of(kind, kernel_regularizer=keras.regularizers.L2(0.1))
    actor(state_of(SHAPES[0]))
    weights = {v.path.split("/", 1)[1]: np.float64(v) for v in actor.trainable_variables}
    expected = 0.1 * sum(np.sum(weights[name] ** 2) for name in REGULARIZED[kind].split())
    np.testing.assert_allclose(float(sum(actor.losses)), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["cbam", "srm", "non_local", "emanet"])
def test_statistics_span_replicas_if_asked(kind):
    for synchronized in (False, True):
        norm = actor_of(kind, synchronized=synchronized).norm
        assert (norm.synchronized, norm.momentum, norm.epsilon) == (synchronized, 0.9, 1e-5)


REFUSED = [
    ("se", dict(reduction=0), "at least 1. Received: reduction=0"),
    ("cbam", dict(reduction=0), "at least 1. Received: reduction=0. Raise it"),
    *(
        ("cbam", dict(kernel_size=size), f"odd.*Received: kernel_size={size}. Give")
        for size in (4, 0, -1)
    ),
    *(("eca", dict(gamma=gamma), f"above 0. Received: gamma={gamma}. Raise it") for gamma in (0, -1)),
    *(
        ("eca", dict(kernel_size=size), f"odd.*Received: kernel_size={size}. Give")
        for size in (4, 0, -1)
    ),
    ("non_local", dict(bottleneck=0), "`bottleneck` must be at least 1. Received: bottleneck=0.*Raise"),
    ("a2", dict(features=0), "`features` must be at least 1. Received: features=0. Raise it"),
    ("a2", dict(descriptors=0), "`descriptors` must be at least 1. Received: descriptors=0. Raise it"),
    ("aa", dict(strides=0), "`strides` must be at least 1. Received: strides=0"),
    ("aa", dict(heads=0), "`heads` must be at least 1. Received: heads=0"),
    ("aa", dict(key_fraction=0), "`key_fraction` must be above 0. Received: key_fraction=0"),
    ("aa", dict(value_fraction=1.0), "above 0 and below 1. Received: value_fraction=1.0"),
    ("aa", dict(filters=0), "`filters` must be at least 2.*Received: filters=0"),
    ("aa", dict(filters=4, value_fraction=0.9), "some of the 4 channels.*gives 2 heads 4 channels"),
    ("sasa", dict(strides=0), "`strides` must be at least 1. Received: strides=0"),
    ("sasa", dict(heads=0), "`heads` must be at least 1. Received: heads=0"),
    ("sasa", dict(filters=0), "`filters` must be at least 1, or None. Received: filters=0"),
    ("sasa", dict(kernel_size=4), "`kernel_size` must be odd.*kernel_size=4. Choose 3, 5, 7"),
    ("danet", dict(reduction=0), "`reduction` must be at least 1. Received: reduction=0.*Raise"),
    *(("ccnet", dict(recurrence=n), f"must be 1 or 2. Received: recurrence={n}") for n in (0, 3)),
    ("emanet", dict(bases=0), "`bases` must be at least 1. Received: bases=0. Raise it"),
    ("emanet", dict(iterations=0), "`iterations` must be at least 1. Received: iterations=0. Raise it"),
    ("emanet", dict(momentum=1.5), "from 0 to 1, .*Received: momentum=1.5. Give the paper's 0.9"),
    ("emanet", dict(momentum=-0.1), "Received: momentum=-0.1"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), REFUSED)
def test_arguments_out_of_range_are_refused(kind, arguments, message):
    arguments = {"aa": {"heads": 2}}.get(kind, {}) | arguments
    with pytest.raises(InputError, match=message):
        ACTORS[kind](**arguments)(np.ones((1, 3, 3, 6), "float32"))
