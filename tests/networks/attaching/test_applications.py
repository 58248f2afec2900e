"""Networks of `keras.applications`, whole: rewards for every module, an epoch, and their export."""

import keras
import numpy as np
import pytest
from fresh_process import PREPARED

import dreal_tf
from dreal_tf import attach, find_gates
from dreal_tf.data.prepared import prepared_data_set

NETWORKS = {
    "EfficientNetB0": ("*_se_excite", 16, {}),
    "MobileNetV3Small": ("*squeeze_excite_mul", 9, {"include_preprocessing": False}),
}


def application(name, size=64, classes=50):
    options = NETWORKS[name][2]
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(size, size, 3), classes=classes, **options)


def architecture(network):
    """Layers by kind and name, but for inputs, which are numbered through; weights by shape."""
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [(type(layer), layer.name) for layer in layers], [w.shape for w in network.weights]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_on_tiny_imagenet(name, tmp_path):
    if not PREPARED.is_dir():
        pytest.skip(f"{PREPARED} is not there")
    pattern, modules, _ = NETWORKS[name]
    network = application(name)
    data = prepared_data_set("tiny_imagenet_50", folder=PREPARED, batch_size=64, memory_limit=2048)
    images = next(iter(data.validation))[0]
    before = network.predict(images, verbose=0)
    assert len(find_gates(network)) == modules
    model = attach(network, pattern, validation_fraction=0.1)
    assert model.network is network
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    model.compile(
        keras.optimizers.Adam(1e-3),
        "adam",
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    history = model.fit(data.train, validation_data=data.validation.take(4), verbose=0).history
    rewards = [key for key in history if key.startswith("reward/")]
    assert len(rewards) == modules and np.isfinite([history[key][0] for key in rewards]).all()
    assert any(history[key][0] > -1 for key in rewards)
    shown = ("accuracy", "loss", "reward/")
    print(name, {key: round(history[key][0], 3) for key in history if key.startswith(shown)})
    dreal_tf.export(model, tmp_path / "served")
    model.network.save(tmp_path / "network.keras")
    stored = keras.saving.load_model(tmp_path / "network.keras")
    exported = architecture(stored)
    np.testing.assert_allclose(stored.predict(images, verbose=0), network.predict(images, verbose=0))
    keras.backend.clear_session(free_memory=False)  # Names are counted from 0 again.
    assert exported == architecture(application(name))


def test_the_smallest_of_them_has_a_reward_for_every_module():
    network = application("MobileNetV3Small", size=32, classes=5)
    gates = find_gates(network)
    assert [gate.kind for gate in gates] == ["channel"] * 9
    model = attach(network, "*squeeze_excite_mul", critic="paper", instrument_fraction=0.0)
    images = np.random.default_rng(0).normal(size=(6, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(model(images), network(images))
    assert len(model.trajectory.modules) == 9
    assert model.trajectory.stages == tuple(f"stage{number}" for number in range(1, 8))
