"""Networks of Keras Applications as backbones."""

import keras
import numpy as np
import pytest

from dreal_tf import DREAL, ECA, SqueezeExcite
from dreal_tf.errors import InputError
from dreal_tf.networks.other_backbone import maker_of, other_network

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


def test_own_gates_become_the_modules_and_the_logits_stay_the_same():
    plain = maker_of("keras.applications.MobileNetV3Small")((32, 32, 3), 5)
    network = other_network(lambda shape, classes: plain, (32, 32, 3), 5, SqueezeExcite(4))
    gates = [layer.name for layer in plain.layers if layer.name.endswith("squeeze_excite_mul")]
    assert list(network.output["actions"]) == [f"{name}/gate" for name in gates] and len(gates) == 9
    np.testing.assert_allclose(network(IMAGES)["logits"], plain(IMAGES), atol=1e-6)
    assert len(DREAL(network).trajectory.modules) == 9


def test_modules_are_inserted_after_named_layers():
    make = maker_of("keras.applications.MobileNetV2", {"alpha": 0.35})
    network = other_network(make, (32, 32, 3), 5, ECA(), insert_after=["block_1*_project_BN"])
    assert len(network.output["actions"]) == 8  # Blocks 1 and 10 to 16.
    assert all(name.endswith("_project_BN/eca") for name in network.output["actions"])


def test_without_attention_it_is_the_network_alone():
    network = other_network(maker_of("keras.applications.MobileNetV2", {"alpha": 0.35}), (32, 32, 3), 5)
    assert network.output["actions"] == {} and network.output["logits"].shape == (None, 5)


@pytest.mark.parametrize("output", ["map", "tokens", "row"])
def test_a_network_that_ends_in_a_map_gets_logits(output):
    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(6, 3, name="conv2_1")(images)
    rows = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(maps))
    outputs = {"map": maps, "tokens": keras.layers.Reshape((36, 6))(maps), "row": rows}
    network = keras.Model(images, outputs[output])
    made = other_network(lambda shape, classes: network, (8, 8, 3), 5)
    assert made.output["logits"].shape == (None, 5)
    assert ("logits" in [layer.name for layer in made.layers]) == (output != "row")


def test_networks_that_cannot_be_built_are_refused():
    with pytest.raises(InputError, match="network of keras.applications.*Did you mean 'ResNet50'"):
        maker_of("keras.applications.ResNet5O")
    with pytest.raises(InputError, match="cannot be imported .* pip install nothing-such"):
        maker_of("nothing_such.models.Backbone")
    with pytest.raises(InputError, match="its constructor says: .*Change backbone.arguments"):
        other_network(maker_of("keras.applications.MobileNetV2", {"alpha": "wide"}), (32, 32, 3), 5)
    with pytest.raises(InputError, match="in which none was found. Name layers after"):
        other_network(maker_of("keras.applications.MobileNetV2"), (32, 32, 3), 5, SqueezeExcite(4))
    with pytest.raises(InputError, match=r"Expected a backbone with an output \(batch, 5\), "):
        network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        other_network(lambda shape, classes: network, (8, 8, 3), 5)
    with pytest.raises(InputError, match="Expected a built functional or Sequential keras.Model"):
        other_network(lambda shape, classes: "network", (8, 8, 3), 5)


def inverted(shape, classes):
    maps = images = keras.Input(shape)
    for name in ("conv2_1", "conv3_1"):
        maps = keras.layers.Conv2D(6, 3, name=name)(maps)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(maps)
        gate = keras.layers.Conv2D(6, 1, activation="sigmoid", name=f"{name}_gate")(gate)
        maps = keras.layers.Multiply(name=f"{name}_mul")([maps, gate])
    return keras.Model(images, maps)


@pytest.mark.parametrize("where", [{"gates": ["*_mul"]}, {"insert_after": ["conv?_1"]}, {}])
def test_pruned_places_go_without_attention(where):
    def made(pruned):
        network = other_network(
            inverted, (8, 8, 3), 5, SqueezeExcite(2), pruned=pruned, weight_decay=0.1, **where
        )
        assert len(network.losses) == sum(v.name == "kernel" for v in network.trainable_variables)
        return [name.split("/")[0] for name in network.output["actions"]]

    both = made(None)
    assert both == ([f"conv{n}_1" if "insert_after" in where else f"conv{n}_1_mul" for n in (2, 3)])
    assert made(both[:1]) == both[1:] and made(both) == []
    with pytest.raises(InputError, match="attention.pruned, one of: conv2_1.*Received: 'conv9'"):
        made(["conv9"])
