"""`insert` puts attention into plain networks: nothing changes at first, and it can be taught."""

import keras
import numpy as np
import pytest
from foreign_networks import (
    CLASSES,
    SHAPE,
    classified,
    convolved,
    images_and_labels,
    with_random_weights,
)

from dreal_tf import CBAM, DREAL, Recipe, SqueezeExcite, attach, audit, insert
from dreal_tf.errors import InputError
from dreal_tf.layers import ACTORS, intervene
from dreal_tf.networks.backbones import actors_of

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def plain():
    """A convolution in a nested model, one outside."""
    inner = keras.Input((8, 8, 6))
    body = keras.Model(inner, convolved(inner, "conv_2"), name="body")
    images = keras.Input(SHAPE)
    return with_random_weights(classified(body(convolved(images, "conv_1")), images))


@pytest.mark.parametrize("kind", [kind for kind, actor in ACTORS.items() if kind not in ("aa", "sasa")])
def test_inserted_attention_of_every_kind_changes_nothing_at_first(kind):
    network = plain()
    images, labels = images_and_labels()
    before, layers = np.array(network(images)), [layer.name for layer in network.layers]
    own = {"reduction": 2} if kind in ("se", "cbam") else {}
    refined = insert(network, kind, after=["conv_1_bn", "conv_2_b*"], **own)
    np.testing.assert_array_equal(refined(images), network(images))
    assert [layer.name for layer in network.layers] == layers
    assert {id(v) for v in network.variables} < {id(v) for v in refined.variables}
    model = attach(refined, critic=None)
    model.compile(keras.optimizers.SGD(0.1), loss=LOSS, run_eagerly=True)
    model.fit(images, labels, batch_size=6, verbose=0)
    actors = actors_of(model.trajectory_network)
    assert [actor.name for actor in actors] == [f"conv_1_bn_{kind}", f"conv_2_bn_{kind}"]
    assert all(actor.blended != actor.starts_as_identity for actor in actors)
    assert all(abs(float(actor.blend)) > 0 for actor in actors if actor.blended)
    assert not np.allclose(refined(images), before)


@pytest.mark.parametrize("attention", [SqueezeExcite(2), CBAM(2, 3)])
def test_actions_of_an_inserted_layer_are_what_they_are_in_any_other(attention):
    model = attach(insert(plain(), attention, after="conv_1_bn"), critic="paper")
    images, _ = images_and_labels(4)
    (actor,) = actors_of(model.trajectory_network)
    actor.blend.assign(0.5)
    actor.squeeze.bias.assign(np.full(actor.squeeze.bias.shape, 4.0))  # Or all its units may be dead.
    outputs = model.trajectory_network(images)
    state = outputs["states"][actor.modules()[0]]
    refined, action = actor(state, return_action=True)
    sharp = type(actor).from_config(actor.get_config() | {"blended": False})
    sharp.build(state.shape)
    sharp.set_weights(actor.get_weights()[1:])
    np.testing.assert_allclose(refined, (state + sharp(state)) / 2, rtol=1e-5, atol=1e-6)
    for one in action if isinstance(action, tuple) else (action,):
        assert 0 < np.min(one) < np.max(one) < 1
    with intervene(lambda actor, index, state, action: actor.identity_action(action, index)):
        np.testing.assert_allclose(actor(state), state, rtol=1e-6)
    loaded = type(actor).from_config(actor.get_config())
    assert loaded.blended and len(loaded.weights) == 1


def test_it_can_start_as_its_paper_has_it():
    network = insert(plain(), "se", after="conv_1_bn", identity=False, reduction=2)
    assert not network.get_layer("conv_1_bn_se").blended
    assert not np.allclose(network(images_and_labels()[0]), plain()(images_and_labels()[0]))


def test_a_second_layer_at_a_place_has_a_number():
    network = insert(
        insert(plain(), "se", after="conv_1_bn", reduction=2), "se", after="conv_1_bn", reduction=2
    )
    names = [layer.name for layer in network.layers]
    first = names.index("conv_1_bn")
    assert names[first + 1 : first + 3] == ["conv_1_bn_2_se", "conv_1_bn_se"]
    assert DREAL(network, critic=None).trajectory.modules == ["conv_1_bn_2/se", "conv_1_bn/se"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "sse", "after": "conv_1"}, "Expected an attention kind.*Did you mean 'se'"),
        ({"attention": "se", "after": "conv_1_bm"}, "Did you mean 'conv_1_bn'"),
        (
            {"attention": SqueezeExcite, "after": "conv_1"},
            "an object as `attention`.*class SqueezeExcite",
        ),
        ({"attention": "se"}, "the layers to insert attention after.*after=None"),
        ({"attention": "aa", "after": "conv_1"}, "takes the place of a convolution"),
        ({"attention": "se", "after": "logits"}, r"one map .* 'logits', which gives shape \(None, 3\)"),
    ],
)
def test_what_cannot_be_inserted_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        insert(plain(), **arguments)


GENERATED = Recipe().replace(
    {
        "data.name": "generated",
        "data.shape": (64, 64, 3),
        "data.classes": CLASSES,
        "data.images": 60,
        "data.batch_size": 16,
    }
)
# The layers to insert after: the last of each block's branch.
APPLICATIONS = {
    "ResNet50": "conv*_block*_3_bn",
    "ResNet101V2": "conv*_block*_3_conv",
    "MobileNet": "conv_pw_*_bn",
    "EfficientNetB0": "block*_project_bn",
    "DenseNet121": "conv*_block*_2_conv",
    "ConvNeXtTiny": "*_pointwise_conv_2",
}


# Tested with CBAM too; the deepest would take too long.
BOTH = ("ResNet50", "MobileNet", "EfficientNetB0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "se") for name in APPLICATIONS), *((name, "cbam") for name in BOTH)]
)
def test_applications(name, kind):
    """Same output at first; two steps; the interventions measure every module; an audit."""
    make = getattr(keras.applications, name)
    network = make(weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None)
    images = np.random.default_rng(0).uniform(size=(8, 64, 64, 3)).astype("float32")
    labels = np.arange(8) % CLASSES
    before = network.predict(images, verbose=0)
    refined = insert(network, kind, after=APPLICATIONS[name], reduction=4)
    np.testing.assert_array_equal(refined.predict(images, verbose=0), before)
    model = attach(refined, critic="paper", reward_fraction=1.0, instrument_fraction=0.0)
    model.compile(keras.optimizers.SGD(0.01), "adam", LOSS)
    model.fit(images, labels, batch_size=4, epochs=1, verbose=0)
    assert all(float(actor.blend) != 0 for actor in actors_of(model.trajectory_network))
    logs = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert {f"reward/{module}" for module in model.trajectory.modules} <= set(logs)
    if name == "ResNet50":
        audited = audit(refined, images=12, data=GENERATED)
        assert list(audited["modules"]) == model.trajectory.modules
        values = [module["mean"]["value"] for module in audited["modules"].values()]
        assert np.isfinite(values).all() and any(values)


def test_one_measured_image_a_step_is_enough():
    """Its rows join with a batch of one known length, those behind it are of none."""
    model = attach(
        insert(plain(), "se", after="conv_*_bn", reduction=2), critic="paper", estimator="exact"
    )
    model.compile("sgd", "adam", LOSS)
    images, labels = images_and_labels(4)
    assert model.fit(images, labels, batch_size=4, verbose=0).history["reward_measured"] == [1]
