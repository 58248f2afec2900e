import keras
import numpy as np
import pytest

from dreal_tf import SqueezeExcite, residual_network
from dreal_tf.networks.backbones import actors_of


def blocks_of(depth):
    """The blocks of the paper's section 4.2, in depth order."""
    return [f"conv{stage}_{number}" for stage in (2, 3, 4) for number in range(1, (depth - 2) // 6 + 1)]


def source(tensor):
    """The layer that made a symbolic tensor."""
    return tensor._keras_history.operation


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_every_block_gets_an_actor_in_depth_order(depth):
    network = residual_network((32, 32, 3), 10, depth, attention=SqueezeExcite(4))
    assert [actor.name for actor in actors_of(network)] == [f"{block}_se" for block in blocks_of(depth)]
    assert set(network.output["actions"]) == {f"{block}/se" for block in blocks_of(depth)}
    for block in blocks_of(depth):
        actor = network.get_layer(f"{block}_se")
        assert source(actor.input) is network.get_layer(f"{block}_2_bn")
        assert source(network.get_layer(f"{block}_add").input[1]) is actor


def test_layers_keep_the_names_that_saved_networks_have():
    network = residual_network((8, 8, 1), 10, 8, attention=SqueezeExcite(4), shortcut="projection")
    expected = ["images", "conv1", "conv1_bn", "conv1_relu"]
    for block in ("conv2_1", "conv3_1", "conv4_1"):
        parts = ("1", "1_bn", "1_relu", "2", "2_bn", "se", "skip", "skip_bn", "add", "relu")
        expected += [f"{block}_{part}" for part in parts]
    expected = [name for name in expected if not name.startswith("conv2_1_skip")]
    assert sorted(layer.name for layer in network.layers) == sorted([*expected, "pool", "logits"])
    assert network.name == "resnet8"


# He et al., section 4.2: maps of side 32, 16 and 8; each stage rounds up.
@pytest.mark.parametrize(("side", "sizes"), [(32, (32, 16, 8)), (33, (33, 17, 9)), (4, (4, 2, 1))])
def test_later_stages_halve_the_map(side, sizes):
    network = residual_network((side, side, 3), 10, 14)
    for stage, size in zip((2, 3, 4), sizes, strict=True):
        shape = (None, size, size, 16 * 2 ** (stage - 2))
        assert network.get_layer(f"conv{stage}_2_relu").output.shape == shape


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_images_may_have_any_size(shortcut):
    options = dict(width=0.25, attention=SqueezeExcite(2), shortcut=shortcut)
    free = residual_network((None, None, 3), 5, 8, **options)
    fixed = residual_network((9, 14, 3), 5, 8, **options)
    fixed.set_weights(free.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 9, 14, 3)).astype("float32")
    outputs = free(images)
    np.testing.assert_allclose(outputs["logits"], fixed(images)["logits"], rtol=1e-5, atol=1e-6)
    assert outputs["states"]["conv4_1/se"].shape == (2, 3, 4, 16)


def test_attention_can_be_limited_to_stages():
    network = residual_network(
        (8, 8, 1), 10, 14, attention=SqueezeExcite(4), attention_stages={"conv3"}
    )
    assert [actor.name for actor in actors_of(network)] == ["conv3_1_se", "conv3_2_se"]


def test_kernels_alone_decay():
    network = residual_network((8, 8, 1), 10, 8, weight_decay=0.2)
    kernels = [v.numpy() for v in network.trainable_variables if v.path.endswith("kernel")]
    assert len(kernels) == len(network.losses) == 8
    expected = sum(0.1 * np.sum(np.float64(kernel) ** 2) for kernel in kernels)
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("synchronized", [False, True])
def test_batchnorm_is_set_as_published(synchronized):
    network = residual_network((8, 8, 1), 10, 8, synchronized=synchronized)
    norms = [n for n in network.layers if isinstance(n, keras.layers.BatchNormalization)]
    settings = {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms}
    assert len(norms) == 7
    assert settings == {(0.9, 1e-5, synchronized)}
    assert all(np.all(norm.gamma.numpy() == 1) for norm in norms)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"depth": 18},
            "`depth` must be 6n + 2: 8, 14, 20, 26, 32, ..., 56. Received: depth=18. Choose one of "
            "these.",
        ),
        (
            {"depth": 2},
            "`depth` must be 6n + 2: 8, 14, 20, 26, 32, ..., 56. Received: depth=2. Choose one of "
            "these.",
        ),
        (
            {"shortcut": "none"},
            "`shortcut` must be 'identity' or 'projection'. Received: shortcut='none'. Choose one "
            "of these.",
        ),
        (
            {"attention_stages": ["conv5"]},
            "`attention_stages` must be among ('conv2', 'conv3', 'conv4'). Received: ['conv5']. "
            "Name stages of this network.",
        ),
        (
            {"image_shape": (3, 8, 3)},
            "`image_shape` must be at least 4 × 4 pixels, the network's total stride. Received: "
            "image_shape=(3, 8, 3). Enlarge the images, or choose a network of smaller stride.",
        ),
        (
            {"image_shape": (None, 2, 3)},
            "`image_shape` must be at least 4 × 4 pixels, the network's total stride. Received: "
            "image_shape=(None, 2, 3). Enlarge the images, or choose a network of smaller stride.",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError) as error:
        residual_network(**{"image_shape": (8, 8, 3), "classes": 10, "depth": 8} | options)
    assert str(error.value) == message
