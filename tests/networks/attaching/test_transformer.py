"""A vision transformer's attention as actors, taught on handwritten digits."""

import keras
import numpy as np
import pytest
from foreign_networks import UniformAttention, UniformScores

from dreal_tf import attach, audit, find_gates, load_recipe
from dreal_tf.training.builder import build_data

TOKENS = 17  # 16 patches and the class token.


@keras.saving.register_keras_serializable("tests")
class Tokens(keras.layers.Layer):
    """Patches behind a class token, both with their positions."""

    def build(self, shape):
        self.first = self.add_weight(shape=(1, 1, shape[-1]), name="class_token")
        self.positions = self.add_weight(shape=(1, TOKENS, shape[-1]), name="positions")

    def call(self, patches):
        first = keras.ops.tile(self.first, (keras.ops.shape(patches)[0], 1, 1))
        return keras.ops.concatenate([first, patches], axis=1) + self.positions


KINDS = {
    "MultiHeadAttention": (keras.layers.MultiHeadAttention, UniformAttention),
    "Attention": (keras.layers.Attention, UniformScores),
}


def attended(kind, flat, normed, name):
    make = KINDS[kind][flat]
    if kind == "MultiHeadAttention":
        return make(4, 8, dropout=0.1, name=name)(normed, normed)
    query, key, value = (keras.layers.Dense(32, name=f"{name}_{part}")(normed) for part in "qkv")
    return make(name=name)([query / 32**0.5, value, key])


def transformer(kind, flat=False):
    images = keras.Input((8, 8, 1))
    patches = keras.layers.Conv2D(32, 2, 2, name="patches")(images)
    hidden = Tokens(name="tokens")(keras.layers.Reshape((TOKENS - 1, 32))(patches))
    for number in (1, 2):
        normed = keras.layers.LayerNormalization()(hidden)
        refined = attended(kind, flat, normed, f"block_{number}_attention")
        hidden = keras.layers.Add()([hidden, refined])
        normed = keras.layers.LayerNormalization()(hidden)
        widened = keras.layers.Dense(64, "gelu")(normed)
        hidden = keras.layers.Add()([hidden, keras.layers.Dense(32)(widened)])
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(hidden))
    return keras.Model(images, keras.layers.Dense(10, "softmax", name="classes")(pooled))


@pytest.fixture(scope="module")
def digits():
    return build_data(load_recipe("digits_resnet8_se").replace({"data.batch_size": 16}))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["MultiHeadAttention", "Attention"])
def test_a_transformer_is_taught_on_digits(kind, digits, tmp_path):
    network = transformer(kind)
    modules = ["block_1/attention", "block_2/attention"]
    assert [gate.kind for gate in find_gates(network)] == ["pairwise"] * 2
    images = next(iter(digits.test))[0]
    before = network.predict(images, verbose=0)
    model = attach(network, "block_*_attention", validation_fraction=1.0, instrument_fraction=0.25)
    assert model.network is network and model.trajectory.modules == modules
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)

    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(3e-3), "adam", loss, metrics=["accuracy"])
    untrained = model.evaluate(digits.validation, verbose=0, return_dict=True)
    history = model.fit(digits.train, validation_data=digits.validation, epochs=2, verbose=0).history
    accuracies = [untrained["accuracy"], *history["val_accuracy"]]
    assert accuracies[0] < accuracies[1] < accuracies[2] and accuracies[0] + 0.3 < accuracies[2]
    for module in modules:
        rewards = history[f"reward/{module}"]
        assert np.isfinite(rewards).all() and rewards[1] > rewards[0] > -1
        assert -1 <= history[f"val_alignment/{module}"][-1] <= 1
    assert history["reward_measured"][0] > 0

    audited = audit(model, data=digits)
    assert list(audited["modules"]) == modules
    even = transformer(kind, flat=True)
    even.set_weights(network.get_weights())
    lost = log_p_of_labels(network, digits.test) - log_p_of_labels(even, digits.test)
    assert audited["attention"]["mean"]["value"] == pytest.approx(lost.mean(), abs=1e-4)
    network.save(tmp_path / "network.keras")
    stored = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(stored.predict(images, verbose=0), model.predict(images, verbose=0))


def log_p_of_labels(network, data):
    labels = np.concatenate([labels for _, labels in data.as_numpy_iterator()])
    return np.log(np.float64(network.predict(data, verbose=0))[np.arange(len(labels)), labels])
