"""Pruned copies of Keras networks, ours and other people's."""

import keras
import numpy as np
import pytest
from foreign_networks import FOREIGN, images_and_labels, with_random_weights
from support import log_softmax, small_data, small_network

from dreal_tf import DREAL, audit, find_gates, prune
from dreal_tf.errors import InputError
from dreal_tf.networks.backbones import plain_network


def parameters(network):
    return sum(np.prod(variable.shape) for variable in network.trainable_variables)


def test_a_gate_that_is_the_same_for_every_image_goes_without_a_trace(tmp_path):
    network = small_network(blocks=3)
    excite = network.get_layer("conv3_1_se").excite
    excite.kernel.assign(0 * excite.kernel)
    images, labels = small_data(40)
    before = [weight.copy() for weight in network.get_weights()]
    result = prune(network, (images, labels), threshold=-1e-9)
    assert [module["done"] for module in result.modules.values()].count("kept") == 3 - len(
        [module for module in result.modules.values() if module["done"] == "folded"]
    )
    assert not prune(network, (images, labels), threshold=-10.0).cost
    constant = prune(network, (images, labels), keep=2)
    assert constant.modules["conv3_1/se"]["value"] == 0.0
    assert all((old == new).all() for old, new in zip(before, network.get_weights(), strict=True))


@pytest.mark.parametrize("form", ["network", "logits", "compiled", "DREAL", "nested"])
def test_every_form_of_a_network_is_pruned_alike(form):
    network = small_network(blocks=3)
    plain, (images, labels) = plain_network(network), small_data(40)
    inputs = keras.Input((6, 6, 2))
    given = {
        "network": network,
        "logits": plain,
        "compiled": plain,
        "DREAL": DREAL(network) if form == "DREAL" else None,
        "nested": keras.Model(inputs, plain(inputs)),
    }[form]
    if form == "compiled":
        given.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    result = prune(given, (images, labels), keep=0)
    assert [module["done"] for module in result.modules.values()] == ["folded"] * 3
    assert not find_gates(result.network) and result.network.output_shape == (None, 3)
    for side, each in (("before", plain), ("after", result.network)):
        log_p = log_softmax(each(images))[range(40), labels]
        assert getattr(result, side)["loss"] == pytest.approx(-log_p.mean(), abs=1e-5)
        correct = np.argmax(each(images), axis=1) == labels
        assert getattr(result, side)["accuracy"] == pytest.approx(correct.mean())
        assert getattr(result, side)["parameters"] == parameters(each)
    rise = result.after["loss"] - result.before["loss"]
    assert result.cost["value"] == pytest.approx(rise, abs=1e-5) and result.images == 40
    change = result.after["accuracy"] - result.before["accuracy"]
    assert result.difference["mean"] == pytest.approx(change)


def test_gates_of_other_origin_are_folded_and_the_copy_is_plain_keras(tmp_path):
    images, labels = images_and_labels()
    network = with_random_weights(FOREIGN["squeeze and excitation"][0]())
    expected = network.predict(images, verbose=0)
    values = audit(network, data=(images, labels))["modules"]
    result = prune(network, (images, labels), keep=0)
    for module, decision in result.modules.items():
        assert decision["value"] == pytest.approx(values[module]["static"]["value"], abs=1e-6)
    assert "folded" in {decision["done"] for decision in result.modules.values()}
    result.network.save(tmp_path / "smaller.keras")
    again = keras.saving.load_model(tmp_path / "smaller.keras")
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), result.network.predict(images, verbose=0)
    )
    assert not any(type(layer).__module__.startswith("dreal_tf") for layer in again.layers)
    np.testing.assert_array_equal(network.predict(images, verbose=0), expected)


def test_of_another_task_values_are_in_the_unit_of_the_loss():
    network, (images, _) = plain_network(small_network()), small_data(20)
    numbers = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    result = prune(network, (images, numbers), loss="mse", threshold=-1e3)
    assert {decision["reason"] for decision in result.modules.values()} == {
        "known to be worth more than -1000 of the loss"
    }
    assert result.before["loss"] == pytest.approx(
        float(np.mean((network(images) - numbers) ** 2)), rel=1e-5
    )
    assert "accuracy" not in result.before and result.difference is None
    assert result.network is network and result.cost is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected the data that the network was trained on. Received: data=None"),
        (
            {"data": small_data(20), "epochs": 1},
            "`epochs` and `out` with a run alone. Received: epochs=1",
        ),
        (
            {"data": small_data(20), "out": "smaller"},
            "`epochs` and `out` with a run alone.*out='smaller'",
        ),
        ({"data": small_data(20), "keep": 1, "threshold": 0.5}, "a threshold or a number to keep"),
        ({"data": small_data(20), "keep": 5}, "at most 2 modules to keep"),
        ({"data": small_data(20), "images": 1}, "at least 2 images"),
    ],
)
def test_wrong_requests_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        prune(plain_network(small_network()), **arguments)


def test_a_run_has_its_own_data(tmp_path):
    with pytest.raises(InputError, match="Expected a run alone.*with data, loss. Leave them out"):
        prune(tmp_path, small_data(20), loss="mse")


def test_what_is_no_network_with_attention_is_refused():
    with pytest.raises(InputError, match="Expected a functional or Sequential network"):
        prune(5, small_data(20))
    images = keras.Input((6, 6, 2))
    bare = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images)))
    with pytest.raises(InputError, match="Expected a network with attention layers"):
        prune(bare, small_data(20))
