"""`attach` finds our layers anywhere, leaves the network as it is, and says what it cannot do."""

import keras
import numpy as np
import pytest
from foreign_networks import (
    CLASSES,
    SHAPE,
    UsersGate,
    classified,
    convolved,
    excited,
    images_and_labels,
    squeeze_excite,
    tokens,
    with_random_weights,
)
from keras import ops

from dreal_tf import CBAM, SqueezeExcite, attach, find_gates, insert
from dreal_tf.errors import InputError

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A user's block that holds one of our layers."""

    def build(self, shape):
        self.convolve = keras.layers.Conv2D(shape[-1], 3, padding="same", name="convolve")
        self.refine = SqueezeExcite(2, name="inner_se")
        for layer in (self.convolve, self.refine):
            layer.build(shape)

    def call(self, maps):
        return maps + self.refine(self.convolve(maps))


def nested():
    """Our layers in a nested functional model, in a nested Sequential, and in a user's layer."""
    inner = keras.Input((8, 8, 6))
    body = keras.Model(inner, SqueezeExcite(2, name="body_se")(inner), name="body")
    images = keras.Input(SHAPE)
    maps = body(convolved(images))
    maps = keras.Sequential([keras.layers.ReLU(), CBAM(2, 3, name="tail_cbam")], name="tail")(maps)
    return classified(Block(name="own")(maps), images)


def fitted(model, loss=LOGITS, inputs=None, rate=0.05):
    images, labels = images_and_labels(16)
    model.compile(keras.optimizers.SGD(rate), "adam", loss, metrics=["accuracy"], run_eagerly=True)
    inputs = images if inputs is None else inputs
    return model.fit(inputs, labels, batch_size=8, verbose=0).history


def test_our_layers_are_found_anywhere_and_the_network_stays_as_it_is(tmp_path):
    network = with_random_weights(nested())
    images, _ = images_and_labels()
    before, config = np.array(network(images)), network.get_config()
    model = attach(network, critic="paper", instrument_fraction=0.0)
    assert model.trajectory.modules == ["body/se", "tail/cbam_channel", "tail/cbam_spatial", "inner/se"]
    assert model.trajectory.stages == ("stage1",)
    assert model.network is network and network.get_config() == config
    np.testing.assert_array_equal(model(images), before)
    logits = model.trajectory_network(images)["logits"]
    np.testing.assert_allclose(logits, before, rtol=1e-5, atol=1e-5)
    assert {id(v) for v in model.trajectory_network.variables} == {id(v) for v in network.variables}
    history = fitted(model)
    assert set(history) >= {f"reward/{module}" for module in model.trajectory.modules}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.trajectory.modules == model.trajectory.modules
    kinds = [
        [(type(layer), layer.name) for layer in m.network._flatten_layers()] for m in (loaded, model)
    ]
    assert kinds[0] == kinds[1]
    np.testing.assert_array_equal(loaded(images), model(images))


def test_a_sequential_network_and_foreign_gates_come_back_from_a_file(tmp_path):
    network = keras.Sequential([keras.Input(SHAPE), squeeze_excite()])
    model = attach(network, "*_se_excite", stages={"stage1"}, critic="paper", instrument_fraction=0.0)
    fitted(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.network, keras.Sequential)
    assert loaded.trajectory.modules == ["block1_se_excite/gate"]


def test_a_network_that_ends_in_a_softmax():
    images = keras.Input(SHAPE)
    network = classified(excited(convolved(images), "a"), images, activation="softmax")
    model = attach(network, "a_se_excite", instrument_fraction=0.0)
    with pytest.raises(InputError, match="network that ends in a softmax. Set from_logits=False"):
        model.compile("sgd", "sgd", LOGITS)
    twin = classified(excited(convolved(images), "a"), images)
    twin.set_weights(with_random_weights(network).get_weights())
    settings = dict(critic="comparative", reward_fraction=1.0, actor_weight=0.5)
    histories = []
    for net, loss in ((network, keras.losses.SparseCategoricalCrossentropy()), (twin, LOGITS)):
        keras.utils.set_random_seed(0)
        model = attach(net, "a_se_excite", **settings)
        logs = fitted(model, loss, rate=0.01)
        evaluated = model.evaluate(*images_and_labels(), verbose=0, return_dict=True)
        histories.append({name: values[0] for name, values in logs.items()} | {"evaluated": evaluated})
    evaluated, theirs = (history.pop("evaluated") for history in histories)
    assert histories[0] == pytest.approx(histories[1], rel=1e-3, abs=1e-4)
    assert evaluated == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    for ours, others in zip(network.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, others, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("chance", [{"dropout": 0.5}, {"drop_path": True}])
def test_dropout_is_no_part_of_a_reward(chance):
    """Rewards measured in training are those of two passes without dropout or stochastic depth."""
    network, ablated = with_random_weights(tokens(**chance)), tokens(flat=True)
    ablated.set_weights([w.numpy() for w in network.weights if "seed" not in w.path])
    images, labels = images_and_labels(16)
    before = np.array(network(images))
    answers = [np.float64(ops.log_softmax(n(images))) for n in (network, ablated)]
    log_p, log_ablated = (answer[np.arange(16), labels] for answer in answers)
    right = before.argmax(axis=1) == labels
    expected = np.where(right, np.clip(1 - np.exp(log_ablated - log_p), -1, 1), -1)
    model = attach(network, "*_attention", critic="paper", reward_fraction=1.0, actor_weight=0.0)
    history = fitted(model, rate=0.0)
    assert history["reward_measured"] == [16] and 0 < right.sum() < 16
    assert history["reward/block_1/attention"][0] == pytest.approx(expected.mean(), abs=1e-5)


def test_several_inputs():
    first, second = keras.Input(SHAPE, name="first"), keras.Input(SHAPE, name="second")
    maps = excited(convolved(keras.layers.Add()([first, second])), "both")
    network = classified(maps, {"first": first, "second": second})
    images, _ = images_and_labels(16)
    inputs = {"first": images, "second": images[::-1]}
    before = np.array(network(inputs))
    model = attach(network, "both_se_excite", critic="paper")
    np.testing.assert_array_equal(model(inputs), before)
    assert fitted(model, inputs=inputs)["reward_measured"] > [0]


def test_shared_layers():
    images = keras.Input(SHAPE)
    shared = keras.layers.Conv2D(3, 3, padding="same")
    network = classified(excited(convolved(shared(shared(images))), "a"), images)
    assert fitted(attach(network, "a_*excite", critic="paper"))["loss"]
    norm = keras.layers.BatchNormalization()
    network = classified(excited(convolved(norm(norm(images))), "a"), images)
    with pytest.raises(InputError, match="each BatchNorm to run once"):
        fitted(attach(network, "a_*excite", critic="paper"))
    attention = SqueezeExcite(1, name="twice_se")
    with pytest.raises(InputError, match="each attention layer in one place.*'twice/se' twice"):
        attach(classified(attention(attention(images)), images))


def test_a_frozen_body_stays_as_it_is():
    inner = keras.Input(SHAPE)
    body = keras.Model(inner, convolved(inner), name="body")
    body.trainable = False
    images = keras.Input(SHAPE)
    network = classified(excited(body(images, training=False), "a"), images)
    model = attach(network, "a_se_excite", critic="paper", reward_fraction=1.0)
    before = body.get_weights()
    fitted(model)
    for old, new in zip(before, body.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_two_models_may_hold_layers_of_one_name():
    images = keras.Input(SHAPE)
    maps = images
    for number in (1, 2):
        inner = keras.Input(maps.shape[1:])
        maps = keras.Model(inner, convolved(inner), name=f"body_{number}")(maps)
    network = with_random_weights(classified(SqueezeExcite(2, name="last_se")(maps), images))
    model = attach(network, critic="paper")
    batch = images_and_labels()[0]
    expected = network(batch)
    np.testing.assert_allclose(
        model.trajectory_network(batch)["logits"], expected, rtol=1e-5, atol=1e-5
    )
    assert len(model.trajectory_network.variables) == len(network.variables)
    assert fitted(model)["loss"]


@keras.saving.register_keras_serializable("tests")
class OtherInTraining(UsersGate):
    def call(self, maps, training=None):
        return super().call(maps + 1 if training else maps)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def call(self, images):
        return images


def refused(case):
    """A network and gates that cannot be attached."""
    images = keras.Input(SHAPE)
    maps = convolved(images)
    sigmoid = keras.layers.Conv2D(6, 1, activation="sigmoid")
    multiply = keras.layers.Multiply(name="gate")
    rows = keras.layers.Reshape((64, 6))(maps)
    maker = {
        "misspelt": lambda: (squeeze_excite(), "*_se_exite"),
        "no gate": lambda: (squeeze_excite(), "conv_relu"),
        "nothing": lambda: (classified(maps, images), ()),
        "not named": lambda: (squeeze_excite(), ()),
        "another map": lambda: (classified(multiply([maps, sigmoid(images)]), images), "gate"),
        "full": lambda: (classified(multiply([maps, sigmoid(maps)]), images), "gate"),
        "read elsewhere": lambda: (read_elsewhere(maps, images), "gate"),
        "masked": lambda: (masked_by_an_input(rows, images), "masked"),
        "shared norm": lambda: (classified(normed_dots(maps), images), "weights"),
        "windows": lambda: (within_windows(maps, images), "window"),
        "other in training": lambda: (classified(OtherInTraining(name="own")(maps), images), "own"),
        "subclassed": lambda: (Subclassed(), ()),
        "a map of classes": lambda: (
            keras.Model(
                images,
                keras.layers.Conv2D(3, 1)(
                    multiply([maps, keras.layers.Conv2D(1, 1, activation="sigmoid")(maps)])
                ),
            ),
            "gate",
        ),
        "two outputs": lambda: (keras.Model(images, [maps, maps]), ()),
    }[case]
    return maker()


def masked_by_an_input(rows, images):
    mask = keras.Input((64, 64), dtype="bool")
    attended = keras.layers.MultiHeadAttention(1, 6, name="masked")(rows, rows, attention_mask=mask)
    return keras.Model([images, mask], attended[:, 0])


def normed_dots(maps):
    rows = keras.layers.Reshape((64, 6))(maps)
    rows = keras.layers.BatchNormalization()(keras.layers.Add()([rows, keras.layers.Dense(6)(rows)]))
    weights = keras.layers.Softmax(name="weights")(keras.layers.Dot(axes=2)([rows, maps_in_rows(maps)]))
    return keras.layers.Reshape((8, 8, 6))(keras.layers.Dot(axes=(2, 1))([weights, rows]))


def maps_in_rows(maps):
    return keras.layers.Reshape((64, 6))(maps)


def within_windows(maps, images):
    windows = ops.reshape(maps, (-1, 16, 6))
    attended = keras.layers.MultiHeadAttention(1, 6, name="window")(windows, windows)
    return classified(ops.reshape(attended, (-1, 8, 8, 6)), images)


def read_elsewhere(maps, images):
    gate = keras.layers.Conv2D(1, 1, activation="sigmoid", name="map")(maps)
    gated = keras.layers.Multiply(name="gate")([maps, gate])
    return classified(keras.layers.Concatenate()([gated, gate]), images)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("misspelt", r"Received: '\*_se_exite'. Did you mean 'block1_se_excite'"),
        ("no gate", "'conv_relu' is a ReLU, which ends no attention. Name the layers that multiply"),
        ("nothing", "which has none. Put some in with `dreal_tf.insert`"),
        ("not named", r"attention of other origin: 'block1_se_excite'. Name it, such as attach\("),
        ("another map", "'gate' is a product of two maps of which none is made of the other"),
        ("full", "which selects neither among channels .* nor among places"),
        ("read elsewhere", "an attention map that is read elsewhere too"),
        ("masked", "attention under a mask that is no constant: it is an input"),
        ("shared norm", "a BatchNorm that both its map and the values it weighs are made of"),
        ("windows", "attention whose first axis holds 4 maps an image, of windows or heads, not 1"),
        ("other in training", "its `call` goes another way in training"),
        ("subclassed", "whose graph can be seen. Received: Subclassed"),
        ("two outputs", r"with one output. Received: .* \(None, 8, 8, 6\)"),
        (
            "a map of classes",
            r"one output \(batch, classes\). .* \(None, 8, 8, 3\). .*`dreal_tf.audit` takes",
        ),
    ],
)
def test_what_cannot_be_attached_is_refused_with_the_reason(case, message):
    network, gates = refused(case)
    with pytest.raises(InputError, match=message):
        attach(network, gates)


def test_classes_are_those_of_the_network():
    assert attach(squeeze_excite(), "*_se_excite").network.output_shape == (None, CLASSES)


@pytest.mark.parametrize("call", [attach, find_gates, lambda network: insert(network, "se", after="*")])
def test_a_sequential_network_without_a_graph_is_refused(call):
    network = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="Sequential network that is built"):
        call(network)
