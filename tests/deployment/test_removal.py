"""A network without an actor against the same network with that actor's action imposed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from foreign_networks import users_layer
from support import ACTORS, randomized, small_network

from dreal_tf.deployment.removal import imposed, removal_plans, without_actors
from dreal_tf.layers import ACTORS as KINDS
from dreal_tf.layers import CBAM, ECA, SRM, SqueezeExcite, intervene
from dreal_tf.networks.attaching import AttachedNetwork
from dreal_tf.networks.backbones import actors_of, plain_network, residual_network
from dreal_tf.networks.backbones.residual import ResidualWiring
from dreal_tf.networks.flops import multiply_adds
from dreal_tf.training.builder import precision

SHAPE = (8, 8, 3)
GATES = {"se": SqueezeExcite(2), "srm": SRM(), "eca": ECA(), "cbam": CBAM(2, kernel_size=3)}
GATES["blended"] = CBAM(2, kernel_size=3, blended=True)


def images(count=6, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def basic(attention):
    return residual_network(SHAPE, 5, depth=8, width=0.5, attention=attention)


def bottleneck(attention):
    wiring = ResidualWiring(attention, None, None, None, {"conv2": 1, "conv3": 2}, symmetric=True)
    inputs = wiring.images(SHAPE, total_stride=4)
    hidden = wiring.convolution(inputs, 4, 3, 1, "conv1")
    for block, strides in (("conv2_1", 1), ("conv3_1", 2), ("conv3_2", 1)):
        hidden = wiring.block(hidden, [(4, 1, 1), (4, 3, strides), (16, 1, 1)], block)
    return wiring.network(inputs, wiring.classifier(hidden, 5))


def lived_in(network, seed=1):
    """With actors of random weights, and BatchNorm as training might leave it."""
    random = np.random.default_rng(seed)
    for number, actor in enumerate(actors_of(network)):
        randomized(actor, seed + number)
    for variable in network.variables:
        if variable.name in ("moving_variance", "gamma"):
            variable.assign(random.uniform(0.5, 2.0, variable.shape))
        elif variable.name in ("moving_mean", "beta"):
            variable.assign(random.normal(size=variable.shape))
    return network


def static_of(network, inputs):
    actions = network(inputs, training=False)["actions"]
    return {m: np.mean(np.float32(a), axis=0, keepdims=True) for m, a in actions.items()}


def logits(network, inputs):
    outputs = network(inputs, training=False)
    return np.float32(outputs["logits"] if isinstance(outputs, dict) else outputs)


def with_actions(network, actions, inputs):
    """Logits where the named modules emit these, worked out without the code under test."""

    def decide(actor, index, state, action):
        given = actions.get(actor.modules()[index])
        return action if given is None else tf.zeros_like(action) + tf.cast(given, action.dtype)

    with intervene(decide):
        return logits(network, inputs)


@pytest.mark.parametrize("blocks", [basic, bottleneck])
@pytest.mark.parametrize("kind", GATES)
def test_the_fold_is_the_static_action(kind, blocks):
    network = lived_in(blocks(GATES[kind]))
    static = static_of(network, images(seed=3))
    actions = {m: a.mean() if m.endswith("spatial") else a for m, a in static.items()}
    plans = removal_plans(network, static)
    assert {plan.done for plan in plans.values()} == {"folded"}
    expected = with_actions(network, actions, images())
    assert np.abs(expected - logits(network, images())).max() > 1e-3
    for given in (network, plain_network(network)):
        smaller = without_actors(given, plans)
        assert not actors_of(smaller)
        np.testing.assert_allclose(logits(smaller, images()), expected, atol=1e-5)
    with imposed(plans):
        np.testing.assert_allclose(logits(network, images()), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["se", "cbam"])
def test_one_of_several(kind):
    network = lived_in(basic(GATES[kind]))
    static = static_of(network, images(seed=3))
    plan = {f"conv3_1_{kind}": removal_plans(network, static)[f"conv3_1_{kind}"]}
    actions = {m: a.mean() if m.endswith("spatial") else a for m, a in static.items() if "conv3" in m}
    before = network.get_weights()
    smaller = without_actors(network, plan)
    expected = with_actions(network, actions, images())
    np.testing.assert_allclose(logits(smaller, images()), expected, atol=1e-5)
    assert [a.name for a in actors_of(smaller)] == [f"conv2_1_{kind}", f"conv4_1_{kind}"]
    kept = smaller(images(), training=False)
    for part in ("states", "actions"):
        assert set(kept[part]) == {m for m in network.output[part] if "conv3" not in m}
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # The network given stays as it is.


@pytest.mark.parametrize("kind", ["srm", "cbam"])
def test_what_the_actors_had_is_gone(kind):
    network = lived_in(basic(GATES[kind]))
    smaller = without_actors(network, removal_plans(network, static_of(network, images())))
    without = basic(None)
    assert smaller.count_params() == without.count_params()
    assert network.count_params() - smaller.count_params() == sum(
        actor.count_params() for actor in actors_of(network)
    )
    assert multiply_adds(smaller) == multiply_adds(without)
    more = multiply_adds(network) - multiply_adds(without)
    assert more == 0 if kind == "srm" else more > 0  # SRM multiplies element by element alone.
    # Standard layers alone: what is saved opens without this package's actors.
    assert [layer.name for layer in smaller.layers if layer.name != "images"] == [
        layer.name for layer in without.layers if layer.name != "images"
    ]


def test_what_is_saved_answers_alike(tmp_path):
    network = lived_in(basic(SqueezeExcite(2)))
    smaller = plain_network(
        without_actors(network, removal_plans(network, static_of(network, images())))
    )
    smaller.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(again, images()), logits(smaller, images()))


MIXED = [
    pytest.param(kind, marks=() if kind in ("non_local", "sasa") else pytest.mark.slow)
    for kind in sorted(set(KINDS) - set(GATES))
]


@pytest.mark.parametrize("kind", MIXED)
def test_actions_that_mix_positions_are_passed_by_or_kept(kind):
    network = lived_in(basic(KINDS[kind]()))
    plans = removal_plans(network, static_of(network, images()))
    for plan in plans.values():
        assert plan.done == ("kept" if kind in ("aa", "sasa") else "removed"), plan
        assert plan.reason.endswith("its action mixes positions") and not plan.constants
    if kind in ("aa", "sasa"):
        return
    actions = dict.fromkeys(network.output["actions"], 0.0)
    expected = with_actions(network, actions, images())
    smaller = without_actors(network, plans)
    np.testing.assert_allclose(logits(smaller, images()), expected, atol=1e-5)
    assert np.abs(expected - logits(network, images())).max() > 1e-3
    with imposed(plans):
        np.testing.assert_allclose(logits(network, images()), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["spatial", "two steps"])
def test_a_spatial_gate_leaves_its_scale(form):
    network = lived_in(small_network(ACTORS[form]))
    inputs = images(shape=(6, 6, 2))
    static = static_of(network, inputs)
    plans = removal_plans(network, static)
    assert not any(plan.exact for plan in plans.values())
    flat = {m: a if a.shape[1:3] == (1, 1) else a.mean() for m, a in static.items()}
    expected = with_actions(network, flat, inputs)
    np.testing.assert_allclose(logits(without_actors(network, plans), inputs), expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_folds_to_its_own_digits(policy):
    """The fold is made in float32; what differs is the rounding of one product more or less."""
    with precision(policy):
        network = lived_in(basic(SqueezeExcite(2)))
        static = static_of(network, images(seed=3))
        smaller = without_actors(network, removal_plans(network, static))
    assert smaller.get_layer("conv3_1_2_bn").compute_dtype == policy.removeprefix("mixed_")
    expected = with_actions(network, static, images())
    digits = 2**-8 if policy == "mixed_bfloat16" else 2**-11
    bound = 8 * digits * np.abs(expected).max()
    assert np.abs(logits(smaller, images()) - expected).max() < bound


def gated(before, after=lambda refined: refined, gate=None):
    """Images, a convolution, what `before` makes of it, a gate, what `after` makes of that."""
    inputs = keras.Input((6, 6, 2), name="images")
    hidden = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    state = before(hidden)
    refined = (gate or SqueezeExcite(2, name="gate_se"))(state)
    pooled = keras.layers.GlobalAveragePooling2D()(after(refined))
    return lived_in(keras.Model(inputs, keras.layers.Dense(3)(pooled)))


NORM = keras.layers.BatchNormalization
CONSTANT = {"gate/se": np.float32([0.3, 0.6, 0.9, 0.0]).reshape(1, 1, 1, 4)}


@pytest.mark.parametrize(
    "activation",
    [
        keras.layers.ReLU,
        keras.layers.LeakyReLU,
        lambda: keras.layers.Activation("relu"),
        keras.layers.Identity,
    ],
)
def test_a_gate_passes_activations_that_scale_along(activation):
    network = gated(lambda hidden: activation()(NORM(name="bn")(hidden)))
    plan = removal_plans(network, CONSTANT)["gate_se"]
    assert (plan.done, plan.layer) == ("folded", "bn")
    inputs = images(shape=(6, 6, 2))
    logits_after = logits(without_actors(network, {"gate_se": plan}), inputs)
    np.testing.assert_allclose(logits_after, with_actions(network, CONSTANT, inputs), atol=1e-5)


def shared_norm():
    norm = NORM(name="bn")
    return lambda hidden: norm(norm(hidden))


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (lambda: gated(lambda h: h), "it follows conv, no BatchNorm"),
        (
            lambda: gated(lambda h: keras.layers.ReLU(6.0, name="six")(NORM()(h))),
            "it follows six, no BatchNorm",
        ),
        (
            lambda: gated(lambda h: keras.layers.Activation("gelu", name="bent")(NORM()(h))),
            "it follows bent, no BatchNorm",
        ),
        (lambda: gated(NORM(name="bn", scale=False)), "bn has no scale"),
        (lambda: gated(NORM(name="bn", axis=1)), "bn is not over channels"),
        (lambda: gated(shared_norm()), "bn stands in 2 places"),
    ],
)
def test_a_gate_that_does_not_fold_is_passed_by(network, why):
    network = network()
    plan = removal_plans(network, CONSTANT)["gate_se"]
    assert plan.done == "removed" and plan.reason == f"its state passes unchanged: {why}"
    inputs = images(shape=(6, 6, 2))
    logits_after = logits(without_actors(network, {"gate_se": plan}), inputs)
    np.testing.assert_allclose(logits_after, with_actions(network, {"gate/se": 1.0}, inputs), atol=1e-5)


def test_another_reader_of_the_norm_is_an_obstacle():
    kept = []
    network = gated(
        lambda h: kept.append(NORM(name="bn")(h)) or kept[0],
        lambda refined: keras.layers.Add()([refined, kept[0]]),
    )
    plan = removal_plans(network, CONSTANT)["gate_se"]
    assert plan.done == "removed" and "other layers read the output of bn too" in plan.reason
    outside = keras.Model(network.input, {"logits": network.output, "maps": kept[0]})
    assert removal_plans(outside, CONSTANT)["gate_se"].done == "removed"


def test_an_actor_in_two_places_is_passed_by_in_both():
    gate = SqueezeExcite(2, name="gate_se")
    network = gated(NORM(name="bn"), gate, gate=gate)
    plan = removal_plans(network, CONSTANT)["gate_se"]
    assert plan.done == "removed" and "it stands in 2 places" in plan.reason
    inputs = images(shape=(6, 6, 2))
    logits_after = logits(without_actors(network, {"gate_se": plan}), inputs)
    np.testing.assert_allclose(logits_after, with_actions(network, {"gate/se": 1.0}, inputs), atol=1e-5)


def test_a_negative_gate_does_not_pass_an_activation():
    below = {"gate/se": CONSTANT["gate/se"] - 0.5}
    through = gated(lambda h: keras.layers.ReLU(name="relu")(NORM(name="bn")(h)))
    assert "below 0" in removal_plans(through, below)["gate_se"].reason
    assert removal_plans(gated(NORM(name="bn")), below)["gate_se"].done == "folded"


@keras.saving.register_keras_serializable("tests")
class AddedGate(SqueezeExcite):
    """A channel action that is not a gate: y = F + A·F."""

    def refine(self, state, action, index=0, training=None):
        return state + super().refine(state, action, index, training)


def test_an_action_that_is_applied_otherwise_does_not_fold():
    network = gated(NORM(name="bn"), gate=AddedGate(2, name="gate_se"))
    plan = removal_plans(network, CONSTANT)["gate_se"]
    assert plan.done == "removed"


def inverted_residual(readers, nested=False, gates=("one_mul", "two_mul")):
    """A network with gates of its own, after an activation that no BatchNorm can be scaled through."""
    images = keras.Input((6, 6, 2))
    hidden = keras.layers.Conv2D(4, 3, name="stem")(images)
    start = hidden if not nested else keras.Input(hidden.shape[1:])
    inner = start
    for name in ("one", "two"):
        inner = keras.layers.Activation("swish")(keras.layers.BatchNormalization()(inner))
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(inner)
        gate = keras.layers.Conv2D(4, 1, activation="sigmoid")(gate)
        inner = keras.layers.Multiply(name=f"{name}_mul")([inner, gate])
        inner = readers[name](inner)
    if nested:
        inner = keras.Model(start, inner, name="nested")(hidden)
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inner))
    return AttachedNetwork(keras.Model(images, outputs), gates)


READERS = {
    "conv": lambda: keras.layers.Conv2D(4, 3, padding="same", name="project"),
    "depthwise": lambda: keras.layers.DepthwiseConv2D(3, name="project"),
    "dense": lambda: keras.layers.Dense(4, name="project"),
    "strided": lambda: keras.layers.Conv2D(4, 1, 2, use_bias=False, name="project"),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_a_networks_own_gate_folds_into_the_kernel_that_reads_it(reader, nested):
    readers = {"one": READERS[reader](), "two": keras.layers.MaxPooling2D(2)}
    network = lived_in(inverted_residual(readers, nested))
    inputs, before = images(shape=(6, 6, 2)), network.get_weights()
    static = static_of(network, images(shape=(6, 6, 2), seed=3))
    plans = removal_plans(network, static)
    assert (plans["one_mul"].done, plans["one_mul"].layer) == ("folded", "project")
    assert plans["two_mul"].done == "removed" and "no BatchNorm" in plans["two_mul"].reason
    one = {"one_mul": plans["one_mul"]}
    smaller = without_actors(network, one)
    expected = with_actions(network, {"one_mul/gate": static["one_mul/gate"]}, inputs)
    np.testing.assert_allclose(logits(smaller, inputs), expected, atol=1e-5)
    assert list(smaller.output["actions"]) == ["two_mul/gate"]
    ones = {"one_mul/gate": static["one_mul/gate"], "two_mul/gate": np.ones((1, 1, 1, 4))}
    none = without_actors(network, plans)
    np.testing.assert_allclose(logits(none, inputs), with_actions(network, ones, inputs), atol=1e-5)
    assert none.output["actions"] == {} and none.count_params() == network.count_params() - 2 * 20
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "reader",
    [
        keras.layers.Conv2D(4, 1, groups=2, name="grouped"),
        keras.layers.Rescaling(2.0),
        keras.layers.Conv2DTranspose(4, 1),
    ],
)
def test_no_other_layer_takes_a_gate_into_its_kernel(reader):
    network = inverted_residual({"one": reader, "two": keras.layers.Identity()})
    plan = removal_plans(network, static_of(network, images(shape=(6, 6, 2))))["one_mul"]
    assert plan.done == "removed" and plan.layer is None


def test_a_gate_inside_a_users_layer_stays():
    network = AttachedNetwork(users_layer(), "users")
    (plan,) = removal_plans(network, static_of(network, images())).values()
    assert (plan.done, plan.reason) == (
        "kept",
        "nothing can replace it: its layer does more than attend",
    )
